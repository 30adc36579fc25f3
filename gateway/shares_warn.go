// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"maps"
	"slices"

	"pathgate/share"
)

// Warnings tells what of the plan has no effect, or cannot be had. capacity is what
// the device does now (share.Snapshot.Capacity); 0: not known, then the configured one
// is used, if there is one. Operations count as 1 CU each, and bytes as in large
// requests, which is the least that a reservation can cost.
func (p *LUNPlan) Warnings(capacity share.Speed) []ShareWarning {
	q := LUNPlan{Device: p.Device, warnings: slices.Clone(p.warnings)}
	if capacity == 0 {
		capacity = share.Speed(p.Settings.Capacity) * 1000
	}
	var reserved share.Speed
	for _, vm := range slices.Sorted(maps.Keys(p.Flows)) {
		e := p.Flows[vm].Entitlement
		reserved += p.speed(e.Reservation, true)
		if p.Enabled && e.Weight == 0 && p.Settings.FloorInterval == 0 && e.Reservation == (share.Rate{}) {
			q.warn(WarnNoService, vm, "", fmt.Sprintf("%s has 0 shares and there is no floor: it gets nothing while others wait", vm))
		}
		if l := p.speed(e.Limits.Total.Rate, false); p.Enabled && capacity > 0 && l > capacity {
			q.warn(WarnLimitNoEffect, vm, "", fmt.Sprintf("the limit of %s is %s, above the %s that there are: it has no effect",
				vm, units(l), units(capacity)))
		}
		if !p.Enabled && (e.Reservation != (share.Rate{}) || e.Group != 0) {
			q.warn(WarnSchedulerOff, vm, "", fmt.Sprintf("the scheduler is off: reservation and group of %s have no effect", vm))
		}
	}
	if p.Enabled && capacity > 0 && reserved > capacity {
		q.warn(WarnReservations, "", "", fmt.Sprintf("reservations add up to %s, above the %s that there are: they are scaled down",
			units(reserved), units(capacity)))
	}
	return q.warnings
}

// speed is a rate in the scheduler's measure: the larger of its two for what must be
// given, else the smaller; 0: none.
func (p *LUNPlan) speed(r share.Rate, larger bool) share.Speed {
	ops := share.Speed(r.Ops) * 1000
	bytes := share.Speed(r.Bytes * 1000 / p.Settings.UnitBytes)
	switch {
	case ops == 0 || bytes == 0:
		return ops + bytes
	case larger:
		return max(ops, bytes)
	}
	return min(ops, bytes)
}

func units(v share.Speed) string { return fmt.Sprintf("%d CU/s", v/1000) }
