// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"testing"
	"testing/synctest"
	"time"

	"pathgate/internal/scsi"
)

func TestPriorities(t *testing.T) {
	for _, c := range []struct {
		access                 Access
		plain, pref, exclusive int
	}{
		{Optimized, 50, 50, 130},
		{NonOptimized, 10, 90, 90},
		{LBADependent, 5, 85, 85},
		{Standby, 1, 81, 81},
		{Unavailable, 0, 0, 0},
		{Transitioning, 0, 0, 0},
		{Offline, 0, 0, 0},
	} {
		if got := priorityOf(c.access, false, true); got != c.plain {
			t.Errorf("%v: %d, want %d", c.access, got, c.plain)
		}
		if got := priorityOf(c.access, true, false); got != c.pref {
			t.Errorf("%v preferred: %d, want %d", c.access, got, c.pref)
		}
		if got := priorityOf(c.access, true, true); got != c.exclusive {
			t.Errorf("%v preferred, exclusive: %d, want %d", c.access, got, c.exclusive)
		}
	}
}

// A standby group is found, shown with its number, and given no data.
func TestStandbyGroupIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, a := aluaBed(t, scsi.ALUAImplicit, scsi.Standby, nil)
		defer bd.stop()
		bd.wantGroups("at the start", 1)
		d := bd.device()
		for i := range 16 {
			mustOK(t, write(d, uint64(i)*4096, 4096, 1))
		}
		if a.data[2] != 0 || a.data[1] != 16 {
			t.Errorf("data commands by group: %v, want 16 at 1", a.data)
		}
		for _, p := range bd.m.Paths() {
			want, priority := "1", 50
			if p.Access == "standby" {
				want, priority = "2", 1
			}
			if p.Group != want || p.Priority != priority {
				t.Errorf("path %+v: want group %s and priority %d", p, want, priority)
			}
		}
		if g := d.State().Groups; len(g) != 2 || g[0].ID != 1 || g[1].Access != "standby" || len(g[1].Paths) != 2 || !g[1].Implicit || g[1].Explicit {
			t.Errorf("groups %+v", g)
		}
	})
}

// One report, asked for after the first unit attention, is for all paths of all
// groups: nothing is proved anew for it, no request fails.
func TestImplicitChangeIsFollowedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, l, a := aluaBed(t, scsi.ALUAImplicit, scsi.Standby, nil)
		defer bd.stop()
		d := bd.device()
		mustOK(t, write(d, 0, 4096, 1))
		asks := a.asks
		bd.net.with(func() {
			a.change(l, 2, scsi.ActiveOptimized)
			a.change(l, 1, scsi.Standby)
		})
		start := time.Now()
		mustOK(t, write(d, 0, 4096, 2))
		if e := time.Since(start); e > 50*time.Millisecond {
			t.Errorf("the first write after the change took %v", e)
		}
		bd.wantGroups("after the change", 2)
		for _, p := range bd.m.Paths() {
			if used := p.Group == "2"; p.Used != used || p.Health != "up" {
				t.Errorf("path %+v: want used %v", p, used)
			}
		}
		// Each of the four paths has a unit attention of its own, and two of them
		// were met at most.
		if n := a.asks - asks; n == 0 || n > 4 {
			t.Errorf("%d questions, want 1 to 4", n)
		}
		mustRead(t, d, 0, 4096, 2)
	})
}

// A target that raises no unit attention is found out by what it refuses.
func TestSenseAsksForTheGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, l, a := aluaBed(t, scsi.ALUAImplicit, scsi.Standby, nil)
		defer bd.stop()
		d := bd.device()
		mustOK(t, write(d, 0, 4096, 1))
		for _, s := range []scsi.AccessState{scsi.Standby, scsi.Unavailable} {
			bd.net.with(func() {
				a.mute = true
				a.change(l, 2, scsi.ActiveOptimized)
				a.change(l, 1, s)
			})
			mustOK(t, write(d, 0, 4096, 2))
			bd.wantGroups("after "+s.String(), 2)
			bd.net.with(func() {
				a.change(l, 1, scsi.ActiveOptimized)
				a.change(l, 2, scsi.Standby)
			})
			mustOK(t, write(d, 0, 4096, 3))
			bd.wantGroups("and back", 1)
		}
	})
}

// A group in transition is waited for, and the requests go on as soon as it is
// over, whatever their back-off.
func TestTransitionIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, l, _ := aluaBed(t, scsi.ALUAImplicit, scsi.Standby, nil)
		defer bd.stop()
		d := bd.device()
		bd.net.with(func() { l.alua.noExtended = true })
		bd.state(l, 1, scsi.Transitioning)
		c := write(d, 0, 4096, 1)
		time.Sleep(5 * time.Second)
		if c.ended() {
			t.Fatalf("ended in transition: %v", c.res.Err())
		}
		bd.state(l, 1, scsi.ActiveOptimized)
		start := time.Now()
		mustOK(t, c)
		if e := c.at.Sub(start); e > askMost+100*time.Millisecond {
			t.Errorf("%v after the end of the transition", e)
		}
		if e := bd.events.of(PathDown); len(e) != 0 {
			t.Errorf("%+v", e)
		}
	})
}

// With another group that serves nothing waits for one in transition.
func TestTransitionUsesTheOtherGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, l, _ := aluaBed(t, scsi.ALUAImplicit, scsi.ActiveNonOptimized, nil)
		defer bd.stop()
		bd.state(l, 1, scsi.Transitioning)
		start := time.Now()
		mustOK(t, write(bd.device(), 0, 4096, 1))
		if e := time.Since(start); e > 20*time.Millisecond {
			t.Errorf("the write took %v", e)
		}
		bd.wantGroups("in transition", 2)
	})
}

// HAZARDS section 5, 2/04/0A: the reported time bounds a transition, 60 s else.
func TestTransitionWithoutEnd(t *testing.T) {
	for _, c := range []struct {
		name           string
		reported, want time.Duration
	}{{"not told", 0, 60 * time.Second}, {"as told", 3 * time.Second, 3 * time.Second}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bd, l, a := aluaBed(t, scsi.ALUAImplicit, scsi.Standby, nil)
				defer bd.stop()
				bd.net.with(func() { a.transition = c.reported })
				bd.state(l, 1, scsi.Transitioning)
				w := write(bd.device(), 0, 4096, 1)
				time.Sleep(c.want - time.Second)
				if g := bd.device().State().Groups; g[len(g)-1].Access != "transitioning" {
					t.Errorf("before the time is over: %+v", g)
				}
				time.Sleep(2 * time.Second)
				if g := bd.device().State().Groups; g[len(g)-1].Access != "failed" {
					t.Errorf("after it: %+v", g)
				}
				w.wait()
				bd.state(l, 1, scsi.ActiveOptimized)
				time.Sleep(askMost + time.Second)
				mustOK(t, write(bd.device(), 0, 4096, 2))
				bd.wantGroups("when it is there at last", 1)
			})
		})
	}
}

// A path whose session is lost in a standby group is proved again, though no
// test read can pass; it is read from when its group serves.
func TestStandbyPathComesBack(t *testing.T) {
	for _, s := range []scsi.AccessState{scsi.Standby, scsi.Unavailable} {
		t.Run(s.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bd, l, _ := aluaBed(t, scsi.ALUAImplicit, scsi.Standby, nil)
				defer bd.stop()
				bd.state(l, 2, s)
				bd.net.reset("10.0.0.2:3260", "")
				time.Sleep(30 * time.Second)
				for _, p := range bd.m.Paths() {
					if p.Health != "up" {
						t.Errorf("path %+v", p)
					}
				}
				bd.net.with(func() {
					l.alua.change(l, 2, scsi.ActiveOptimized)
					l.alua.change(l, 1, scsi.Standby)
				})
				mustOK(t, write(bd.device(), 0, 4096, 1))
				bd.wantGroups("afterwards", 2)
			})
		})
	}
}

// A LUN that cannot even be measured when it is found is looked at again.
func TestUnavailableGroupIsFoundLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, l, _ := aluaBed(t, scsi.ALUAImplicit, scsi.Unavailable, nil)
		defer bd.stop()
		time.Sleep(time.Second)
		if n := len(bd.m.Paths()); n != 2 {
			t.Errorf("got %d paths, want the 2 of group 1", n)
		}
		bd.state(l, 2, scsi.ActiveOptimized)
		time.Sleep(10 * time.Second)
		bd.wantGroups("afterwards", 1, 2)
		if e := bd.events.of(PathQuarantined); len(e) != 0 {
			t.Errorf("%+v", e)
		}
	})
}
