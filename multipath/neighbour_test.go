// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"testing"
	"testing/synctest"
	"time"
)

// neighbours is one target process with two LUNs, and two paths to each.
func neighbours(t *testing.T) (bd *bed, sick *fakeLUN) {
	bd = newBed(t)
	s := bd.net.server(iqn, portals(2)...)
	sick = s.addLUN(1, newMedium(), naa(1))
	s.addLUN(2, newMedium(), naa(2))
	bd.start(func(c *Config) { c.Adapters = c.Adapters[:1] })
	if n := bd.used(); n != 4 {
		t.Fatalf("got %d paths in use, want 4: %+v", n, bd.m.Paths())
	}
	return bd, sick
}

// at gives the device of a LUN.
func (bd *bed) at(lun string) *Device {
	bd.t.Helper()
	d, err := bd.m.Lookup("vmhba0:0:" + lun)
	if err != nil {
		bd.t.Fatal(err)
	}
	return d
}

// A LUN that answers nothing keeps no other one behind the same sessions from being
// proved after a login.
func TestHungUnitKeepsNoNeighbourAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, sick := neighbours(t)
		defer bd.stop()
		bad, well := bd.at("1"), bd.at("2")
		mustOK(t, write(bad, 0, 4096, 9), write(well, 0, 4096, 1))
		bd.net.with(func() { sick.hung = true })
		for _, p := range portals(2) {
			bd.net.reset(p, "")
		}
		began := time.Now()
		mustRead(t, well, 0, 4096, 1)
		if d := time.Since(began); d > 10*time.Second {
			t.Errorf("a read of the other LUN took %v", d)
		}
		time.Sleep(10 * time.Minute)
		began = time.Now()
		for _, p := range portals(2) {
			bd.net.reset(p, "")
		}
		mustRead(t, well, 0, 4096, 1)
		if d := time.Since(began); d > 10*time.Second {
			t.Errorf("a read of the other LUN took %v, ten minutes later", d)
		}
		bd.net.with(func() { sick.hung = false })
		began = time.Now()
		mustRead(t, bad, 0, 4096, 9)
		if d := time.Since(began); d > 70*time.Second {
			t.Errorf("the LUN was back %v after it answered", d)
		}
	})
}

// Nor does one whose old writes cannot be fenced, since its LOGICAL UNIT RESET is not
// answered.
func TestUnfencedUnitKeepsNoNeighbourAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, sick := neighbours(t)
		defer bd.stop()
		bad, well := bd.at("1"), bd.at("2")
		mustOK(t, write(well, 0, 4096, 1))
		bd.net.with(func() { sick.hung = true })
		held := write(bad, 0, 4096, 2)
		for range 60 {
			time.Sleep(time.Second)
			began := time.Now()
			mustRead(t, well, 0, 4096, 1)
			mustOK(t, write(well, 8192, 4096, 3))
			if d := time.Since(began); d > 10*time.Second {
				t.Fatalf("a read and a write of the other LUN took %v", d)
			}
		}
		if n := len(bad.State().Ghosts); n == 0 {
			t.Fatal("the write to the LUN that hangs has left no ghost: nothing is shown")
		}
		if n := len(bd.events.of(FenceFailed)); n == 0 || n > 12 {
			t.Errorf("got %d events of fences that failed, want some and not one for each", n)
		}
		for _, p := range bd.m.Paths() {
			if p.LUN == 2 && p.Health != Up.String() {
				t.Errorf("%s is %s (%s): its LUN is well", p.Name, p.Health, p.Reason)
			}
			if p.LUN == 1 && p.Used {
				t.Errorf("%s is used, and is not fenced", p.Name)
			}
		}
		bd.net.with(func() { sick.hung = false })
		began := time.Now()
		mustOK(t, held, write(bad, 0, 4096, 4))
		mustRead(t, bad, 0, 4096, 4)
		if d := time.Since(began); d > 20*time.Second {
			t.Errorf("the LUN was back %v after it answered", d)
		}
	})
}
