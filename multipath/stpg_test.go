// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

const bothWays = scsi.ALUAImplicit | scsi.ALUAExplicit

// The paths of the active group are lost: the target is asked for the other one,
// the requests wait for that, and go on.
func TestStorageProcessorFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, a := aluaBed(t, bothWays, scsi.Standby, nil)
		defer bd.stop()
		d := bd.device()
		mustOK(t, write(d, 0, 4096, 1))
		bd.net.with(func() { a.setTakes = 2 * time.Second })
		bd.net.cut("10.0.0.1:3260")
		start := time.Now()
		w := write(d, 0, 4096, 2)
		mustOK(t, w)
		if e := w.at.Sub(start); e < moveGrace || e > moveGrace+a.setTakes+askMost+100*time.Millisecond {
			t.Errorf("the write took %v", e)
		}
		bd.wantGroups("after the failover", 2)
		ev := bd.events.of(GroupSwitch)
		if len(ev) != 1 || ev[0].Method != switchExplicit || ev[0].Reason != "group 2 instead of 1: "+moveStuck || ev[0].Duration < moveGrace {
			t.Errorf("events %+v", ev)
		}
		if a.sets != 1 {
			t.Errorf("%d SET TARGET PORT GROUPS, want 1", a.sets)
		}
	})
}

// A loss that is over at once moves nothing.
func TestShortLossMovesNoGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, a := aluaBed(t, bothWays, scsi.Standby, nil)
		defer bd.stop()
		bd.net.reset("10.0.0.1:3260", "")
		mustOK(t, write(bd.device(), 0, 4096, 1))
		time.Sleep(time.Minute)
		bd.wantGroups("afterwards", 1)
		if a.sets != 0 {
			t.Errorf("%d SET TARGET PORT GROUPS, want none", a.sets)
		}
	})
}

// With another group that serves the requests go there at once, and it is made
// active meanwhile.
func TestLostGroupIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, a := aluaBed(t, bothWays, scsi.ActiveNonOptimized, nil)
		defer bd.stop()
		bd.net.cut("10.0.0.1:3260")
		start := time.Now()
		mustOK(t, write(bd.device(), 0, 4096, 1))
		if e := time.Since(start); e > 50*time.Millisecond {
			t.Errorf("the write took %v", e)
		}
		time.Sleep(time.Second)
		g := bd.device().State().Groups
		if a.sets != 1 || g[0].Access != "optimized" {
			t.Errorf("%d SET TARGET PORT GROUPS, groups %+v", a.sets, g)
		}
		if ev := bd.events.of(GroupSwitch); len(ev) != 2 || ev[0].Method != switchPaths || ev[1].Method != switchExplicit {
			t.Errorf("events %+v", ev)
		}
	})
}

// Without explicit ALUA the target is asked until it shows another group active.
func TestImplicitOnlyWaitsForTheTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, l, a := aluaBed(t, scsi.ALUAImplicit, scsi.Standby, nil)
		defer bd.stop()
		bd.net.cut("10.0.0.1:3260")
		w := write(bd.device(), 0, 4096, 1)
		time.Sleep(10 * time.Second)
		bd.net.with(func() {
			a.mute = true
			a.change(l, 2, scsi.ActiveOptimized)
		})
		start := time.Now()
		mustOK(t, w)
		if e := w.at.Sub(start); e > askMost+time.Millisecond {
			t.Errorf("%v after the change", e)
		}
		if a.sets != 0 {
			t.Errorf("%d SET TARGET PORT GROUPS to a target that knows none", a.sets)
		}
	})
}

// A target that fails is asked again with a growing pause, one that refuses is not.
func TestFailedMoves(t *testing.T) {
	for _, c := range []struct {
		name     string
		res      backends.Result
		min, max int
	}{
		{"hardware error", sense(4, 0x44, 0), 5, 40},
		{"refused", sense(5, 0x20, 0), 1, 1},
		{"set failed", sense(4, 0x67, 0x0a), 5, 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bd, _, a := aluaBed(t, bothWays, scsi.Standby, nil)
				defer bd.stop()
				bd.net.with(func() { a.setFails = func() *backends.Result { return &c.res } })
				bd.net.cut("10.0.0.1:3260")
				time.Sleep(time.Minute)
				bd.net.with(func() {
					if a.sets < c.min || a.sets > c.max {
						t.Errorf("%d SET TARGET PORT GROUPS, want %d to %d", a.sets, c.min, c.max)
					}
					a.setFails = nil
				})
				if ev := bd.events.of(GroupSwitchFailed); len(ev) == 0 {
					t.Error("nothing was told")
				}
				if c.min > 1 {
					mustOK(t, write(bd.device(), 0, 4096, 1))
				}
			})
		})
	}
}

// Another host that sees only the other group takes it back each time: the pauses
// between our own moves grow.
func TestNoPingPong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, l, a := aluaBed(t, bothWays, scsi.Standby, nil)
		defer bd.stop()
		bd.net.cut("10.0.0.1:3260")
		for range 600 {
			time.Sleep(time.Second)
			bd.net.with(func() {
				if a.byID(2).State == scsi.ActiveOptimized {
					a.change(l, 2, scsi.Standby)
				}
			})
			write(bd.device(), 0, 4096, 1)
		}
		// Pauses of 10, 20, 40, 80, 160 s, then 320.
		if a.sets < 4 || a.sets > 8 {
			t.Errorf("%d SET TARGET PORT GROUPS in ten minutes, want 4 to 8", a.sets)
		}
	})
}

// A group whose paths have just come back is not gone back to while another one
// serves; with none it is the last way.
func TestNotBackToALostGroup(t *testing.T) {
	for _, c := range []struct {
		name   string
		list   []groupState
		usable bool
		want   uint16
		ok     bool
	}{
		{"healthy before returned", []groupState{{id: 1, access: Standby, explicit: true, probation: 2, total: 2}, {id: 2, access: Standby, explicit: true, up: 1, total: 1}}, false, 2, true},
		{"the last way", []groupState{{id: 1, access: Standby, explicit: true, probation: 2, total: 2}, {id: 2, access: Standby, explicit: true, total: 1}}, false, 1, true},
		{"not while one serves", []groupState{{id: 1, access: Optimized, explicit: true, total: 2}, {id: 2, access: NonOptimized, explicit: true, probation: 1, total: 1}}, true, 0, false},
		{"none is explicit", []groupState{{id: 1, access: Standby, up: 2, total: 2}}, false, 0, false},
		{"offline", []groupState{{id: 1, access: Offline, explicit: true, up: 2, total: 2}}, false, 0, false},
		{"preferred first", []groupState{{id: 1, access: NonOptimized, explicit: true, up: 2, total: 2}, {id: 2, access: Standby, preferred: true, explicit: true, up: 2, total: 2}}, true, 2, true},
		{"all is well", []groupState{{id: 1, access: Optimized, explicit: true, used: true, up: 2, total: 2}, {id: 2, access: Standby, explicit: true, up: 2, total: 2}}, true, 0, false},
		{"lost, another serves", []groupState{{id: 1, access: Optimized, explicit: true, total: 2}, {id: 2, access: NonOptimized, explicit: true, up: 1, total: 1}}, true, 2, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &mover{}
			got, ok := m.want(c.list, c.usable, false)
			if got.group != c.want || ok != c.ok {
				t.Errorf("got %+v, %v; want group %d, %v", got, ok, c.want, c.ok)
			}
		})
	}
}

func TestSwitchGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, l, a := aluaBed(t, bothWays, scsi.Standby, rule(Rule{Failback: FailbackRule{Mode: FailbackManual}}))
		defer bd.stop()
		d := bd.device()
		ctx, cancel := context.WithTimeout(context.Background(), 24*time.Hour)
		defer cancel()
		if err := d.SwitchGroup(ctx, 7); !errors.Is(err, ErrNoGroup) {
			t.Errorf("group 7: %v", err)
		}
		bd.net.with(func() { a.setTakes = time.Second })
		if err := d.SwitchGroup(ctx, 2); err != nil {
			t.Error(err)
		}
		// Group 1 is still optimized: nothing but the choice holds it back.
		bd.wantGroups("after the choice", 2)
		time.Sleep(time.Hour)
		bd.wantGroups("an hour later", 2)
		bd.net.cut("10.0.0.2:3260")
		time.Sleep(10 * time.Millisecond)
		mustOK(t, write(d, 0, 4096, 1))
		bd.wantGroups("after its loss", 1)
		if err := d.SwitchGroup(ctx, 2); !errors.Is(err, ErrGroupDown) {
			t.Errorf("a group that is down: %v", err)
		}
		bd.net.with(func() {
			a.change(l, 2, scsi.Standby)
			a.setTakes, a.setFails = 0, func() *backends.Result { r := sense(4, 0x67, 0x0a); return &r }
		})
		bd.net.mend("10.0.0.2:3260")
		time.Sleep(time.Minute)
		var e *SwitchError
		if err := d.SwitchGroup(ctx, 2); !errors.As(err, &e) {
			t.Errorf("a target that does not: %v", err)
		}
		bd.wantGroups("at the end", 1)
	})
}

func TestSwitchGroupImplicit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, l, _ := aluaBed(t, scsi.ALUAImplicit, scsi.ActiveNonOptimized, nil)
		defer bd.stop()
		d := bd.device()
		if err := d.SwitchGroup(context.Background(), 2); err != nil {
			t.Error(err)
		}
		bd.wantGroups("after the choice", 2)
		if ev := bd.events.of(GroupSwitch); len(ev) != 1 || ev[0].Method != switchOperator {
			t.Errorf("events %+v", ev)
		}
		time.Sleep(14 * time.Second)
		bd.wantGroups("before the failback delay", 2)
		time.Sleep(2 * time.Second)
		bd.wantGroups("after it", 1)
		bd.state(l, 2, scsi.Standby)
		mustOK(t, write(d, 0, 4096, 1))
		time.Sleep(6 * time.Second)
		if err := d.SwitchGroup(context.Background(), 2); !errors.Is(err, ErrImplicit) {
			t.Errorf("a standby group: %v", err)
		}
	})
}

// The preferred bit: a group with it is made active again when it is there.
func TestPreferredGroupIsMadeActive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, l, a := aluaBed(t, bothWays, scsi.Standby, nil)
		defer bd.stop()
		bd.net.with(func() { a.byID(1).Preferred = true })
		bd.state(l, 1, scsi.ActiveOptimized) // told anew
		mustOK(t, write(bd.device(), 0, 4096, 1))
		bd.net.cut("10.0.0.1:3260")
		mustOK(t, write(bd.device(), 0, 4096, 1))
		bd.wantGroups("after the failover", 2)
		bd.state(l, 1, scsi.Standby) // as arrays do
		bd.net.mend("10.0.0.1:3260")
		time.Sleep(10 * time.Second)
		bd.wantGroups("before the failback delay", 2)
		time.Sleep(20 * time.Second)
		if g := bd.device().State().Groups; g[0].ID != 1 || !g[0].Used || !g[0].Preferred || g[0].Access != "optimized" {
			t.Errorf("groups %+v", g)
		}
	})
}
