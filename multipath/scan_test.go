// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

func TestScanFindsPaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		var names []string
		for _, p := range bd.m.Paths() {
			names = append(names, p.Name+" "+p.Health)
		}
		want := []string{"vmhba0:0:1 up", "vmhba0:1:1 up", "vmhba1:0:1 up", "vmhba1:1:1 up"}
		if len(names) != 4 {
			t.Fatalf("got %v, want %v", names, want)
		}
		for i := range want {
			if names[i] != want[i] {
				t.Errorf("got %v, want %v", names, want)
			}
		}
		if d.Name() != "vmhba0:0:1" {
			t.Errorf("canonical name %s, want that of the first path", d.Name())
		}
		info := d.Info()
		if info.Size != fakeSize || info.LogicalBlock != 512 || info.PhysicalBlock != 4096 || info.MaxTransfer != 1024*512 || !info.Available {
			t.Errorf("info %+v", info)
		}
		if info.MaxUnmap != 1<<16*512 || info.MaxZeroes != 1<<16*512 { // as the Block Limits page tells
			t.Errorf("limits of unmap %d and zeroes %d", info.MaxUnmap, info.MaxZeroes)
		}
		for _, name := range []string{"vmhba0:0:1", "vmhba1:1:1", d.Identity()} {
			if got, err := bd.m.Lookup(name); err != nil || got != d {
				t.Errorf("Lookup(%s): %v, %v", name, got, err)
			}
		}
		if _, err := bd.m.Lookup("vmhba7:0:1"); !errors.Is(err, ErrNotFound) {
			t.Errorf("Lookup of nothing: %v", err)
		}
	})
}

func TestReadWrite(t *testing.T) {
	for _, sel := range []string{"service-time", "round-robin"} {
		synctest.Test(t, func(t *testing.T) {
			bd, _, l := oneDisk(t, func(c *Config) { c.Rule = func(...string) Rule { return Rule{Selector: Selection{Name: sel}} } })
			defer bd.stop()
			d := bd.device()
			for i := range 16 {
				mustOK(t, write(d, uint64(i)*4096, 4096, byte(i+1)))
			}
			for i := range 16 {
				mustRead(t, d, uint64(i)*4096, 4096, byte(i+1))
			}
			for _, p := range bd.m.Paths() {
				if p.Writes == 0 || p.Inflight != 0 || p.Pending != 0 {
					t.Errorf("%s: path %+v", sel, p)
				}
			}
			if bd.net.peek(l) != 1 {
				t.Error("nothing on the medium")
			}
			if res := read(d, fakeSize, 512).wait(); res.Class != backends.IllegalRequest {
				t.Errorf("read beyond the end: %v", res.Class)
			}
		})
	}
}

func TestStopIsClean(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		if n := len(bd.store.ghosts); n != 4 {
			t.Errorf("got %d records of paths in use, want 4", n)
		}
		mustOK(t, write(bd.device(), 0, 512, 1))
		bd.stop()
		if n := len(bd.store.ghosts); n != 0 {
			t.Errorf("a clean stop left %d records: %v", n, bd.store.ghosts)
		}
		// The next run has nothing to fence.
		bd.start(nil)
		defer bd.stop()
		before := bd.net.count(&bd.net.resets)
		mustOK(t, write(bd.device(), 0, 512, 2))
		if bd.net.count(&bd.net.resets) != before || len(bd.events.of(FenceStart)) != 0 {
			t.Error("a clean stop was fenced")
		}
	})
}

// The names of a device outlive a restart and a change of order.
func TestNamesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		name := bd.device().Name()
		bd.stop()
		bd.start(func(c *Config) {
			c.Adapters[0], c.Adapters[1] = c.Adapters[1], c.Adapters[0]
			c.Targets[0].Portals = []string{"10.0.0.2:3260", "10.0.0.1:3260"}
		})
		defer bd.stop()
		if got := bd.device().Name(); got != name {
			t.Errorf("canonical name %s, want %s", got, name)
		}
	})
}

func TestWeakIdentityIsNotMerged(t *testing.T) {
	for _, merge := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			bd := newBed(t)
			weak := naa(1)
			copy(weak.Value, []byte{0x60, 0, 0, 0}) // tgt's company 000000
			m := newMedium()
			bd.net.server("iqn.2026-11.test:a", "10.0.0.1:3260").addLUN(1, m, weak)
			bd.net.server("iqn.2026-11.test:b", "10.0.0.2:3260").addLUN(1, m, weak)
			bd.start(func(c *Config) { c.Rule = func(...string) Rule { return Rule{MergeWeak: merge} } })
			defer bd.stop()
			want := 2
			if merge {
				want = 1
			}
			if got := len(bd.m.Devices()); got != want {
				t.Errorf("merge %v: got %d devices, want %d", merge, got, want)
			}
		})
	}
}

func TestStrongIdentityMergesOverTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd := newBed(t)
		m := newMedium()
		bd.net.server("iqn.2026-11.test:a", "10.0.0.1:3260").addLUN(1, m, naa(1))
		bd.net.server("iqn.2026-11.test:b", "10.0.0.2:3260").addLUN(1, m, naa(1))
		bd.start(nil)
		defer bd.stop()
		if n := len(bd.device().Paths()); n != 4 {
			t.Errorf("got %d paths, want 4", n)
		}
	})
}

// The same strong identity with another serial number, size or product: nobody
// knows which is right, and both are quarantined.
func TestH05ConflictQuarantinesBoth(t *testing.T) {
	for name, change := range map[string]func(*fakeLUN){
		"serial":  func(l *fakeLUN) { l.serial = "other" },
		"size":    func(l *fakeLUN) { l.size /= 2 },
		"product": func(l *fakeLUN) { l.product = "OTHER" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bd := newBed(t)
				m := newMedium()
				bd.net.server("iqn.2026-11.test:a", "10.0.0.1:3260").addLUN(1, m, naa(1))
				change(bd.net.server("iqn.2026-11.test:b", "10.0.0.2:3260").addLUN(1, m, naa(1)))
				bd.start(nil)
				defer bd.stop()
				for _, p := range bd.m.Paths() {
					if p.Health != "quarantined" {
						t.Errorf("%s is %s: %s", p.Name, p.Health, p.Reason)
					}
				}
				if len(bd.events.of(PathQuarantined)) == 0 {
					t.Error("no alarm")
				}
			})
		})
	}
}

func TestProbingWithoutReportLUNs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd := newBed(t)
		s := bd.net.server(iqn, portals(1)...)
		s.noLUN0 = true
		s.addLUN(7, newMedium(), naa(7))
		s.addLUN(200, newMedium(), naa(200))
		s.addLUN(300, newMedium(), naa(300)) // outside of the range
		bd.start(nil)
		defer bd.stop()
		if n := len(bd.m.Devices()); n != 2 {
			t.Errorf("got %d devices, want 2", n)
		}
	})
}

func TestRescanFindsNewLUN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, s, _ := oneDisk(t, nil)
		defer bd.stop()
		bd.net.with(func() { s.addLUN(2, newMedium(), naa(2)) })
		if err := bd.m.Rescan(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(bd.m.Devices()); n != 2 {
			t.Errorf("got %d devices, want 2", n)
		}
	})
}

func TestDisableIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		if err := bd.m.SetPathEnabled("vmhba0:1:1", false); err != nil {
			t.Fatal(err)
		}
		if n := bd.used(); n != 3 {
			t.Errorf("got %d paths in use, want 3", n)
		}
		bd.stop()
		bd.start(nil)
		defer bd.stop()
		if n := bd.used(); n != 3 {
			t.Errorf("after a restart: got %d paths in use, want 3", n)
		}
		if err := bd.m.SetPathEnabled("vmhba0:1:1", true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		if n := bd.used(); n != 4 {
			t.Errorf("enabled again: got %d paths in use, want 4: %+v", n, bd.m.Paths())
		}
	})
}
