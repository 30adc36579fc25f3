// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// arrivals counts the requests that a LUN is sent, which take the time of slow.
type arrivals struct {
	bd   *bed
	l    *fakeLUN
	n    int
	slow time.Duration
}

func newArrivals(bd *bed, l *fakeLUN) *arrivals {
	a := &arrivals{bd: bd, l: l}
	bd.net.with(func() {
		l.answer = func(*backends.Request) (res backends.Result, ok bool) { a.n++; return res, false }
		l.delay = func(*backends.Request) time.Duration { return a.slow }
	})
	return a
}

func (a *arrivals) count() int { return a.bd.net.count(&a.n) }

func (a *arrivals) delay(d time.Duration) { a.bd.net.with(func() { a.slow = d }) }

// within is a context that ends after d.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// mustWait checks that requests are held as suspended.
func mustWait(t *testing.T, d *Device, calls ...*call) {
	t.Helper()
	synctest.Wait()
	for _, c := range calls {
		if c.ended() {
			t.Errorf("%v at %d ended while the device is suspended: %v", c.r.Op, c.r.Offset, c.res)
		}
	}
	if i := d.State(); i.Held["suspended"] != len(calls) || i.SuspendedSince.IsZero() {
		t.Errorf("held %v of %d, suspended since %v; want %d", i.Held, i.Requests, i.SuspendedSince, len(calls))
	}
}

// TestPA17Suspend: what is in flight ends before the answer, nothing is sent after it,
// no time of a request runs out, checks go on, and all goes out in order with Resume.
func TestPA17Suspend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		d, target := bd.device(), newArrivals(bd, l)
		w := &watcher{out: map[*backends.Request]bool{}}
		d.Observe(w)
		target.delay(2 * time.Second)
		flying := write(d, 0, 4096, 1)
		begin := time.Now()
		if err := d.Suspend(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); !flying.ended() || took < time.Second {
			t.Errorf("quiet after %v, the write ended: %v", took, flying.ended())
		}
		mustOK(t, flying)
		sent, looked := target.count(), bd.net.count(&l.turs)
		held := []*call{write(d, 0, 4096, 2), read(d, 0, 4096), write(d, 8192, 4096, 3), newCall(backends.Flush, 0, 0, 0)}
		do(d, held[3])
		mustWait(t, d, held...)
		second := write(d, 0, 4096, 4) // it waits for the first one's turn
		time.Sleep(time.Hour)
		if second.ended() || target.count() != sent {
			t.Errorf("a write behind another ended: %v; %d requests were sent", second.ended(), target.count()-sent)
		}
		if n := bd.net.count(&l.turs); n == looked {
			t.Error("no path was looked at for an hour")
		}
		if err := d.Suspend(t.Context()); err != nil { // again
			t.Error(err)
		}
		w.mu.Lock()
		out := 0
		for _, left := range w.out {
			if left {
				out++
			}
		}
		if out != 5 || len(w.bad) > 0 {
			t.Errorf("%d requests are out of the window, want 5; told twice: %v", out, w.bad)
		}
		w.mu.Unlock()
		target.delay(7 * time.Second) // in which the timer looks for those whose time is over
		if !d.Resume() || d.Resume() {
			t.Error("whether it was suspended is told wrong")
		}
		mustOK(t, append(held, second)...)
		if got := bd.net.peek(l); got != 4 {
			t.Errorf("the medium has %d, want the last write's", got)
		}
		if e := bd.events.of(DeviceResumed); len(e) != 1 || e[0].Count != 4 || e[0].Duration < time.Hour || len(bd.events.of(DeviceSuspended)) != 1 {
			t.Errorf("told %+v", e)
		}
		if i := d.State(); !i.SuspendedSince.IsZero() || len(i.Held) != 0 || i.Requests != 0 {
			t.Errorf("at the end: %+v", i)
		}
	})
}

// TestPA17SuspendNotQuiet: what does not end in time leaves the device as it was.
func TestPA17SuspendNotQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		d, target := bd.device(), newArrivals(bd, l)
		target.delay(5 * time.Second)
		flying := read(d, 0, 4096)
		errs := make(chan error, 3)
		go func() { errs <- d.Suspend(within(t, time.Second)) }()
		time.Sleep(500 * time.Millisecond)
		waits := read(d, 4096, 4096)
		mustWait(t, d, waits)
		go func() { errs <- d.Suspend(within(t, time.Second)) }()
		var e *NotQuietError
		if err := <-errs; !errors.As(err, &e) || *e != (NotQuietError{Requests: 1, Stays: true}) {
			t.Errorf("the first: %v", err)
		}
		mustWait(t, d, waits)
		if err := <-errs; !errors.As(err, &e) || *e != (NotQuietError{Requests: 1}) {
			t.Errorf("the last: %v", err)
		}
		mustOK(t, flying, waits)
		if e := bd.events.of(DeviceResumed); len(e) != 1 || e[0].Reason != "not quiet in time" {
			t.Errorf("told %+v", e)
		}
		flying = read(d, 0, 4096)
		go func() { errs <- d.Suspend(t.Context()) }()
		synctest.Wait()
		d.Resume()
		if err := <-errs; !errors.Is(err, ErrResumed) {
			t.Errorf("resumed meanwhile: %v", err)
		}
		mustOK(t, flying)
	})
}

// TestPA17SuspendWaitsForGhosts: a write of unknown end may still change the LUN, so that
// it is not quiet before the fence, which a suspension does not hold back.
func TestPA17SuspendWaitsForGhosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		d, target := bd.device(), newArrivals(bd, l)
		target.delay(200 * time.Millisecond)
		w := write(d, 0, 4096, 1)
		time.Sleep(50 * time.Millisecond)
		done := make(chan error, 1)
		go func() { done <- d.Suspend(t.Context()) }()
		synctest.Wait()
		bd.cutAll()
		if i := d.State(); len(i.Ghosts) == 0 || i.Quiet {
			t.Fatalf("no ghost: %+v", i)
		}
		time.Sleep(time.Minute)
		if len(done) > 0 {
			t.Fatal("quiet with a ghost")
		}
		bd.mendAll()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if i := d.State(); len(i.Ghosts) != 0 || !i.Quiet {
			t.Errorf("quiet: %+v", i)
		}
		mustWait(t, d, w) // it is to be sent again
		d.Resume()
		mustOK(t, w)
	})
}

// TestPA17SuspendWithoutPaths: no time without a path ends what is held; with Resume it
// counts again.
func TestPA17SuspendWithoutPaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		d, target := bd.device(), newArrivals(bd, l)
		o := &watcher{out: map[*backends.Request]bool{}}
		d.Observe(o)
		const short, long = backends.PathWait(25 * time.Second), backends.PathWait(time.Hour)
		d.ExpectWait(short)
		d.ExpectWait(long)
		bd.cutAll()
		before := waiting(d, short, 0)
		if err := d.Suspend(t.Context()); err != nil {
			t.Fatal(err)
		}
		after, patient, not := waiting(d, short, 0), waiting(d, long, 0), waiting(d, backends.WaitNot, 0)
		mustWait(t, d, before, after, patient, not)
		time.Sleep(10 * time.Minute)
		d.SetQueueing(QueueOff) // what is held is held
		mustWait(t, d, before, after, patient, not)
		d.SetQueueing(QueueDefault)
		d.Resume()
		for _, c := range []*call{before, after, not} {
			if !c.ended() || c.res.Class != backends.NoPath {
				t.Errorf("one that waits %v, after Resume without a path: %v", c.r.PathWait, c.res)
			}
		}
		if patient.ended() {
			t.Errorf("one that may still wait: %v", patient.res)
		}
		if got, want := o.list(), []backends.PathWait{short}; !slices.Equal(got, want) {
			t.Errorf("the observer was told %v, want %v", got, want)
		}
		// Suspended while there is none, and they come back meanwhile.
		if err := d.Suspend(t.Context()); err != nil {
			t.Fatal(err)
		}
		sent := target.count()
		bd.mendAll()
		time.Sleep(10 * time.Minute)
		mustWait(t, d, patient)
		if n := bd.used(); n != 4 || target.count() != sent {
			t.Errorf("%d paths in use, %d requests sent", n, target.count()-sent)
		}
		d.Resume()
		mustOK(t, patient)
	})
}

// TestPA17SuspendOfAGoneDevice: what is held is held though the LUN goes, and goes on if
// it is there again.
func TestPA17SuspendOfAGoneDevice(t *testing.T) {
	for _, back := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			bd, s, l := oneDisk(t, nil)
			defer bd.stop()
			d := bd.device()
			if err := d.Suspend(t.Context()); err != nil {
				t.Fatal(err)
			}
			c := write(d, 0, 4096, 1)
			bd.net.with(func() { delete(s.luns, 1) })
			time.Sleep(10 * time.Minute)
			if !d.State().Gone {
				t.Fatalf("it is not gone: %+v", bd.m.Paths())
			}
			mustWait(t, d, c)
			if back {
				bd.net.with(func() { s.luns[1] = l })
				time.Sleep(10 * time.Minute)
			}
			d.Resume()
			if res := c.wait(); res.OK() != back || !back && res.Class != backends.NoPath {
				t.Errorf("there again: %v; the write: %v", back, res)
			}
		})
	}
}

// TestPA17SuspendEnds: Abort, Reset and Close end what is held, and nothing of it is
// sent.
func TestPA17SuspendEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		d, target := bd.device(), newArrivals(bd, l)
		if err := d.Suspend(t.Context()); err != nil {
			t.Fatal(err)
		}
		sent := target.count()
		a, c, e := write(d, 0, 4096, 1), read(d, 0, 4096), write(d, 0, 4096, 2)
		var b backends.Batch
		d.Abort(&b, &a.r)
		b.Run()
		reset := make(chan backends.Result, 1)
		d.Reset(&b, func(_ *backends.Batch, res backends.Result) { reset <- res })
		b.Run()
		for _, c := range []*call{a, c, e} {
			if !c.ended() || c.res.Class != backends.Aborted || c.res.Sent != backends.SentNone {
				t.Errorf("%v: %v", c.r.Op, c.res)
			}
		}
		if res := <-reset; !res.OK() {
			t.Errorf("reset: %v", res)
		}
		last := write(d, 0, 4096, 3)
		mustWait(t, d, last)
		begin := time.Now()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); !last.ended() || last.res.Class != backends.Aborted || took > 0 {
			t.Errorf("closed after %v: %v", took, last.res)
		}
		if err := d.Suspend(t.Context()); !errors.Is(err, ErrResumed) {
			t.Errorf("after Close: %v", err)
		}
		if n := target.count() - sent; n != 0 {
			t.Errorf("%d requests were sent", n)
		}
	})
}

// TestPA17SuspendMovesNothing: what fails on a path while the device is suspended is held
// and not sent on another one.
func TestPA17SuspendMovesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		d, target := bd.device(), newArrivals(bd, l)
		target.delay(10 * time.Second)
		c := read(d, 0, 4096)
		done := make(chan error, 1)
		go func() { done <- d.Suspend(t.Context()) }()
		synctest.Wait()
		sent := target.count()
		for _, p := range bd.m.Paths() {
			if p.Inflight > 0 {
				if err := bd.m.FailPath(p.Name, false); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		mustWait(t, d, c)
		if n := target.count() - sent; n != 0 {
			t.Errorf("%d requests were sent", n)
		}
		target.delay(0)
		d.Resume()
		mustOK(t, c)
	})
}
