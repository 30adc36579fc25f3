// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// DI-5: a LUN that appears is found by the timer, without any word of the target.
func TestRescanTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, s, _ := oneDisk(t, func(c *Config) { c.Timers.Rescan = time.Minute })
		defer bd.stop()
		bd.net.with(func() { s.addLUN(2, newMedium(), naa(2)) })
		time.Sleep(50 * time.Second)
		if n := len(bd.m.Devices()); n != 1 {
			t.Errorf("got %d devices before the time", n)
		}
		time.Sleep(11 * time.Second)
		if n := len(bd.m.Devices()); n != 2 {
			t.Errorf("got %d devices, want 2", n)
		}
		if n := bd.used(); n != 8 {
			t.Errorf("got %d paths in use, want 8", n)
		}
	})
}

// states gives "path device health" of all paths.
func (bd *bed) states() (list []string) {
	for _, p := range bd.m.Paths() {
		list = append(list, p.Name+" "+p.Identity+" "+p.Health)
	}
	return list
}

func id(n uint64) string {
	i, err := scsi.SelectIdentity([]scsi.Designator{naa(n)}, scsi.StandardInquiry{}, "")
	if err != nil {
		panic(err)
	}
	return i.ID
}

// H5: another LUN behind an old path name. The path is quarantined at once, and a
// path of the other LUN's device by the next rescan; the name that somebody used
// stays with the LUN that it meant.
func TestH05SwappedPathMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, a, _ := twoProcesses(t, nil)
		defer bd.stop()
		d := bd.device()
		if got, err := bd.m.Lookup("vmhba0:1:1"); err != nil || got != d {
			t.Fatal(err)
		}
		b := bd.net.portals["10.0.0.2:3260"].srv
		mustOK(t, write(d, 0, 4096, 1), write(d, 4096, 4096, 1))
		bd.net.cut("10.0.0.2:3260")
		bd.net.with(func() { b.addLUN(1, newMedium(), naa(9)) })
		bd.net.mend("10.0.0.2:3260")
		time.Sleep(10 * time.Second)
		want := []string{"vmhba0:0:1 " + id(1) + " up", "vmhba0:1:1 " + id(1) + " quarantined"}
		if got := bd.states(); !slices.Equal(got, want) {
			t.Fatalf("after the login: %v, want %v", got, want)
		}
		if err := bd.m.Rescan(t.Context()); err != nil {
			t.Fatal(err)
		}
		want[1] = "vmhba0:1:1 " + id(9) + " up"
		if got := bd.states(); !slices.Equal(got, want) {
			t.Fatalf("after the rescan: %v, want %v", got, want)
		}
		if ev := bd.events.of(PathRemoved); len(ev) != 1 || ev[0].Path != "vmhba0:1:1" {
			t.Errorf("events %+v", ev)
		}
		other, err := bd.m.Lookup(id(9))
		if err != nil {
			t.Fatal(err)
		}
		mustOK(t, write(other, 0, 4096, 9))
		for i := range 8 {
			mustOK(t, write(d, uint64(i)*4096, 4096, 2))
		}
		if n := bd.net.count(&b.luns[1].writes); n != 1 {
			t.Errorf("%d writes to the other LUN, want its own", n)
		}
		if _, err := bd.m.Lookup("vmhba0:1:1"); !errors.Is(err, ErrMoved) {
			t.Errorf("the name: %v", err)
		}
		if got, err := bd.m.Lookup("vmhba0:0:1"); err != nil || got != d {
			t.Errorf("the canonical name: %v, %v", got, err)
		}
		// And back: the slot that it left is taken again.
		bd.net.with(func() { b.addLUN(1, a.luns[1].m, naa(1)) })
		for range 2 {
			if err := bd.m.Rescan(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(d.Paths()); n != 2 || bd.used() != 2 {
			t.Errorf("back: %v", bd.states())
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if len(d.paths) != 2 {
			t.Errorf("%d slots", len(d.paths))
		}
	})
}

// A path with a ghost does not leave, whatever is there now.
func TestH05GhostKeepsPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, a, b := twoProcesses(t, nil)
		defer bd.stop()
		d := bd.device()
		// The login that fences a's ghost finds another LUN: no reset proves anything.
		bd.net.with(func() { a.luns[1].swallow = func(*backends.Request) bool { return true } })
		var calls []*call
		for i := range 4 {
			calls = append(calls, write(d, uint64(i)*4096, 4096, 1))
		}
		bd.net.cut("10.0.0.1:3260")
		mustOK(t, calls...)
		bd.net.with(func() { a.addLUN(1, newMedium(), naa(9)) })
		bd.net.mend("10.0.0.1:3260")
		time.Sleep(time.Minute)
		ghosts := len(d.State().Ghosts)
		if _, err := bd.m.StartRescan(""); err != nil { // nothing is scanned before the fence
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if ghosts == 0 || len(d.State().Ghosts) != ghosts || len(d.Paths()) != 2 || len(bd.events.of(PathRemoved)) != 0 {
			t.Errorf("%d ghosts, now %d; %v", ghosts, len(d.State().Ghosts), bd.states())
		}
		bd.net.with(func() { a.addLUN(1, b.luns[1].m, naa(1)) })
		time.Sleep(5 * time.Minute)
		if len(d.State().Ghosts) != 0 || bd.used() != 2 {
			t.Errorf("the right LUN is back: %d ghosts, %v", len(d.State().Ghosts), bd.states())
		}
	})
}

// PA-13: a target that says at the login that it is not there (any more), twice and
// over all paths, is a permanent loss: requests fail at once, where an unreachable
// one would have them wait. When it comes back with the same LUN, that is used.
func TestTargetRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, s, _ := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		w := &watcher{out: map[*backends.Request]bool{}}
		d.Observe(w)
		bd.net.with(func() { s.removed = true })
		bd.net.reset("10.0.0.1:3260", "")
		bd.net.reset("10.0.0.2:3260", "")
		c := write(d, 0, 4096, 1)
		time.Sleep(5 * time.Second)
		if c.ended() || d.State().Gone {
			t.Fatal("believed at once: a target that starts says the same")
		}
		time.Sleep(6 * time.Second)
		if !c.ended() || c.res.Class != backends.NoPath || !d.State().Gone || d.Info().Available {
			t.Errorf("not believed: %+v, %+v", c.res, d.State())
		}
		if c := write(d, 0, 4096, 1); !c.ended() || c.res.Class != backends.NoPath {
			t.Errorf("a later request: %+v", c.res)
		}
		if len(bd.events.of(DeviceGone)) != 1 {
			t.Error("no event")
		}
		bd.net.with(func() { s.removed = false })
		time.Sleep(3 * time.Minute)
		mustOK(t, write(d, 0, 4096, 2))
		if d.State().Gone || bd.used() != 4 {
			t.Errorf("it is back: %v", bd.states())
		}
	})
}

// A target that says so only while it starts is no loss.
func TestTargetStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, s, _ := oneDisk(t, nil)
		defer bd.stop()
		bd.net.with(func() { s.removed = true })
		bd.net.reset("10.0.0.1:3260", "")
		bd.net.reset("10.0.0.2:3260", "")
		c := write(bd.device(), 0, 4096, 1)
		time.Sleep(time.Second)
		bd.net.with(func() { s.removed = false })
		mustOK(t, c)
		if len(bd.events.of(DeviceGone)) != 0 {
			t.Error("told as gone")
		}
	})
}

// DI-7: a LUN that is gone is forgotten after the grace, and taken up when it comes
// back; its device stays, as the same one.
func TestGoneLUNIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, s, l := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		mustOK(t, write(d, 0, 4096, 1))
		bd.net.with(func() { delete(s.luns, 1) })
		if err := bd.m.Rescan(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !d.State().Gone || len(d.Paths()) != 4 {
			t.Fatalf("%+v", d.State())
		}
		time.Sleep(11 * time.Minute)
		if len(d.Paths()) != 0 || !d.State().Gone || len(bd.events.of(PathRemoved)) != 4 {
			t.Errorf("not forgotten: %v", bd.states())
		}
		if c := write(d, 0, 4096, 1); !c.ended() || c.res.Class != backends.NoPath {
			t.Errorf("a request: %+v", c.res)
		}
		if n := len(bd.store.ghosts); n != 0 {
			t.Errorf("%d records are left", n)
		}
		bd.net.with(func() { s.luns[1] = l })
		time.Sleep(6 * time.Minute)
		mustOK(t, write(d, 0, 4096, 2))
		if bd.device() != d || bd.used() != 4 || d.State().Gone {
			t.Errorf("it is back: %v", bd.states())
		}
	})
}

// A portal that no SendTargets tells of is forgotten when nothing uses it, and never
// before; when it is told of again it is as before.
func TestUnlistedPortal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd := newBed(t)
		s := bd.net.server(iqn, portals(2)...)
		s.addLUN(1, newMedium(), naa(1))
		all := true
		bd.net.advertise = func(string) (list []string) {
			if all {
				return portals(2)
			}
			return portals(1)
		}
		bd.start(func(c *Config) {
			c.Targets = []Target{{Portals: portals(1), Discover: true, AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
		})
		defer bd.stop()
		if n := bd.used(); n != 4 {
			t.Fatalf("%d paths in use: %v", n, bd.states())
		}
		d := bd.device()
		bd.net.with(func() { all = false })
		time.Sleep(20 * time.Minute)
		if n := bd.used(); n != 4 {
			t.Errorf("a portal that works was taken out: %v", bd.states())
		}
		bd.net.cut("10.0.0.2:3260")
		time.Sleep(time.Minute)
		if n := len(d.Paths()); n != 2 || len(bd.events.of(TargetRemoved)) != 2 {
			t.Errorf("not forgotten: %v", bd.states())
		}
		mustOK(t, write(d, 0, 4096, 1))
		bd.net.mend("10.0.0.2:3260")
		bd.net.with(func() { all = true })
		time.Sleep(3 * time.Minute)
		if n := bd.used(); n != 4 {
			t.Errorf("told of again: %v", bd.states())
		}
	})
}

// A portal that is down is missed by nobody who tells of it: what it told last holds.
func TestDeadPortalIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		defer bd.stop()
		bd.net.cut("10.0.0.2:3260")
		time.Sleep(time.Hour)
		if n := len(bd.m.Paths()); n != 4 {
			t.Errorf("%v", bd.states())
		}
	})
}

// H11: on a path that shows more than the device has, requests go on; growth without
// any word is taken on one session or by command, and not after a login (H5).
func TestH11Words(t *testing.T) {
	for name, tt := range map[string]struct {
		relogin, rescan, both bool
		want                  uint64
		used                  int
	}{
		"in one session":                  {both: true, want: 2 * fakeSize, used: 2},
		"in one session, one path":        {want: fakeSize, used: 2},
		"over a login":                    {relogin: true, want: fakeSize, used: 1},
		"over a login, and by command":    {relogin: true, rescan: true, both: true, want: 2 * fakeSize, used: 2},
		"over a login, one, and asked so": {relogin: true, rescan: true, want: fakeSize, used: 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bd, a, b := twoProcesses(t, nil)
				defer bd.stop()
				d := bd.device()
				var changes backends.Change
				var mu sync.Mutex
				defer d.Watch(func(c backends.Change) { mu.Lock(); changes |= c; mu.Unlock() })()
				mustOK(t, write(d, 0, 4096, 1), write(d, 4096, 4096, 1))
				bd.net.with(func() {
					a.luns[1].m.b = append(a.luns[1].m.b, make([]byte, fakeSize)...)
					a.luns[1].size = 2 * fakeSize
					if tt.both {
						b.luns[1].size = 2 * fakeSize
					}
				})
				if tt.relogin {
					bd.net.reset("10.0.0.1:3260", "")
					time.Sleep(time.Second)
				}
				if tt.rescan {
					if err := bd.m.Rescan(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(6 * time.Minute)
				if got := d.Info().Size; got != tt.want || bd.used() != tt.used {
					t.Errorf("size %d, want %d; %v", got, tt.want, bd.states())
				}
				mu.Lock()
				defer mu.Unlock()
				if told := changes&backends.SizeChanged != 0; told != (tt.want > fakeSize) {
					t.Errorf("told %v", told)
				}
				for i := range 4 {
					mustOK(t, write(d, uint64(i)*4096, 4096, 1), write(d, tt.want-4096, 4096, 1))
				}
			})
		})
	}
}

// H11: a LUN that shrinks is an alarm, and nothing goes there any more, least of all
// beyond its end.
func TestH11Shrink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		mustOK(t, write(d, 0, 4096, 1))
		bd.net.with(func() { l.size = fakeSize / 2 })
		if err := bd.m.Rescan(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := bd.net.count(&l.writes)
		c := write(d, fakeSize-4096, 4096, 1)
		time.Sleep(10 * time.Minute)
		if c.ended() || bd.used() != 0 || bd.net.count(&l.writes) != before || d.Info().Size != fakeSize {
			t.Errorf("%+v; %v", c.res, bd.states())
		}
		if len(bd.events.of(PathQuarantined)) != 4 {
			t.Error("no alarm")
		}
		bd.net.with(func() { l.size = fakeSize })
		time.Sleep(2 * time.Minute)
		mustOK(t, c)
	})
}

// A device's name is its own, also when the path of that name leads elsewhere and that
// other device was found first.
func TestNameOfMovedPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, b := twoProcesses(t, nil)
		d := bd.device().Identity()
		bd.stop()
		a := bd.net.portals["10.0.0.1:3260"].srv
		bd.net.with(func() { a.addLUN(1, newMedium(), naa(9)) })
		bd.start(func(c *Config) {
			c.Alias = func(name string) string { return map[string]string{"data": d, "first": "vmhba0:0:1"}[name] }
		})
		defer bd.stop()
		_ = b
		for _, name := range []string{"vmhba0:0:1", "data", "first", d} {
			got, err := bd.m.Lookup(name)
			if err != nil || got.Identity() != d {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		}
		if len(bd.m.Devices()) != 2 {
			t.Errorf("%v", bd.states())
		}
	})
}
