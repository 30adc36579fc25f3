// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"slices"
	"testing"
)

type flushLog struct {
	name string
	log  *[]string
}

func (f *flushLog) Flush() { *f.log = append(*f.log, "flush "+f.name) }

func TestBatchOrder(t *testing.T) {
	var b Batch
	var log []string
	q1, q2 := &flushLog{"1", &log}, &flushLog{"2", &log}
	request := func(name string, then func(b *Batch)) *Request {
		return &Request{Completer: CompleterFunc(func(b *Batch, r *Request, res Result) {
			log = append(log, name+" "+res.Class.String())
			if then != nil {
				then(b)
			}
		})}
	}
	b.Complete(request("a", func(b *Batch) {
		b.Touch(q1)
		b.Complete(request("c", nil), Failed(Busy))
		b.Run() // inside Run: nothing happens
		log = append(log, "a ends")
	}), Done())
	b.Defer(runFunc(func(b *Batch) {
		log = append(log, "b")
		b.Touch(q2)
		b.Touch(q1)
	}))
	if b.Empty() || len(log) != 0 {
		t.Fatal("something ran before Run")
	}
	b.Run()
	want := []string{"a ok", "a ends", "b", "c busy", "flush 1", "flush 2"}
	if !slices.Equal(log, want) {
		t.Errorf("got %q, want %q", log, want)
	}
	if !b.Empty() {
		t.Error("not empty after Run")
	}
	log = nil
	b.Run()
	b.Touch(q2)
	b.Run()
	if !slices.Equal(log, []string{"flush 2"}) {
		t.Errorf("used again: %q", log)
	}
}

// flushOnce touches another queue when it is flushed.
type flushOnce struct {
	b    *Batch
	next Flusher
}

func (f *flushOnce) Flush() {
	f.b.Complete(&Request{Completer: CompleterFunc(func(b *Batch, _ *Request, _ Result) { b.Touch(f.next) })}, Done())
}

func TestBatchGoesOnUntilNothingIsLeft(t *testing.T) {
	var b Batch
	var log []string
	b.Touch(&flushOnce{&b, &flushLog{"last", &log}})
	b.Run()
	if len(log) != 1 || !b.Empty() {
		t.Errorf("work that came up while flushing: %q, empty %v", log, b.Empty())
	}
}

// TestBatchStaysSmall submits again from every completion, as a client does
// that keeps a fixed depth: the batch does not grow with the number of requests.
func TestBatchStaysSmall(t *testing.T) {
	var b Batch
	const rounds, depth = 100_000, 8
	left := rounds
	again := CompleterFunc(func(b *Batch, r *Request, _ Result) {
		if left--; left >= depth {
			b.Complete(r, Done())
		}
	})
	for range depth {
		b.Complete(&Request{Completer: again}, Done())
	}
	b.Run()
	if left != 0 || cap(b.work) > 4*batchTurn {
		t.Errorf("%d left, room for %d", left, cap(b.work))
	}
}

// TestBatchFlushesOnTheWay: work that does not end keeps no queue waiting.
func TestBatchFlushesOnTheWay(t *testing.T) {
	var b Batch
	left := 10 * batchTurn
	again := CompleterFunc(func(b *Batch, r *Request, _ Result) {
		if left--; left > 0 {
			b.Complete(r, Done())
		}
	})
	b.Complete(&Request{Completer: again}, Done())
	flushed := 0
	b.Touch(flusherFunc(func() { flushed = left }))
	b.Run()
	if flushed < 8*batchTurn {
		t.Errorf("flushed with %d of %d left", flushed, 10*batchTurn)
	}
}

// flusherFunc has to be a pointer to be compared.
func flusherFunc(f func()) Flusher { return &flusherOf{f} }

type flusherOf struct{ f func() }

func (f *flusherOf) Flush() { f.f() }

func TestBatchAllocatesNothing(t *testing.T) {
	var b Batch
	var log []string
	q := &flushLog{"", &log}
	r := &Request{Completer: CompleterFunc(func(*Batch, *Request, Result) {})}
	work := func() {
		log = log[:0]
		for range 32 {
			b.Complete(r, Done())
			b.Touch(q)
		}
		b.Run()
	}
	work()
	if n := testing.AllocsPerRun(100, work); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
