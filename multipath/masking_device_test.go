// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// noPaths gives the rules for which it was told that no path is left.
func (bd *bed) noPaths() (rules []int) {
	for _, e := range bd.events.of(NoPaths) {
		rules = append(rules, e.Masked)
	}
	return rules
}

// TestMaskIsNoExcuse: that no path is left is a fault as ever where one is lost that
// no rule masks: the last of them, or one that a rule let go while it was down.
func TestMaskIsNoExcuse(t *testing.T) {
	t.Run("last", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			bd, _, _ := oneDisk(t, nil)
			defer bd.stop()
			bd.m.SetClaims(mustRules(t, "100 mask portal=10.0.0.1"))
			time.Sleep(20 * time.Millisecond)
			if n := bd.used(); n != 2 || len(bd.noPaths()) != 0 {
				t.Fatalf("%d paths are used, want 2; %v", n, bd.noPaths())
			}
			bd.net.cut("10.0.0.2:3260")
			if got := bd.noPaths(); !slices.Equal(got, []int{0}) {
				t.Errorf("told for rules %v that no path is left, want a fault", got)
			}
			if i := bd.device().State(); i.Masked != 0 {
				t.Errorf("got rule %d for a device whose last path is lost", i.Masked)
			}
		})
	})
	t.Run("let go", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			bd, _, l := oneDisk(t, nil)
			defer bd.stop()
			bd.net.with(func() { l.delay = slow(2 * time.Second) })
			w := write(bd.device(), 0, 4096, 1)
			bd.net.with(func() { l.delay = nil })
			bd.m.SetClaims(mustRules(t, "100 mask vendor=FAKE"))
			time.Sleep(20 * time.Millisecond)
			if got := bd.noPaths(); !slices.Equal(got, []int{100}) || !strings.Contains(bd.masks(), "!") {
				t.Fatalf("told for rules %v that no path is left, want 100; masked %s", got, bd.masks())
			}
			bd.net.cut("10.0.0.1:3260")
			bd.net.cut("10.0.0.2:3260")
			time.Sleep(20 * time.Millisecond)
			bd.m.SetClaims(ClaimRules{})
			if got := bd.noPaths(); !slices.Equal(got, []int{100, 0}) {
				t.Errorf("told for rules %v that no path is left, want 100 and then a fault", got)
			}
			bd.net.mend("10.0.0.1:3260")
			bd.net.mend("10.0.0.2:3260")
			mustOK(t, w)
		})
	})
}
