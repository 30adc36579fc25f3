// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// newTestService makes a device of rate units per second on memory.
func newTestService(t *testing.T, rate int64, latency time.Duration) *ServiceFault {
	t.Helper()
	f := NewServiceFault(newTestMemory(t))
	f.Set(rate, latency)
	return f
}

// until has all that is due by d from now happen.
func until(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestServiceCost(t *testing.T) {
	for _, tt := range []struct {
		op     Op
		length uint64
		want   int64
	}{
		{Flush, 0, 1},
		{Read, 512, 1},
		{Write, 4096, 1},
		{Read, 4608, 2},
		{Write, 8192, 2},
		{Read, 64 << 10, 16},
		{Write, 1 << 20, 256},
		{Unmap, 1 << 30, 1},
		{WriteZeroes, 1 << 20, 1},
	} {
		if got := ServiceCost(&Request{Op: tt.op, Length: tt.length}); got != tt.want {
			t.Errorf("%v of %d bytes costs %d, want %d", tt.op, tt.length, got, tt.want)
		}
	}
}

// One server, in order, and a latency in which it goes on.
func TestServiceFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTestService(t, 100, 5*time.Millisecond)
		defer func() { _ = f.Close() }()
		began := time.Now()
		calls := []*fileCall{
			newFileCall(Read, 0, 4096, nil), newFileCall(Read, 0, 16384, nil), newFileCall(Flush, 0, 0, nil),
		}
		submitFile(f, calls...)
		if n := f.Counts(); n.Waiting != 3 {
			t.Errorf("counts %+v, want 3 that wait", n)
		}
		var got []time.Duration
		for _, c := range calls {
			<-c.done
			got = append(got, time.Since(began))
		}
		want := []time.Duration{15 * time.Millisecond, 55 * time.Millisecond, 65 * time.Millisecond}
		if !slices.Equal(got, want) {
			t.Errorf("completed after %v, want %v", got, want)
		}
		until(35 * time.Millisecond) // the server has been idle since 60 ms
		c := newFileCall(Read, 0, 512, nil)
		submitFile(f, c)
		<-c.done
		if d := time.Since(began); d != 115*time.Millisecond {
			t.Errorf("the next one ended after %v, want 115ms", d)
		}
		if n := f.Counts(); n != (ServiceCounts{Requests: 4, Units: 7, Idle: 40 * time.Millisecond}) {
			t.Errorf("counts %+v", n)
		}
	})
}

// The rate is kept to the nanosecond, though 1/3 of a second is no whole number of
// them.
func TestServiceFaultRemainder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTestService(t, 3, 0)
		defer func() { _ = f.Close() }()
		began := time.Now()
		var calls []*fileCall
		for range 300 {
			calls = append(calls, newFileCall(Read, 0, 512, nil))
		}
		submitFile(f, calls...)
		for _, c := range calls {
			<-c.done
		}
		if d := time.Since(began); d != 100*time.Second {
			t.Errorf("300 units at 3 per second took %v", d)
		}
	})
}

// resubmit keeps one request in a device: it comes again when it has completed.
type resubmit struct {
	Request
	dev  Device
	left int
	last chan struct{}
	slow func() // called before it comes again
}

func (s *resubmit) Complete(b *Batch, r *Request, _ Result) {
	if s.left--; s.left == 0 {
		close(s.last)
		return
	}
	if s.slow != nil {
		s.slow()
	}
	s.Data.Release()
	s.dev.Submit(b, []*Request{r})
}

// keep submits count requests that come again, n times each.
func keep(d Device, count, n int, slow func()) (list []*resubmit) {
	for range count {
		s := &resubmit{dev: d, left: n, last: make(chan struct{}), slow: slow}
		s.Op, s.Length, s.Completer = Read, 4096, s
		list = append(list, s)
	}
	for _, s := range list {
		var b Batch
		d.Submit(&b, []*Request{&s.Request})
		b.Run()
	}
	return list
}

// The clock of the device does not lose what its own goroutine is late by: here 3 ms
// for every 10 that are in the device for 10 ms.
func TestServiceFaultCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTestService(t, 1000, 0)
		defer func() { _ = f.Close() }()
		n := 0
		slow := func() { // a completion takes so long, on the device's goroutine
			if n++; n%10 == 0 {
				time.Sleep(3 * time.Millisecond)
			}
		}
		began := time.Now()
		for _, s := range keep(f, 1, 1000, slow) {
			<-s.last
		}
		// Alone in the device it is served 1 ms after it came. The time that the
		// completion takes passes before it comes again, and is its own.
		if d := time.Since(began); d != 1297*time.Millisecond {
			t.Errorf("one at a time took %v, want 1.297s", d)
		}
		n = 0
		began = time.Now()
		for _, s := range keep(f, 10, 100, slow) {
			<-s.last
		}
		if d := time.Since(began); d < time.Second-3*time.Millisecond || d > 1010*time.Millisecond {
			t.Errorf("1000 units took %v, want 1s", d)
		}
	})
}

// halted makes the device believe that its goroutine came by so much too late.
func halted(f *ServiceFault, d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.line {
		w.due = w.due.Add(-d)
	}
	f.free = f.free.Add(-d)
}

// What comes in answer to a late completion counts as having come in time, up to a
// bound, and only for as long as the device was late.
func TestServiceFaultLateness(t *testing.T) {
	for _, tt := range []struct {
		name       string
		late, rest time.Duration // rest: from the completion to the next request
		want       time.Duration // of its completion
	}{
		{"in time", 0, 0, 10 * time.Millisecond},
		{"late", 6 * time.Millisecond, 0, 4 * time.Millisecond},
		{"late, and an answer that takes a while", 6 * time.Millisecond, 2 * time.Millisecond, 4 * time.Millisecond},
		{"more than a service", 15 * time.Millisecond, 0, 0},
		{"more than is made up for", 90 * time.Millisecond, 0, 0},
		{"long over", 6 * time.Millisecond, 6 * time.Millisecond, 10 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newTestService(t, 100, 0)
				defer func() { _ = f.Close() }()
				first := newFileCall(Read, 0, 512, nil)
				submitFile(f, first)
				until(9 * time.Millisecond)
				halted(f, tt.late) // the timer fires 1 ms from now
				<-first.done
				until(tt.rest)
				came := time.Now()
				next := newFileCall(Read, 0, 512, nil)
				submitFile(f, next)
				<-next.done
				if d := time.Since(came); d != tt.want {
					t.Errorf("the next one took %v, want %v", d, tt.want)
				}
				if idle := f.Counts().Idle; tt.late > serviceCatchUp && idle != tt.late-serviceCatchUp {
					t.Errorf("idle for %v, want what is not made up for", idle)
				}
			})
		})
	}
}

// What is in the device is served at the new rate from the moment of the change.
func TestServiceFaultSet(t *testing.T) {
	for _, tt := range []struct {
		name       string
		rate       int64
		latency    time.Duration
		second, in time.Duration // end of the second and third request
	}{
		{"half", 50, 0, 25 * time.Millisecond, 45 * time.Millisecond},
		{"twice", 200, 0, 17500 * time.Microsecond, 22500 * time.Microsecond},
		{"no limit", 0, 0, 15 * time.Millisecond, 15 * time.Millisecond},
		{"latency", 100, 3 * time.Millisecond, 23 * time.Millisecond, 33 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newTestService(t, 100, 0)
				defer func() { _ = f.Close() }()
				began := time.Now()
				calls := []*fileCall{newFileCall(Read, 0, 512, nil), newFileCall(Read, 0, 512, nil), newFileCall(Read, 0, 512, nil)}
				submitFile(f, calls...)
				until(15 * time.Millisecond)
				if !calls[0].ended() || calls[1].ended() {
					t.Fatal("the first one alone should have ended")
				}
				f.Set(tt.rate, tt.latency)
				<-calls[1].done
				if d := time.Since(began); d != tt.second {
					t.Errorf("the second ended after %v, want %v", d, tt.second)
				}
				<-calls[2].done
				if d := time.Since(began); d != tt.in {
					t.Errorf("the third ended after %v, want %v", d, tt.in)
				}
			})
		})
	}
}

// Aborting frees nothing of the server, but what is aborted ends at once.
func TestServiceFaultAbort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTestService(t, 100, 0)
		defer func() { _ = f.Close() }()
		began := time.Now()
		a, b := newFileCall(Read, 0, 512, nil), newFileCall(Read, 0, 512, nil)
		submitFile(f, a, b)
		var batch Batch
		f.Abort(&batch, &a.Request)
		batch.Run()
		if !a.ended() || a.res.Class != Aborted {
			t.Errorf("ended %v, %v", a.ended(), a.res)
		}
		<-b.done
		if d := time.Since(began); d != 20*time.Millisecond {
			t.Errorf("the other one took %v", d)
		}
	})
}

// seenCapacity keeps what an observer is told.
type seenCapacity struct {
	kinds
	capacity []float64
}

func (s *seenCapacity) CapacityChanged(_ *Batch, now, nominal float64) {
	s.capacity = append(s.capacity, now/nominal)
}

// The observer hears the LUN below and what Tell says, and of no waiting here.
func TestServiceFaultObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := NewHoldFault(newTestMemory(t))
		f := NewServiceFault(hold)
		defer func() { _ = f.Close() }()
		f.Set(100, 0)
		f.Tell(3, 4)
		var seen seenCapacity
		f.Observe(&seen)
		f.Tell(1, 2)
		hold.Hold(&FaultRule{Limit: 1})
		a, b := fileWrite(0, 512), fileWrite(4096, 512)
		submitFile(f, a, b)
		<-b.done
		if a.ended() {
			t.Error("the first is held below, and has ended")
		}
		hold.Release()
		<-a.done
		synctest.Wait()
		if !slices.Equal(seen.capacity, []float64{0.75, 0.5}) || !slices.Equal(seen.kinds, kinds{Park, Unpark}) {
			t.Errorf("observer was told %v and %v", seen.capacity, seen.kinds)
		}
	})
}

func TestServiceFaultSetCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTestService(t, 1000, 0)
		defer func() { _ = f.Close() }()
		f.SetCost(func(r *Request) int64 { return int64(r.Length) })
		began := time.Now()
		fileDo(t, f, Read, 0, 512, nil)
		if d := time.Since(began); d != 512*time.Millisecond {
			t.Errorf("took %v, want 512ms", d)
		}
	})
}
