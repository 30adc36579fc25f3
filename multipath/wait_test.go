// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// waiting is a read that waits so long for a path.
func waiting(d *Device, w backends.PathWait, off uint64) *call {
	c := newCall(backends.Read, off, 4096, 0)
	c.r.PathWait = w
	do(d, c)
	return c
}

// TestPA12EachRequestWaitsItsOwnTime: of requests on one LUN without a path each ends
// at its own time, counted from the loss of the last path; those with more go on when a
// path is back, and the observer is told each limit that it has to know of.
func TestPA12EachRequestWaitsItsOwnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, func(c *Config) {
			c.Rule = func(...string) Rule { return Rule{AllPathsDown: AllPathsDown{For: 140 * time.Second}} }
		})
		defer bd.stop()
		d := bd.device()
		w := &watcher{out: map[*backends.Request]bool{}}
		d.Observe(w)
		const short, long = backends.PathWait(25 * time.Second), backends.PathWait(time.Hour)
		for _, limit := range []backends.PathWait{long, short, backends.WaitForever, short} {
			d.ExpectWait(limit)
		}
		lost := time.Now()
		bd.net.cut("10.0.0.1:3260")
		bd.net.cut("10.0.0.2:3260")
		synctest.Wait()
		fails := waiting(d, backends.WaitNot, 0)
		if !fails.ended() || fails.res.Class != backends.NoPath {
			t.Errorf("one that does not wait: %v", fails.res)
		}
		time.Sleep(5 * time.Second)
		a, b, c, f := waiting(d, short, 0), waiting(d, backends.WaitAsDevice, 4096), waiting(d, long, 8192), waiting(d, backends.WaitForever, 12288)
		odd := waiting(d, backends.PathWait(7*time.Second), 16384) // nobody has announced it
		flush := newCall(backends.Flush, 0, 0, 0)
		flush.r.PathWait = short
		do(d, flush)
		for _, x := range []struct {
			c  *call
			at time.Duration
		}{{odd, 7 * time.Second}, {a, 25 * time.Second}, {flush, 25 * time.Second}, {b, 140 * time.Second}} {
			if res := x.c.wait(); res.Class != backends.NoPath || x.c.at.Sub(lost) != x.at {
				t.Errorf("%v at %d ended with %v after %v, want at %v", x.c.r.Op, x.c.r.Offset, res.Class, x.c.at.Sub(lost), x.at)
			}
		}
		if late := waiting(d, short, 0); !late.ended() || late.res.Class != backends.NoPath {
			t.Errorf("one whose time is over when it comes: %v", late.res)
		}
		if later := waiting(d, long, 0); later.ended() {
			t.Errorf("one that may still wait: %v", later.res)
		}
		bd.net.mend("10.0.0.1:3260")
		mustOK(t, c, f)
		time.Sleep(time.Second)
		if got, want := w.list(), []backends.PathWait{short, backends.PathWait(140 * time.Second), 0}; !slices.Equal(got, want) {
			t.Errorf("the observer was told %v, want %v", got, want)
		}
		if e := bd.events.of(NoPaths); len(e) != 1 || e[0].Reason != "requests wait for 25s to queue, each for its disk's time" {
			t.Errorf("told %+v", e)
		}
		mustOK(t, waiting(d, short, 0)) // with a path there is nothing to wait for
	})
}

// TestPA13GoneEndsAllWaits: a permanent loss is for those that would wait for ever, too.
func TestPA13GoneEndsAllWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, s, _ := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		bd.net.with(func() { delete(s.luns, 1) })
		c := waiting(d, backends.WaitForever, 0)
		if res := c.wait(); res.Class != backends.NoPath {
			t.Errorf("ended with %v", res.Class)
		}
	})
}

// TestExpectWaitWhileDown: a limit that is announced late counts from the loss.
func TestExpectWaitWhileDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		w := &watcher{out: map[*backends.Request]bool{}}
		d.Observe(w)
		bd.net.cut("10.0.0.1:3260")
		bd.net.cut("10.0.0.2:3260")
		time.Sleep(30 * time.Second)
		const past, ahead = backends.PathWait(20 * time.Second), backends.PathWait(40 * time.Second)
		d.ExpectWait(ahead)
		d.ExpectWait(past)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if got, want := w.list(), []backends.PathWait{past, ahead}; !slices.Equal(got, want) {
			t.Errorf("told %v, want %v", got, want)
		}
	})
}
