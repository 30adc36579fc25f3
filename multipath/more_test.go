// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// Rule 12: while a ghost is being fenced that its target still runs, other I/O
// sees one gap of at most 500 ms.
func TestFenceGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		bd.net.with(func() {
			l.delay = func(r *backends.Request) time.Duration {
				if r.Op == backends.Write {
					return 2700 * time.Millisecond
				}
				return time.Millisecond
			}
		})
		var calls []*call
		for i := range 4 {
			calls = append(calls, write(d, uint64(i)*4096, 4096, 1))
		}
		bd.net.reset("10.0.0.1:3260", "")
		var worst time.Duration
		for range 400 {
			start := time.Now()
			mustRead(t, d, 1<<19, 4096, 0)
			worst = max(worst, time.Since(start))
			time.Sleep(10 * time.Millisecond)
		}
		if worst > 510*time.Millisecond {
			t.Errorf("a read waited %v", worst)
		}
		mustOK(t, calls...)
		time.Sleep(10 * time.Second)
		if len(bd.events.of(FenceDone)) != 2 {
			t.Errorf("events %+v", bd.events.all())
		}
	})
}

// What a reset of ours ends silently is aborted and sent again.
func TestSweepAfterReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		// The second portal's commands are never answered, as after a reset.
		bd.net.with(func() { l.swallow = func(*backends.Request) bool { return true } })
		var calls []*call
		for i := range 8 {
			calls = append(calls, write(d, uint64(i)*4096, 4096, 1))
		}
		synctest.Wait()
		bd.net.with(func() { l.swallow = nil })
		start := time.Now()
		bd.net.reset("10.0.0.1:3260", "")
		mustOK(t, calls...)
		if e := time.Since(start); e > 1500*time.Millisecond {
			t.Errorf("took %v: it waited for the command deadline", e)
		}
	})
}

// Async 1: drained, logged out and in, no ghost.
func TestAsyncLogout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		bd.net.with(func() { l.delay = slow(100 * time.Millisecond) })
		var calls []*call
		for i := range 8 {
			calls = append(calls, write(d, uint64(i)*4096, 4096, 1))
		}
		bd.net.with(func() {
			for _, n := range bd.net.nexuses {
				if n.tp.Portal == "10.0.0.1:3260" {
					n.tell(func(b *backends.Batch) { n.h.Async(b, n, backends.AsyncEvent{Kind: backends.AsyncLogout}) })
				}
			}
		})
		before := bd.net.count(&bd.net.logins)
		mustOK(t, calls...)
		time.Sleep(time.Second)
		if got := bd.net.count(&bd.net.logins) - before; got != 2 {
			t.Errorf("%d logins, want 2", got)
		}
		if got := bd.net.count(&bd.net.logouts); got != 2 {
			t.Errorf("%d logouts, want 2", got)
		}
		if len(bd.events.of(GhostHeld)) != 0 || bd.net.count(&bd.net.resets) != 0 {
			t.Error("the logout left ghosts")
		}
	})
}

// BUSY is no path fault; it waits on the same path, and elsewhere after 2 s.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, a, _ := twoProcesses(t, nil)
		defer bd.stop()
		d := bd.device()
		busy := 0
		bd.net.with(func() {
			a.luns[1].answer = func(*backends.Request) (backends.Result, bool) { busy++; return status(0x28), true }
		})
		start := time.Now()
		mustOK(t, write(d, 0, 4096, 1), write(d, 4096, 4096, 1))
		if e := time.Since(start); e < 2*time.Second || e > 3*time.Second {
			t.Errorf("took %v", e)
		}
		if bd.used() != 2 || bd.net.count(&busy) < 5 {
			t.Errorf("%d answers; paths %+v", busy, bd.m.Paths())
		}
	})
}

// The observer tells BUSY from TASK SET FULL, and hears of each answer.
func TestFullIsNotBusy(t *testing.T) {
	for _, c := range []struct {
		status uint8
		want   backends.ParkReason
	}{{0x08, backends.ParkBusy}, {0x28, backends.ParkFull}} {
		t.Run(c.want.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bd, _, l := oneDisk(t, nil)
				defer bd.stop()
				d := bd.device()
				w := &watcher{out: map[*backends.Request]bool{}}
				d.Observe(w)
				left := 3
				bd.net.with(func() {
					l.answer = func(*backends.Request) (backends.Result, bool) {
						left--
						return status(c.status), left >= 0
					}
				})
				mustOK(t, write(d, 0, 4096, 1))
				w.mu.Lock()
				defer w.mu.Unlock()
				if want := []backends.ParkReason{c.want, c.want, c.want}; !slices.Equal(w.why, want) || len(w.bad) > 0 {
					t.Errorf("got %v, want %v; out of turn: %v", w.why, want, w.bad)
				}
			})
		})
	}
}

func TestSeekerPlaces(t *testing.T) {
	s := &seeker{portal: "10.0.0.1:3260", spec: &Target{Portals: []string{"10.0.0.1:3260"}}}
	list := []backends.TargetPortal{
		{Target: "a", Portal: "192.168.0.1:3260", GroupTag: 2}, // behind a proxy: it knows another address
		{Target: "a", Portal: "10.0.0.1:3260", GroupTag: 1},
		{Target: "b", Portal: "10.9.0.1:3260"},
		{Target: "b", Portal: "evil.example:3260"},
		{Target: "b", Portal: "127.0.0.1:0"},
	}
	names := func() (got []string) {
		for _, p := range s.places(list) {
			got = append(got, p.Target+"@"+p.Portal)
		}
		return got
	}
	if got, want := names(), []string{"a@10.0.0.1:3260", "b@10.0.0.1:3260"}; !slices.Equal(got, want) {
		t.Errorf("listed portals only: got %v, want %v", got, want)
	}
	s.spec.Discover = true
	s.spec.AllowedNetworks = []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16"), netip.MustParsePrefix("127.0.0.0/8")}
	if got, want := names(), []string{"a@10.0.0.1:3260", "b@10.0.0.1:3260", "b@10.9.0.1:3260"}; !slices.Equal(got, want) {
		t.Errorf("discover: got %v, want %v", got, want)
	}
	// B40: bounded.
	list = nil
	for range 100000 {
		list = append(list, backends.TargetPortal{Target: strings.Repeat("x", len(list)%3000), Portal: "10.9.0.1:3260"})
	}
	if n := len(s.places(list)); n > maxTargets {
		t.Errorf("%d places", n)
	}
}

// A portal that is not there at the start is found later.
func TestLateTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd := newBed(t)
		bd.net.server(iqn, portals(2)...).addLUN(1, newMedium(), naa(1))
		bd.net.portals["10.0.0.2:3260"].down[""] = true
		bd.start(nil)
		defer bd.stop()
		time.Sleep(time.Second)
		if n := bd.used(); n != 2 {
			t.Errorf("got %d paths in use, want 2", n)
		}
		if len(bd.events.of(DiscoveryFailed)) != 2 {
			t.Errorf("told %d times, want once per adapter", len(bd.events.of(DiscoveryFailed)))
		}
		bd.net.mend("10.0.0.2:3260")
		time.Sleep(2 * time.Minute)
		if n := bd.used(); n != 4 {
			t.Errorf("later: got %d paths in use, want 4", n)
		}
	})
}

func TestLookupOfWeakIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd := newBed(t)
		weak := naa(1)
		copy(weak.Value, []byte{0x60, 0, 0, 0})
		bd.net.server("iqn.2026-11.test:a", "10.0.0.1:3260").addLUN(1, newMedium(), weak)
		bd.net.server("iqn.2026-11.test:b", "10.0.0.2:3260").addLUN(1, newMedium(), weak)
		bd.start(nil)
		defer bd.stop()
		d := bd.m.Devices()[0]
		if _, err := bd.m.Lookup(d.Identity()); !errors.Is(err, ErrAmbiguous) {
			t.Errorf("by identity: %v", err)
		}
		if got, err := bd.m.Lookup(d.Name()); err != nil || got != d {
			t.Errorf("by name: %v", err)
		}
	})
}

// A name that was resolved once is refused when another LUN is there.
func TestLookupRefusesAnotherLUN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, s, _ := oneDisk(t, nil)
		if _, err := bd.m.Lookup("vmhba1:1:1"); err != nil {
			t.Fatal(err)
		}
		bd.stop()
		bd.net.with(func() { s.addLUN(1, newMedium(), naa(2)) })
		bd.start(nil)
		defer bd.stop()
		for _, name := range []string{"vmhba1:1:1", "vmhba0:0:1"} {
			if _, err := bd.m.Lookup(name); !errors.Is(err, ErrMoved) {
				t.Errorf("Lookup(%s): %v", name, err)
			}
		}
		if got := bd.device().Name(); got == "vmhba0:0:1" {
			t.Error("another LUN has taken the name over")
		}
	})
}

func TestConfigFaults(t *testing.T) {
	_, err := New(Config{
		Adapters: []Adapter{{Name: "a"}, {Name: "a"}},
		Targets:  []Target{{FirstLUN: 3, LastLUN: 1, Adapters: []string{"b"}}},
		Timers:   Timers{Command: -1},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"connector", "not unique", "no portal", "LUN range", `"b"`, "negative", "no store"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told: %v", want, err)
		}
	}
}

func TestCloseWithoutRun(t *testing.T) {
	m, err := New(Config{Adapters: []Adapter{{Name: "a", Connector: nullWay{}}}, Store: newMemStore(), Events: &eventLog{}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := m.Run(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Run after Close: %v", err)
	}
}

// nullWay is a Connector that is never used.
type nullWay struct{ backends.Connector }

// Credits: a pool per VM.
func TestGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		a, b, c := d.Grant(&backends.Origin{VM: "a"}), d.Grant(&backends.Origin{VM: "a"}), d.Grant(nil)
		if !a.Take(poolBytes) || !b.Take(1) || b.Take(1) || !c.Take(poolBytes) {
			t.Error("the pool is not shared by VM")
		}
		a.Give(poolBytes)
		if !b.Take(1) {
			t.Error("credits are not given back")
		}
	})
}
