// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"slices"
	"testing"
	"time"

	"pathgate/gateway/control"
	"pathgate/share"
)

// learntScheduler tells of a device that has done 15 CU/s so far.
type learntScheduler struct {
	*coreScheduler
	measured bool
}

func (l learntScheduler) ShareStatus(dst *share.Snapshot) time.Time {
	since := l.coreScheduler.ShareStatus(dst)
	dst.Capacity, dst.Measured = 15_000, l.measured
	for i := range dst.Flows {
		dst.Flows[i].Met = dst.Flows[i].Configured.Reservation == share.Rate{}
	}
	return since
}

// TestNoWarningsBeforeMeasured: limits and reservations are judged by what a device
// can do, and not by what a few requests have taken of it.
func TestNoWarningsBeforeMeasured(t *testing.T) {
	for _, measured := range []bool{false, true} {
		v, lun, _ := newView(t)
		v.schedulers = func() []shareScheduler { return []shareScheduler{learntScheduler{lun, measured}} }
		list := v.luns()
		if len(list) != 1 {
			t.Fatalf("got %d LUNs, want 1", len(list))
		}
		for _, code := range []string{WarnLimitNoEffect, WarnReservations, WarnReservationScaled} {
			told := slices.ContainsFunc(list[0].warnings, func(w ShareWarning) bool { return w.Code == code })
			if told != measured {
				t.Errorf("measured %v: warning %s is told: %v", measured, code, told)
			}
		}
	}
}

// TestSimulateJudgesMeasured: likewise for what a loss of paths would do.
func TestSimulateJudgesMeasured(t *testing.T) {
	f := share.FlowForecast{Flow: 1, Active: true, Wanted: 100_000, Reservation: 7_000, Claimed: 7_000, Entitlement: 7_000}
	now := share.Snapshot{Capacity: 15_000, Flows: []share.FlowStatus{{Flow: 1, Entitlement: 15_000}}}
	below := func(vm control.SimulatedVM) [3]bool {
		return [3]bool{vm.BelowReservation, vm.BelowIfClaimed, vm.BelowEntitlement}
	}
	if got := below(simulateVM(&f, &now, 500_000)); got != [3]bool{} {
		t.Errorf("judged %v by a capacity that was not measured", got)
	}
	all := [3]bool{true, true, true}
	if got := below(simulateVM(&f, &now, 0)); got != all {
		t.Errorf("without a path: judged %v, want %v", got, all)
	}
	now.Measured = true
	if got := below(simulateVM(&f, &now, 500_000)); got != all {
		t.Errorf("measured: judged %v, want %v", got, all)
	}
}
