// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/internal/scsi"
)

// healthOf gives the health of the paths over a portal.
func (bd *bed) healthOf(portal string) (list []string) {
	for _, p := range bd.m.Paths() {
		if p.Portal == portal {
			list = append(list, p.Health)
		}
	}
	return list
}

// rule gives a Config one rule for all.
func rule(r Rule) func(*Config) {
	return func(c *Config) { c.Rule = func(...string) Rule { return r } }
}

func TestFailbackRules(t *testing.T) {
	const lost = "10.0.0.1:3260"
	for _, c := range []struct {
		name     string
		rule     FailbackRule
		off, on  time.Duration // on probation after off, up after on; 0: never
		requests bool          // one is always in flight, until on
	}{
		{"delayed", FailbackRule{}, 14 * time.Second, 16 * time.Second, false},
		{"delayed by the rule", FailbackRule{Delay: 40 * time.Second}, 39 * time.Second, 41 * time.Second, true},
		{"immediate", FailbackRule{Mode: FailbackImmediate}, 0, 200 * time.Millisecond, true},
		{"manual", FailbackRule{Mode: FailbackManual}, time.Hour, 0, false},
		{"quiet at once", FailbackRule{Mode: FailbackConditional}, 0, 200 * time.Millisecond, false},
		{"quiet for a time", FailbackRule{Mode: FailbackConditional, Quiet: 3 * time.Second}, 2900 * time.Millisecond, 3200 * time.Millisecond, false},
		{"not quiet", FailbackRule{Mode: FailbackConditional, Quiet: 3 * time.Second}, time.Minute, time.Minute + 4*time.Second, true},
		{"little load", FailbackRule{Mode: FailbackConditional, Pending: 4096}, 0, 200 * time.Millisecond, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bd, _, l := oneDisk(t, rule(Rule{Failback: c.rule}))
				defer bd.stop()
				d := bd.device()
				bd.net.with(func() { l.delay = slow(50 * time.Millisecond) })
				end := time.Now().Add(max(c.off, c.on))
				done := make(chan struct{})
				go func() {
					defer close(done)
					for c.requests && time.Now().Before(end) {
						a, b := write(d, 0, 4096, 1), (*call)(nil)
						if c.off > time.Second {
							time.Sleep(25 * time.Millisecond)
							b = write(d, 4096, 4096, 1) // the two overlap in time
						}
						a.wait()
						if b != nil {
							b.wait()
						}
					}
				}()
				bd.net.reset(lost, "")
				if c.off > 0 {
					time.Sleep(c.off)
					if got := bd.healthOf(lost); !slices.Equal(got, []string{"marginal", "marginal"}) {
						t.Errorf("after %v: %v", c.off, got)
					}
				}
				if c.on > 0 {
					time.Sleep(c.on - c.off)
					<-done
					time.Sleep(c.rule.Quiet + 200*time.Millisecond)
					if got := bd.healthOf(lost); !slices.Equal(got, []string{"up", "up"}) {
						t.Errorf("after %v: %v; %+v", c.on, got, bd.m.Paths())
					}
				}
				<-done
			})
		})
	}
}

// Manual failback holds nothing back when there is nothing else.
func TestManualFailbackAfterTheLossOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, rule(Rule{Failback: FailbackRule{Mode: FailbackManual}}))
		defer bd.stop()
		bd.net.reset("10.0.0.1:3260", "")
		bd.net.reset("10.0.0.2:3260", "")
		mustOK(t, write(bd.device(), 0, 4096, 1))
		time.Sleep(16 * time.Second)
		for _, p := range bd.m.Paths() {
			if p.Health != "up" {
				t.Errorf("%+v", p)
			}
		}
	})
}

// Manual: path reinstate ends the probation.
func TestManualFailbackByReinstate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, rule(Rule{Failback: FailbackRule{Mode: FailbackManual}}))
		defer bd.stop()
		bd.net.reset("10.0.0.1:3260", "vmhba0")
		time.Sleep(time.Minute)
		for _, p := range bd.m.Paths() {
			if p.Health == "up" {
				continue
			}
			if p.Reason != "on probation, waits for path reinstate" {
				t.Errorf("reason %q", p.Reason)
			}
			if err := bd.m.ReinstatePath(p.Name); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Second)
		if n := bd.used(); n != 4 {
			t.Errorf("%d paths in use, want 4", n)
		}
	})
}

// Immediate failback of a path that flaps is damped all the same.
func TestImmediateFailbackIsDamped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, rule(Rule{Failback: FailbackRule{Mode: FailbackImmediate}}))
		defer bd.stop()
		for range 4 {
			bd.net.reset("10.0.0.1:3260", "vmhba0")
			time.Sleep(time.Second)
		}
		time.Sleep(10 * time.Second)
		if n := bd.used(); n != 3 {
			t.Errorf("%d paths in use, want 3: the fourth has been lost four times", n)
		}
		time.Sleep(2 * time.Minute)
		if n := bd.used(); n != 4 {
			t.Errorf("%d paths in use at the end, want 4", n)
		}
	})
}

// A group that the target made worse, and better again, is gone back to by the rule.
func TestGroupFailback(t *testing.T) {
	for _, c := range []struct {
		name    string
		rule    FailbackRule
		off, on time.Duration
	}{
		{"delayed", FailbackRule{}, 14 * time.Second, 16 * time.Second},
		{"immediate", FailbackRule{Mode: FailbackImmediate}, 0, 50 * time.Millisecond},
		{"manual", FailbackRule{Mode: FailbackManual}, time.Hour, 0},
		{"conditional", FailbackRule{Mode: FailbackConditional, Quiet: 5 * time.Second}, 4 * time.Second, 6 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bd, l, a := aluaBed(t, scsi.ALUAImplicit, scsi.ActiveNonOptimized, rule(Rule{Failback: c.rule}))
				defer bd.stop()
				d := bd.device()
				bd.state(l, 1, scsi.Standby)
				mustOK(t, write(d, 0, 4096, 1))
				bd.wantGroups("after the change", 2)
				time.Sleep(10 * time.Second) // the unit attentions of all paths are met
				bd.net.with(func() {
					a.byID(1).State = scsi.ActiveOptimized
					a.change(l, 1, scsi.ActiveOptimized)
				})
				mustOK(t, write(d, 0, 4096, 2))
				if c.off > 0 {
					time.Sleep(c.off)
					bd.wantGroups("before it is time", 2)
				}
				if c.on > 0 {
					time.Sleep(c.on - c.off)
					bd.wantGroups("after it", 1)
				} else {
					bd.state(l, 2, scsi.Standby)
					mustOK(t, write(d, 0, 4096, 2))
					bd.wantGroups("when the other one is lost", 1)
				}
			})
		})
	}
}

// What the target gives instead is used at once: only a way back waits.
func TestFailoverIsNoFailback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, l, _ := aluaBed(t, scsi.ALUAImplicit, scsi.ActiveNonOptimized, rule(Rule{Failback: FailbackRule{Mode: FailbackManual}}))
		defer bd.stop()
		d := bd.device()
		bd.state(l, 1, scsi.ActiveNonOptimized)
		mustOK(t, write(d, 0, 4096, 1))
		bd.wantGroups("both alike", 1, 2)
		bd.state(l, 2, scsi.ActiveOptimized)
		mustOK(t, write(d, 0, 4096, 1), write(d, 4096, 4096, 1))
		bd.wantGroups("the other is active", 2)
	})
}

func TestChoice(t *testing.T) {
	c := &choice{}
	list := func(ranks ...int) (l []candidate) {
		for slot, r := range ranks {
			if r > 0 {
				l = append(l, candidate{slot: slot, rank: r})
			}
		}
		return l
	}
	for _, s := range []struct {
		what         string
		list         []candidate
		leave        PathSet
		used, better PathSet
	}{
		{"the best of the first", list(1050, 1050, 1010), 0, 3, 0},
		{"one of two lost", list(1050, 0, 1010), 0, 1, 0},
		{"and there again", list(1050, 1050, 1010), 0, 3, 0},
		{"both worth less", list(1005, 1005, 1010), 3, 4, 0},
		{"more again: a failback", list(1050, 1050, 1010), 0, 4, 3},
		{"what is in use rises too", list(1050, 1050, 1050), 0, 7, 0},
		{"nothing for a moment", nil, 0, 0, 0},
		{"as before", list(1050, 1050, 1050), 0, 7, 0},
		{"on probation", list(50, 50, 1010), 0, 4, 0},
		{"up: never left", list(1050, 50, 1010), 0, 1, 0},
	} {
		c.leave(s.leave)
		if better := c.next(s.list); c.used != s.used || better != s.better {
			t.Errorf("%s: got %b, better %b; want %b, %b", s.what, c.used, better, s.used, s.better)
		}
	}
}
