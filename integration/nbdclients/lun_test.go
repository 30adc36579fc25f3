// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbdclients

import (
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/tgtd"
)

// TestScriptsOnLUN runs those that need a LUN and its paths.
func TestScriptsOnLUN(t *testing.T) {
	t.Parallel()
	s := tgtd.New(t, tgtd.Options{
		Portals: []string{"127.0.0.1:0", "127.0.0.2:0"},
		Targets: []tgtd.Target{{Name: "iqn.2026-11.test:nbdclients", LUNs: []tgtd.LUN{{SizeBytes: 64 << 20}}}},
	})
	b := &bed{Gate: gate.New(t, gate.Config{Targets: []gate.Target{{Portals: s.Portals()}}})}
	b.WaitUp(t, 4, time.Minute) // two portals from two adapters
	if out, err := b.nbdsh(t, "lun/no_trim.py", "root").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	b.during(t, "lun/paths.py", "root", func() { must(t, s.Kill()) })
}
