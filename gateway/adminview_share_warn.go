// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"

	"pathgate/share"
)

// Codes of warnings that a scheduler's state gives, beside those of its plan.
const (
	WarnReservationScaled = "reservation-scaled"
	WarnPriorityOff       = "priority-off"
	WarnPriorityInHealth  = "priority-in-health"
	WarnTargetTooLow      = "latency-target-below-idle"
	WarnDepthAtMaximum    = "depth-at-maximum"
	WarnCommandLimit      = "command-limit-below-depth"
	WarnStrictIdle        = "strict-without-capacity"
)

// measured is the capacity to judge settings by; 0 while that is not known.
func (l *lunView) measured() share.Speed {
	if !capacityKnown(&l.snap) {
		return 0
	}
	return l.snap.Capacity
}

// stateWarnings tells what the state of the scheduler makes of the settings.
func (l *lunView) stateWarnings() []ShareWarning {
	p, s := LUNPlan{Device: l.plan.Device}, &l.snap
	if !l.plan.Enabled {
		return nil
	}
	set := &l.plan.Settings
	for i := range s.Flows {
		l.flowWarnings(&p, &s.Flows[i])
	}
	auto := set.Depth == 0
	if auto && s.Depth <= set.DepthMin && s.Latency > s.Target && s.Target > 0 {
		p.warn(WarnTargetTooLow, "", "", fmt.Sprintf(
			"the device takes %v with the smallest window, %d CU: latency-target, %v, is below what it can do", s.Latency, s.Depth, set.LatencyTarget))
	}
	if auto && s.Depth >= set.DepthMax && s.DepthMove == share.DepthGrew {
		p.warn(WarnDepthAtMaximum, "", "", fmt.Sprintf("the window is at depth-max, %d CU, and the latency would allow more", set.DepthMax))
	}
	if n := share.Unit(s.CommandLimit); n > 0 && n < s.Depth {
		p.warn(WarnCommandLimit, "", "", fmt.Sprintf("the target takes %d commands at once: a window of %d CU is not filled by small ones", n, s.Depth))
	}
	if set.Mode == share.Strict && s.Capacity == 0 {
		p.warn(WarnStrictIdle, "", "", "mode strict has no effect before the capacity is known")
	}
	return p.warnings
}

func (l *lunView) flowWarnings(p *LUNPlan, f *share.FlowStatus) {
	vm := l.scheduler.FlowVM(f.Flow)
	if f.Configured.Reservation != (share.Rate{}) && !f.Met && l.snap.Measured {
		p.warn(WarnReservationScaled, vm, "", fmt.Sprintf(
			"the reservation of %s is scaled down to %s: the LUN cannot give all that are asked for", vm, units(f.Reservation)))
	}
	if f.Configured.Priority == share.DefaultPriority {
		return
	}
	switch set := &l.plan.Settings; {
	case set.PriorityMode == share.PriorityOff:
		p.warn(WarnPriorityOff, vm, "", fmt.Sprintf("priority %d of %s has no effect: priority-mode is off", f.Configured.Priority, vm))
	case set.PriorityMode == share.PriorityDegraded && l.snap.Degraded == 0:
		p.warn(WarnPriorityInHealth, vm, "", fmt.Sprintf(
			"priority %d of %s only breaks ties now: priority-mode is degraded, and the LUN is not", f.Configured.Priority, vm))
	}
}
