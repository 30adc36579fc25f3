// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// cutAll takes all paths away, mendAll gives them back.
func (bd *bed) cutAll() {
	for _, p := range portals(2) {
		bd.net.cut(p)
	}
	synctest.Wait()
}

func (bd *bed) mendAll() {
	for _, p := range portals(2) {
		bd.net.mend(p)
	}
}

// TestPA17QueueingOff: without a path it ends at once what waits and what comes, also
// what would wait without end; with one it changes nothing.
func TestPA17QueueingOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		w := &watcher{out: map[*backends.Request]bool{}}
		d.Observe(w)
		const hour = backends.PathWait(time.Hour)
		d.ExpectWait(hour)
		if d.SetQueueing(QueueDefault) || !d.SetQueueing(QueueOff) || d.SetQueueing(QueueOff) {
			t.Error("what is a change and what is not is told wrong")
		}
		mustOK(t, write(d, 0, 4096, 1))
		d.SetQueueing(QueueDefault)
		bd.cutAll()
		waits := []*call{waiting(d, backends.WaitForever, 0), waiting(d, hour, 0), waiting(d, backends.WaitAsDevice, 0), write(d, 0, 4096, 2), write(d, 0, 4096, 3)}
		time.Sleep(time.Minute)
		for _, c := range waits {
			if c.ended() {
				t.Fatalf("ended by itself: %v", c.res)
			}
		}
		d.SetQueueing(QueueOff)
		for _, c := range append(waits, waiting(d, backends.WaitForever, 0), write(d, 0, 4096, 4)) {
			if !c.ended() || c.res.Class != backends.NoPath || c.ends != 1 {
				t.Errorf("%v: %v, %d times", c.r.Op, c.res, c.ends)
			}
		}
		if i := d.State(); i.Queueing != QueueOff || i.Requests != 0 {
			t.Errorf("state %+v", i)
		}
		d.SetQueueing(QueueDefault)
		again := waiting(d, hour, 0)
		time.Sleep(time.Minute)
		if again.ended() {
			t.Errorf("as configured: %v", again.res)
		}
		bd.mendAll()
		mustOK(t, again, write(d, 0, 4096, 5))
		if got, want := w.list(), []backends.PathWait{backends.WaitForever, 0}; !slices.Equal(got, want) {
			t.Errorf("the observer was told %v, want %v", got, want)
		}
		var told []string
		for _, e := range bd.events.of(QueueingChanged) {
			told = append(told, e.Reason)
		}
		want := []string{
			"off, was default; without a path requests fail", "default, was off; without a path requests wait for 1h0m0s",
			"off, was default; without a path requests fail", "default, was off; without a path requests wait for 1h0m0s",
		}
		if !slices.Equal(told, want) {
			t.Errorf("told %q", told)
		}
	})
}

// TestPA17QueueingOn: all wait, also those that would fail at once or soon; when it is as
// configured again, those end whose time is over by then.
func TestPA17QueueingOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, func(c *Config) {
			c.Rule = func(...string) Rule { return Rule{AllPathsDown: AllPathsDown{Fail: true}} }
		})
		defer bd.stop()
		d := bd.device()
		w := &watcher{out: map[*backends.Request]bool{}}
		d.Observe(w)
		const short, long = backends.PathWait(25 * time.Second), backends.PathWait(time.Hour)
		d.ExpectWait(short)
		d.ExpectWait(long)
		bd.cutAll()
		if c := waiting(d, backends.WaitAsDevice, 0); !c.ended() || c.res.Class != backends.NoPath {
			t.Fatalf("as configured: %v", c.res)
		}
		d.SetQueueing(QueueOn)
		not, soon, late, asDevice := waiting(d, backends.WaitNot, 0), waiting(d, short, 0), waiting(d, long, 0), waiting(d, backends.WaitAsDevice, 0)
		time.Sleep(10 * time.Minute)
		for _, c := range []*call{not, soon, late, asDevice} {
			if c.ended() {
				t.Fatalf("one that waits %v ended: %v", c.r.PathWait, c.res)
			}
		}
		d.SetQueueing(QueueDefault)
		for _, c := range []*call{not, soon, asDevice} {
			if !c.ended() || c.res.Class != backends.NoPath {
				t.Errorf("one that waits %v, as configured again: %v", c.r.PathWait, c.res)
			}
		}
		if late.ended() {
			t.Errorf("one whose time is not over: %v", late.res)
		}
		lost := d.State().DownSince
		if res := late.wait(); res.Class != backends.NoPath || late.at.Sub(lost) != time.Hour {
			t.Errorf("%v after %v", res, late.at.Sub(lost))
		}
		if got, want := w.list(), []backends.PathWait{backends.WaitNot, 0, short, long}; !slices.Equal(got, want) {
			t.Errorf("the observer was told %v, want %v", got, want)
		}
	})
}
