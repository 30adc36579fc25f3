// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// What an administrator has decided on a path holds when it leaves its device and
// comes back.
func TestDisabledPathComesBackDisabled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd := newBed(t)
		s := bd.net.server(iqn, portals(2)...)
		s.addLUN(1, newMedium(), naa(1))
		all := true
		bd.net.advertise = func(string) []string {
			if all {
				return portals(2)
			}
			return portals(1)
		}
		bd.start(func(c *Config) {
			c.Targets = []Target{{Portals: portals(1), Discover: true, AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
		})
		defer bd.stop()
		const off, on = "vmhba0:1:1", "vmhba1:1:1"
		for _, name := range []string{off, on} {
			if err := bd.m.SetPathEnabled(name, false); err != nil {
				t.Fatal(err)
			}
		}
		if err := bd.m.SetPathEnabled(on, true); err != nil {
			t.Fatal(err)
		}
		bd.net.with(func() { all = false })
		bd.net.cut("10.0.0.2:3260")
		time.Sleep(20 * time.Minute)
		if n := len(bd.events.of(TargetRemoved)); n != 2 {
			t.Fatalf("got %d portals removed, want 2: nothing is shown", n)
		}
		bd.net.with(func() { all = true })
		bd.net.mend("10.0.0.2:3260")
		time.Sleep(5 * time.Minute)
		for _, p := range bd.m.Paths() {
			if want := p.Name == off; (p.Health == Disabled.String()) != want {
				t.Errorf("%s is %s", p.Name, p.Health)
			}
		}
	})
}

// B40: a portal that tells of other targets each time gets no more than it may.
func TestB40EverOtherTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		defer bd.stop()
		refused := 0
		for i := range maxTargets + 10 {
			tp := backends.TargetPortal{Target: fmt.Sprintf("iqn.2026-11.test:n%d", i), Portal: portals(1)[0]}
			if _, err := bd.m.ensurePort(&bd.m.cfg.Adapters[0], &bd.m.cfg.Targets[0], tp); errors.Is(err, errTooManyTargets) {
				refused++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if refused != 11 { // one is there from the start
			t.Errorf("got %d targets refused, want 11", refused)
		}
	})
}

// LUNs that are out of use until they are proved come first in a scan.
func TestScanProvesFirstWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd := newBed(t)
		s := bd.net.server(iqn, portals(1)...)
		var order []uint16
		for lun := range uint16(40) {
			s.addLUN(lun, newMedium(), naa(uint64(lun)+1)).sizing = func() { order = append(order, lun) }
		}
		bd.start(func(c *Config) { c.Adapters = c.Adapters[:1] })
		defer bd.stop()
		last := s.luns[39]
		bd.net.with(func() {
			order = nil
			for _, c := range s.conns {
				last.attn[c.port] = backends.Sense{Valid: true, Key: 6, ASC: 0x3f, ASCQ: 0x0e}
			}
		})
		d, err := bd.m.Lookup("vmhba0:0:39")
		if err != nil {
			t.Fatal(err)
		}
		mustOK(t, read(d, 0, 4096))
		time.Sleep(time.Second)
		if len(order) < 40 || order[0] != 39 {
			t.Errorf("got %v, want 39 first", order)
		}
	})
}

// A stop that comes while a path is being taken into use leaves no record of it: the
// next start would have to fence it.
func TestStopDuringProofLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		bd.store.mu.Lock()
		bd.store.opens = 5 * time.Second
		bd.store.mu.Unlock()
		for _, p := range portals(2) {
			bd.net.reset(p, "")
		}
		time.Sleep(time.Second)
		bd.stop()
		if list, _ := bd.store.Ghosts(); len(list) != 0 {
			t.Errorf("got %d records after a clean stop, want none: %+v", len(list), list)
		}
	})
}
