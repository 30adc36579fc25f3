// SPDX-License-Identifier: Apache-2.0

package share

import (
	"strings"
	"testing"
	"time"
)

// TestNegativeControls: with a part of the algorithm switched off, the row that
// is to guard this part fails, and by the expectation that is meant
// (SCHEDULER.md section 7, item 4).
func TestNegativeControls(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(*accSheet, accVariant)
		off  accVariant
		// fails begins the expectation that must not be met.
		fails string
	}{
		{
			name: "no clamp when a flow wakes up, row 8",
			run:  func(s *accSheet, v accVariant) { accRow8(s, v, accWake{0, 490, 0.2}) },
			off:  accVariant{ablation: noEnterClamp}, fails: "VM2, CU in the first 100 ms",
		},
		{
			name: "floors below reservations, row 13", run: accRow13Unknown,
			off: accVariant{ablation: floorsLast}, fails: "VM2, longest gap",
		},
		{
			name: "now + H without max, row 13",
			run:  func(s *accSheet, v accVariant) { accRow13Small(s, v, 10, 4096) },
			off:  accVariant{ablation: plainAhead}, fails: "VM1, each",
		},
		{
			name: "limit slop 0, row 24", run: accRow24Timer,
			off: accVariant{noSlop: true}, fails: "VM1, each",
		},
		{
			name: "one core per CPU core, row 1", run: accRow1,
			off: accVariant{cores: 2}, fails: "VM1, each",
		},
		{
			name: "no stall guard, row 25", run: accRow25Stalls,
			off: accVariant{ablation: noStallGuard}, fails: "the narrowest window",
		},
		{
			name: "D not scaled, row 11", run: accRow11Default,
			off: accVariant{ablation: depthUnscaled}, fails: "b mean latency",
		},
		{
			name: "no path re-count: the LUN stops, row 12",
			run:  func(s *accSheet, v accVariant) { accRow12(s, v, PriorityDegraded, 8000, 2000) },
			off:  accVariant{ablation: noPathRecount}, fails: "CU/s while what was lost",
		},
		{
			name: "cost as a sum of the command and its bytes, row 4",
			run: func(s *accSheet, v accVariant) {
				if !v.sum {
					accRow4(s, v)
					return
				}
				accCosts(s, func(bytes uint32) Unit { return 1 + Unit(bytes+4095)/4096 })
			},
			off: accVariant{sum: true}, fails: "CU of 4096 bytes",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s accSheet
			c.run(&s, c.off)
			bad := s.failed()
			for _, f := range bad {
				t.Logf("switched off: %v", f)
			}
			for _, f := range bad {
				if strings.HasPrefix(f.what, c.fails) {
					return
				}
			}
			t.Errorf("%q is met without it: this row does not guard it", c.fails)
		})
	}
}

// TestCalibratedCost: a cost that is the larger of the two terms lets a mix of
// classes use a device up; one that is their sum leaves about 40 % of it unused
// (SCHEDULER.md 2.1). The device does 10000 commands/s or 160 MB/s, whichever is
// reached first.
func TestCalibratedCost(t *testing.T) {
	class := ClassCost{IOPS: 10000, UnitBytes: 16 << 10}
	for _, c := range []struct {
		bytes uint32
		want  Unit
	}{{512, 1}, {16 << 10, 1}, {16<<10 + 1, 2}, {64 << 10, 4}} {
		m := accModel(accVariant{}, 10000, 64, func(s *Settings) {
			s.CostModel = CostCalibrated
			s.Calibration = Calibration{
				MaxIOPS: 20000, RandomRead: class, SequentialRead: ClassCost{IOPS: 20000, UnitBytes: 16 << 10},
				RandomWrite: class, SequentialWrite: class,
			}
		})
		f := m.share(1000)
		m.client(f, simWork{bytes: c.bytes}).submit(m, 1)
		m.run(time.Second)
		// A random command is worth two of the fastest class.
		if got, want := m.log[0].cost, max(2, c.want); got != want {
			t.Errorf("%d bytes: got %d CU, want %d", c.bytes, got, want)
		}
	}
}
