// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"
)

func newTestMemory(t *testing.T) *Memory {
	t.Helper()
	m, err := NewMemory(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestFaultRule(t *testing.T) {
	write := func(block uint64) *Request { return &Request{Op: Write, Offset: block * 512, Length: 512} }
	tests := []struct {
		name string
		rule *FaultRule
		want string // of writes to blocks 0, 1, 2 ... 9
	}{
		{"none", nil, ".........."},
		{"all", &FaultRule{}, "xxxxxxxxxx"},
		{"reads", &FaultRule{Ops: Ops(Read, Flush)}, ".........."},
		{"writes", &FaultRule{Ops: Ops(Write)}, "xxxxxxxxxx"},
		{"range", &FaultRule{Range: Range{Offset: 1000, Length: 600}}, ".xxx......"},
		{"skip", &FaultRule{Skip: 8}, "........xx"},
		{"every third", &FaultRule{Every: 3}, "x..x..x..x"},
		{"the fifth alone", &FaultRule{Skip: 4, Limit: 1}, "....x....."},
		{"skip counts matches only", &FaultRule{Range: Range{Offset: 2048, Length: 4096}, Skip: 2, Every: 2}, "......x.x."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var c chooser
			c.set(tt.rule)
			got, hits := "", uint64(0)
			for i := range uint64(10) {
				if c.hit(write(i)) {
					got, hits = got+"x", hits+1
				} else {
					got += "."
				}
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if n := c.get(); n.Seen != 10 || n.Hit != hits {
				t.Errorf("counts %+v", n)
			}
		})
	}
}

func TestFaultProbabilityIsSeeded(t *testing.T) {
	run := func(seed uint64) (s string, n int) {
		var c chooser
		c.set(&FaultRule{Probability: 0.25, Seed: seed})
		for range 1000 {
			if c.hit(&Request{Op: Read, Length: 512}) {
				s, n = s+"x", n+1
			} else {
				s += "."
			}
		}
		return s, n
	}
	a, n := run(1)
	b, _ := run(1)
	c, _ := run(2)
	if a != b || a == c || n < 150 || n > 350 {
		t.Errorf("seed 1 twice equal: %v, seed 2 equal: %v, %d hits of 1000 at 0.25", a == b, a == c, n)
	}
}

func TestErrorFault(t *testing.T) {
	f := NewErrorFault(newTestMemory(t))
	busy := Result{Class: Busy, Sent: SentAnswered, Status: 8}
	f.Set(&FaultRule{Ops: Ops(Write), Skip: 1, Limit: 1}, busy)
	calls := []*fileCall{
		newFileCall(Write, 0, 512, bytes.Repeat([]byte{1}, 512)),
		newFileCall(Write, 0, 512, bytes.Repeat([]byte{2}, 512)),
		newFileCall(Write, 512, 512, bytes.Repeat([]byte{3}, 512)),
	}
	submitFile(f, calls...)
	if !calls[0].res.OK() || calls[1].res != busy || !calls[2].res.OK() {
		t.Errorf("results %v, %v, %v", calls[0].res, calls[1].res, calls[2].res)
	}
	if got := fileDo(t, f, Read, 0, 512, nil).Data.Bytes(); got[0] != 1 {
		t.Error("the failed write was carried out")
	}
	lost := Result{Class: Transport, Sent: SentSome}
	f.SetLost(&FaultRule{Ops: Ops(Write)}, lost)
	if c := fileDo(t, f, Write, 0, 512, bytes.Repeat([]byte{4}, 512)); c.res != lost {
		t.Errorf("result %v", c.res)
	}
	if got := fileDo(t, f, Read, 0, 512, nil).Data.Bytes(); got[0] != 4 {
		t.Error("the write with a lost answer was not carried out")
	}
	f.SetLost(&FaultRule{Ops: Ops(Read)}, lost)
	if c := fileDo(t, f, Read, 0, 512, nil); c.res != lost || len(c.Data) != 0 {
		t.Errorf("a read with a lost answer: %v, %d bytes", c.res, c.Data.Len())
	}
	if c := fileDo(t, f, Read, 1, 512, nil); c.res.Class != IllegalRequest {
		t.Errorf("a wrong read with a lost answer: %v", c.res)
	}
	f.Set(nil, Result{})
	if c := fileDo(t, f, Read, 0, 512, nil); !c.res.OK() || f.Counts().Hit != 4 {
		t.Errorf("switched off: %v, counts %+v", c.res, f.Counts())
	}
}

// TestErrorFaultAbort aborts a request whose answer will be lost.
func TestErrorFaultAbort(t *testing.T) {
	h := NewHoldFault(newTestMemory(t))
	f := NewErrorFault(h)
	h.Hold(nil)
	f.SetLost(&FaultRule{}, Result{Class: Transport, Sent: SentSome})
	c := fileWrite(0, 512)
	submitFile(f, c)
	var b Batch
	f.Abort(&b, &c.Request)
	b.Run()
	if !c.ended() || c.res.Class != Aborted {
		t.Errorf("ended %v, %v", c.ended(), c.res)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func TestDelayFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewDelayFault(newTestMemory(t))
		defer func() { _ = f.Close() }()
		f.Set(&FaultRule{Range: Range{Length: 512}}, time.Second, 0)
		began := time.Now()
		slow, quick := fileWrite(0, 512), fileWrite(4096, 512)
		behind := newFileCall(Write, 0, 1024, bytes.Repeat([]byte{2}, 1024))
		submitFile(f, slow, quick)
		f.Set(nil, 0, 0) // what comes now is not delayed
		submitFile(f, behind)
		if !quick.ended() || slow.ended() || behind.ended() {
			t.Error("not just the chosen one and the one that overlaps it wait")
		}
		if n := f.Counts(); n.Hit != 1 || n.Waiting != 2 || n.Seen != 3 {
			t.Errorf("counts %+v", n)
		}
		<-slow.done
		if d := time.Since(began); d != time.Second {
			t.Errorf("delayed by %v", d)
		}
		<-behind.done
		if got := fileDo(t, f, Read, 0, 512, nil).Data.Bytes(); got[0] != 2 {
			t.Error("the delay has changed the order of changes")
		}
	})
}

// kinds keeps the kinds of the events.
type kinds []QueueKind

func (k *kinds) QueueEvent(_ *Batch, ev QueueEvent)     { *k = append(*k, ev.Kind) }
func (k *kinds) CapacityChanged(_ *Batch, _, _ float64) {}
func (k *kinds) Refusing(*Batch, PathWait)              {}

func TestHoldFault(t *testing.T) {
	f := NewHoldFault(newTestMemory(t))
	defer func() { _ = f.Close() }()
	var seen kinds
	f.Observe(&seen)
	f.Hold(&FaultRule{Ops: Ops(Write)})
	a, b, r := fileWrite(0, 512), fileWrite(512, 512), newFileCall(Read, 0, 512, nil)
	submitFile(f, a, b, r)
	if a.ended() || b.ended() || !r.ended() {
		t.Fatal("not just the writes are held")
	}
	f.ReleaseNext(1)
	<-a.done
	c := fileWrite(1024, 512)
	submitFile(f, c)
	if b.ended() || c.ended() || f.Counts().Waiting != 2 {
		t.Errorf("releasing one released more; counts %+v", f.Counts())
	}
	f.Release()
	<-b.done
	<-c.done
	f.mu.Lock()
	defer f.mu.Unlock()
	if want := (kinds{Park, Park, Unpark, Park, Unpark, Unpark}); len(seen) != len(want) {
		t.Errorf("events %v, want %v", seen, want)
	}
}

func TestRateFault(t *testing.T) {
	tests := []struct {
		name            string
		requests, bytes float64
		n               int
		want            time.Duration // at least, and a tenth more at most
	}{
		{"requests", 100, 0, 110, time.Second},
		{"bytes", 0, 51200, 110, time.Second},
		{"no limit", 0, 0, 110, 0},
		{"the tighter one", 100, 512 * 1000, 210, 2 * time.Second},
		{"larger than the bucket", 0, 512, 3, 2 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := NewRateFault(newTestMemory(t))
				defer func() { _ = f.Close() }()
				f.Set(tt.requests, tt.bytes)
				began := time.Now()
				var calls []*fileCall
				for i := range uint64(tt.n) {
					calls = append(calls, fileWrite(i*512, 512))
				}
				submitFile(f, calls...)
				for _, c := range calls {
					<-c.done
				}
				if d := time.Since(began); d < tt.want-10*time.Millisecond || d > tt.want+tt.want/10 {
					t.Errorf("%d requests took %v, want %v", tt.n, d, tt.want)
				}
			})
		})
	}
}

func TestBucket(t *testing.T) {
	now := time.Unix(1000, 0)
	var k Bucket
	if k.Take(now, 1e12) != 0 {
		t.Error("the zero bucket has a limit")
	}
	k.Adjust(now, 10, 5)
	for i := range 5 {
		if w := k.Take(now, 1); w != 0 {
			t.Errorf("token %d of the burst: wait %v", i, w)
		}
	}
	if w := k.Take(now, 1); w != 100*time.Millisecond {
		t.Errorf("the next one: wait %v, want 100 ms", w)
	}
	if w := k.Take(now.Add(100*time.Millisecond), 1); w != 0 {
		t.Errorf("after the wait: %v more", w)
	}
	if w := k.Take(now.Add(time.Hour), 50); w != 0 {
		t.Errorf("more than it holds, when full: wait %v", w)
	}
	if w := k.Take(now.Add(time.Hour), 1); w != 4600*time.Millisecond {
		t.Errorf("after a debt of 45: wait %v, want 4.6 s", w)
	}
	k.Adjust(now.Add(time.Hour), 0, 0)
	if w := k.Take(now.Add(time.Hour), 1e9); w != 0 {
		t.Errorf("without a limit again: wait %v", w)
	}
}
