// SPDX-License-Identifier: Apache-2.0

//go:build integration

package detect

import (
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/scripted"
	"pathgate/internal/scsi"
)

// TestPA8FailureClasses: one portal, all portals of a storage processor, and one LUN
// are lost, and each is told by its name, once, and is back. (An adapter is lost in
// package link.)
func TestPA8FailureClasses(t *testing.T) {
	tg, g := arranged(t, gate.Config{Timeouts: map[string]string{"checker": "200ms", "checker-max": "200ms"}})
	lose := func(portals ...int) {
		for _, p := range portals {
			tg.Down(p)
			tg.Cut(p)
		}
	}
	mend := func(portals ...int) {
		for _, p := range portals {
			tg.Up(t, p)
		}
	}
	check := func(object, cause, paths string, cut, mend func()) {
		t.Helper()
		mark := g.Events.Mark()
		at := time.Now()
		cut()
		e := told(t, g, mark, "component-lost", object+" lost: "+paths)
		if e.Attrs["cause"] != cause || !strings.HasSuffix(object, e.Attrs["object"]) || e.Attrs["object"] == "" {
			t.Errorf("%s: %v", object, e)
		}
		down := g.WaitPaths(t, long, func(ps []gate.Path) bool {
			for _, p := range ps {
				if strings.HasPrefix(p.Reason, object+": ") {
					return true
				}
			}
			return false
		})
		if table := g.MustCLI(t, "path", "list"); !strings.Contains(table, object+": ") {
			t.Errorf("%s: `path list` does not show it: %s\n%+v", object, table, down)
		}
		t.Logf("measured: %s: told %v after the cut", e.Message, e.Time.Sub(at))
		mend()
		told(t, g, mark, "component-back", object+" back: ")
		g.WaitUp(t, 16, long)
		if list := g.Events.Since(mark, gate.Kind("component-lost")); len(list) != 1 {
			t.Errorf("%s: told %v", object, list)
		}
	}
	check("portal "+tg.Address(0), "portal", "4 paths", func() { lose(0) }, func() { mend(0) })
	check("storage processor "+tg.Name()+" group 2", "storage-processor", "8 paths", func() { lose(2, 3) }, func() { mend(2, 3) })
	var rule *scripted.Script
	check("LUN vmhba0:0:2", "lun", "8 paths", func() {
		rule = tg.On(scripted.Rule{
			LUNs: []uint16{2}, Ops: append([]scsi.Opcode{scsi.OpTestUnitReady}, scripted.Data...),
			Do: scripted.Check(scsi.CodeManualIntervention),
		})
	}, func() { rule.Remove() })
}
