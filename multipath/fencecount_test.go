// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Rules 7, 13: where nothing fences, that is told once, with the object and the reason,
// and each held range shows it; fences are counted by method.
func TestRule13HeldRangesTellWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, l := twoGroups(t, func(*Config) {})
		w1, portal := cutUnder(t, bd, l, time.Second)
		mustOK(t, w1)
		d := bd.device()
		w2 := write(d, 0, 4096, 2)
		time.Sleep(20 * time.Second)
		told := bd.events.of(FenceFailed)
		if len(told) != 1 || told[0].Device != d.Name() || told[0].Path == "" || told[0].Held != 1 ||
			!strings.Contains(told[0].Reason, "no other way to portal group") || !strings.Contains(told[0].Reason, "wait for "+portal) {
			t.Errorf("told: %+v", told)
		}
		st := d.State()
		if len(st.Ghosts) != 1 || len(told) == 1 && st.Ghosts[0].Why != told[0].Reason {
			t.Errorf("shown: %+v", st.Ghosts)
		}
		bd.net.mend(portal)
		mustOK(t, w2)
		want := []FenceCount{{Method: noMethod, Failed: 1}, {Method: fenceMethod, Done: 1}}
		if got := d.State().Fences; !slices.Equal(got, want) {
			t.Errorf("counted %+v, want %+v", got, want)
		}
		bd.stop()
	})
}

// A portal that a killed run has used is not configured any more: its writes stay held,
// and that is told.
func TestRule13LeftPortalIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, s, _ := oneDisk(t, nil)
		bd.killed(s)
		bd.start(func(c *Config) {
			c.Run = 2
			c.Targets[0].Portals = c.Targets[0].Portals[1:]
		})
		time.Sleep(time.Second)
		told := bd.events.of(FenceFailed)
		if len(told) != 2 || told[0].Device == "" || told[0].Path == "" || !strings.Contains(told[0].Reason, "10.0.0.1:3260 is not configured any more") {
			t.Errorf("told: %+v", told)
		}
		if w := write(bd.device(), 0, 4096, 2).wait(); w.OK() {
			t.Error("a write passed what the earlier run has left")
		}
		_ = bd.m.Close()
		<-bd.ended
		time.Sleep(time.Minute)
	})
}

// An own key of an earlier run is no sign of others: what a run with a cut path has
// left makes the LUN not shared, is fenced by a reset, and is purged.
func TestH06OwnOrphansAreNotOthers(t *testing.T) {
	for _, replace := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			bd, s, l := oneDisk(t, nil)
			bd.net.with(func() { l.pr.replace = replace })
			bd.busyOn("10.0.0.1:3260", l)
			time.Sleep(time.Minute)
			old := bd.net.keysOf(s)[0]
			bd.killed(s)
			bd.net.cut("10.0.0.1:3260")
			bd.start(func(c *Config) { c.Run = 2 })
			time.Sleep(time.Second)
			if d := bd.device(); d.State().Shared || !d.mayReset() {
				t.Error("the gateway's own old keys count as those of others")
			}
			mustOK(t, write(bd.device(), 0, 4096, 2))
			bd.net.mend("10.0.0.1:3260")
			time.Sleep(time.Minute)
			now := bd.net.keysOf(s)[0]
			if len(now) != 4 || slices.ContainsFunc(now, func(k uint64) bool { return slices.Contains(old, k) }) {
				t.Errorf("keys %x, of the run before %x", now, old)
			}
			bd.stop()
		})
	}
}
