// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/internal/scsi"
)

// A port group that its target does not have any more, and no path ends in, is forgotten.
func TestGroupsThatAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, l, a := aluaBed(t, scsi.ALUAImplicit, scsi.ActiveNonOptimized, nil)
		defer bd.stop()
		for id := uint16(100); id < 120; id++ {
			bd.net.with(func() {
				a.groups = slices.DeleteFunc(a.groups, func(g scsi.PortGroup) bool { return g.ID >= 100 })
				a.groups = append(a.groups, scsi.PortGroup{ID: id, State: scsi.Standby})
			})
			bd.state(l, 2, []scsi.AccessState{scsi.ActiveNonOptimized, scsi.Standby}[id%2])
			mustOK(t, read(bd.device(), 0, 4096))
			time.Sleep(time.Minute)
		}
		if g := bd.device().State().Groups; len(g) != 3 {
			t.Errorf("got %d groups, want 3: %+v", len(g), g)
		}
	})
}
