// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"slices"

	"pathgate/share"
)

// The names of the scheduler's values in the control API, by value; "" is none.
var (
	sharePhases  = [...]string{share.PhaseReserve: "reserve", share.PhaseFloor: "floor", share.PhaseQuantum: "quantum", share.PhaseShare: "share", share.PhaseZero: "zero"}
	shareReasons = [...]string{
		share.NoPath: "no-path", share.Fence: "fence", share.Busy: "busy", share.Limit: "limit",
		share.OverEntitlement: "over-entitlement", share.Priority: "priority", share.WindowFull: "window", share.Share: "share",
	}
	shareBuckets = [...]string{
		share.OpsTotal: "iops", share.BytesTotal: "bandwidth", share.OpsRead: "iops-read", share.BytesRead: "bandwidth-read",
		share.OpsWrite: "iops-write", share.BytesWrite: "bandwidth-write", share.PeakOpsTotal: "peak-iops",
		share.PeakBytesTotal: "peak-bandwidth", share.PeakOpsRead: "peak-iops-read", share.PeakBytesRead: "peak-bandwidth-read",
		share.PeakOpsWrite: "peak-iops-write", share.PeakBytesWrite: "peak-bandwidth-write",
	}
	shareDepthMoves = [...]string{
		share.DepthFixed: "fixed", share.DepthStarted: "started", share.DepthGrew: "grew", share.DepthShrank: "shrank",
		share.DepthIdle: "idle", share.DepthDiscarded: "discarded", share.DepthPath: "path",
	}
	shareModes          = [...]string{share.WorkConserving: "work-conserving", share.Strict: "strict"}
	shareCostModels     = [...]string{share.CostPatent: "patent", share.CostCalibrated: "calibrated"}
	shareCapacityModels = [...]string{share.CapacitySum: "sum", share.CapacityShared: "shared"}
	sharePriorityModes  = [...]string{share.PriorityDegraded: "degraded", share.PriorityOff: "off", share.PriorityAlways: "always"}
)

// nameOf gives the name of a value; "" for one that has none.
func nameOf[T ~uint8](names []string, v T) string {
	if int(v) < len(names) {
		return names[v]
	}
	return ""
}

// shareDegradations names what holds of d.
func shareDegradations(d share.Degradation) (list []string) {
	for _, x := range []struct {
		bit  share.Degradation
		name string
	}{{share.DegradedPaths, "paths"}, {share.DegradedReservation, "reservations"}, {share.DegradedLatency, "latency"}} {
		if d&x.bit != 0 {
			list = append(list, x.name)
		}
	}
	return list
}

// valueOf is the reverse of nameOf, for what a client sends: a fault for a word that
// is no name.
func valueOf[T ~uint8](key string, names []string, word *string) (*T, error) {
	if word == nil {
		return nil, nil
	}
	i := slices.Index(names, *word)
	if i < 0 {
		return nil, share.Fault{Key: key, Value: *word, Message: errWord.Error(), Rule: share.Rule(key)}
	}
	v := T(i)
	return &v, nil
}
