// SPDX-License-Identifier: Apache-2.0

//go:build integration

package shares

import (
	"testing"
	"time"

	"pathgate/integration/gate"
)

// soon is how soon after the loss of a path the reason of what waits names it.
const soon = 10 * time.Millisecond

// deaths is how often a path is killed for that at most, if the machine is late with it:
// a scheduler that is late by itself is so each time.
const deaths = 5

// rest is for how long a is measured where it has what b leaves: 1 % that b asks for
// too late is 4 % for a.
const rest = 6 * time.Second

// deathOf is what was decided about a VM when path 1 died. Times are of the gateway's
// one clock.
type deathOf struct {
	first decision      // that it waits since it is over its entitlement, after the death
	after time.Duration // after the path's death; it may be before that is written down
	// already: it waited for that reason when the path died, and for no other soon after.
	already bool
}

// overAfterDeath kills path 1.
func (b *bed) overAfterDeath(vm string) (o deathOf) {
	b.t.Helper()
	mark := b.kill()
	death := b.g.Events.Wait(b.t, mark, 10*time.Second, gate.Kind("path-down"))
	if !gate.Poll(5*time.Second, func() bool {
		o = deathOf{}
		for _, d := range b.decisions(vm) {
			after := d.Time.Sub(death.Time)
			over := d.Verdict == "queued" && d.Reason == "over-entitlement"
			switch {
			case over && d.CapacityCU == b.rate && after > -warmUp: // of one path; those of earlier deaths are older
				o.first, o.after = d, after
				return true
			case after < 0: // of two paths
				o.already = over
			case after < soon: // its wait had an end, or another reason
				o.already = false
			}
		}
		return false
	}) {
		list := b.decisions(vm)
		b.t.Fatalf("no decision about %s names over-entitlement after %v; the last of %d: %+v", vm, death, len(list), list[max(0, len(list)-5):])
	}
	return o
}

// overSoon asks of that decision that it comes soon and says what is so: held, if the
// mode is strict, with the window open.
func (b *bed) overSoon(vm string, held bool) {
	b.t.Helper()
	for i := 1; ; i++ {
		o := b.overAfterDeath(vm)
		d := &o.first
		b.t.Logf("measured: row 11: %s named %v after the path's death (before it too: %v), used %.1f%% of %.1f%%, in flight %d/%d",
			d.Reason, o.after, o.already, d.UsedPercent, d.EntitledPercent, d.InflightCU, d.DepthCU)
		if d.UsedPercent <= d.EntitledPercent {
			b.t.Errorf("over with %.1f%% used of %.1f%%", d.UsedPercent, d.EntitledPercent)
		}
		if o.after.Abs() <= soon && d.Held == held && (!held || d.InflightCU < d.DepthCU) || o.already && !held {
			return
		}
		if i == deaths {
			b.t.Errorf("over-entitlement was named %v after the path's death, want at most %v, and held %v: %+v", o.after, soon, held, d)
			return
		}
		b.revive()
		b.warm()
	}
}

// Row 11 (par. 0110, 0111), strict: 15 % of two paths is 30 % of one. The next command
// of a is held at once, though the window is open. A tenth of the table's rates.
func TestServeRow11Strict(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{rate: 1000, scheduler: scheduler(2000, "mode: strict")},
		of("a", 2000).prio(2), of("b", 8000).prio(10))
	loads := []*Load{b.load("a", Job{Rate: 300}), b.load("b", Job{Rate: 790})}
	b.warm()
	b.expect("tgtd, row 11 strict, two paths", 3*time.Second, b.each(loads, 300, 790)...)
	b.overSoon("a", true)
	b.warm()
	b.expect("tgtd, row 11 strict, one path", rest, b.each(loads, 210, 790)...)
	b.revive()
	b.warm()
	b.expect("tgtd, row 11 strict, two again", 3*time.Second, b.each(loads, 300, 790)...)
	finish(t, loads...)
}

// Row 11, default mode: a is served while the window is open; with b saturated it is
// not, and a waits as over-entitlement. A twentieth of the table's rates.
func TestServeRow11(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{rate: 500, scheduler: scheduler(1000)}, of("a", 2000).prio(2), of("b", 8000).prio(10))
	loads := []*Load{b.load("a", Job{Rate: 150}), b.load("b", Job{Rate: 395})}
	b.warm()
	b.kill()
	b.warm()
	b.expect("tgtd, row 11, one path", rest, b.each(loads, 105, 395)...)
	b.revive()
	b.warm()
	b.expect("tgtd, row 11, two again", 3*time.Second, b.each(loads, 150, 395)...)
	finish(t, loads[1])
	loads[1] = b.load("b", Job{Depth: 128})
	b.warm()
	b.expect("tgtd, row 11, b saturated", 3*time.Second, b.each(loads, 150, 850)...)
	b.overSoon("a", false)
	b.warm()
	b.expect("tgtd, row 11, b saturated on one path", 4*time.Second, b.each(loads, 10, 490)...)
	finish(t, loads...)
}

// The window is whole again after both paths were lost and came back under load.
func TestServeAllPathsLost(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{rate: 500, scheduler: scheduler(1000)}, of("vm1", 2000), of("vm2", 1000))
	loads := b.closed()
	b.warm()
	for range 3 {
		mark := b.g.Events.Mark()
		for _, p := range b.proxies {
			p.ResetConns()
		}
		b.g.Events.Wait(t, mark, 10*time.Second, gate.Kind("all-paths-down"))
		b.settle()
	}
	b.warm()
	b.expect("tgtd, after all paths were lost", 3*time.Second, b.each(loads, 1000.*2/3, 1000./3)...)
	finish(t, loads...)
}
