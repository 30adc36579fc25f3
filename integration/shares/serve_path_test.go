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

// deaths is how often a path is killed for that, if the machine stood still meanwhile.
const deaths = 5

// overAfterDeath kills path 1 and looks for the first decision after it that the VM
// waits since it is over its entitlement. Both times are of the gateway's one clock; a
// decision may be made before the event of the path's death is written.
func (b *bed) overAfterDeath(vm string) (d decision, after time.Duration) {
	b.t.Helper()
	mark := b.kill()
	death := b.g.Events.Wait(b.t, mark, 10*time.Second, gate.Kind("path-down"))
	if !gate.Poll(5*time.Second, func() bool {
		for _, d = range b.decisions(vm) {
			// The capacity is that of one path; there may be decisions from an earlier death.
			if d.Verdict == "queued" && d.Reason == "over-entitlement" && d.CapacityCU == b.rate && d.Time.After(death.Time.Add(-warmUp)) {
				return true
			}
		}
		return false
	}) {
		list := b.decisions(vm)
		b.t.Fatalf("no decision about %s names over-entitlement after %v; the last of %d: %+v", vm, death, len(list), list[max(0, len(list)-5):])
	}
	return d, d.Time.Sub(death.Time)
}

// overSoon is overAfterDeath with what is asked of it.
func (b *bed) overSoon(vm string, held bool) {
	b.t.Helper()
	for i := 1; ; i++ {
		from := b.clock.Now()
		d, after := b.overAfterDeath(vm)
		b.t.Logf("measured: row 11: %s named %v after the path's death, used %.1f%% of %.1f%%, in flight %d/%d",
			d.Reason, after, d.UsedPercent, d.EntitledPercent, d.InflightCU, d.DepthCU)
		if d.Held != held {
			b.t.Errorf("held is %v in %+v", d.Held, d)
		}
		if d.UsedPercent <= d.EntitledPercent {
			b.t.Errorf("over with %.1f%% used of %.1f%%", d.UsedPercent, d.EntitledPercent)
		}
		if held && d.InflightCU >= d.DepthCU {
			b.t.Errorf("the window was full: %+v", d)
		}
		if after.Abs() <= soon {
			return
		}
		if i == deaths || b.clock.Halted(from, b.clock.Now()) == 0 {
			b.t.Errorf("over-entitlement was named %v after the path's death, want at most %v", after, soon)
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
	b.expect("tgtd, row 11 strict, one path", 3*time.Second, b.each(loads, 210, 790)...)
	b.revive()
	b.warm()
	b.expect("tgtd, row 11 strict, two again", 3*time.Second, b.each(loads, 300, 790)...)
	finish(t, loads...)
}

// Row 11, default mode: a is served while the window is open; with b saturated it is
// not, and a waits as over-entitlement.
func TestServeRow11(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{rate: 1000, scheduler: scheduler(2000)}, of("a", 2000).prio(2), of("b", 8000).prio(10))
	loads := []*Load{b.load("a", Job{Rate: 300}), b.load("b", Job{Rate: 790})}
	b.warm()
	b.kill()
	b.warm()
	b.expect("tgtd, row 11, one path", 3*time.Second, b.each(loads, 210, 790)...)
	b.revive()
	b.warm()
	b.expect("tgtd, row 11, two again", 3*time.Second, b.each(loads, 300, 790)...)
	finish(t, loads[1])
	loads[1] = b.load("b", Job{Depth: 128})
	b.warm()
	b.expect("tgtd, row 11, b saturated", 3*time.Second, b.each(loads, 300, 1700)...)
	b.overSoon("a", false)
	b.warm()
	b.expect("tgtd, row 11, b saturated on one path", 4*time.Second, b.each(loads, 20, 980)...)
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
