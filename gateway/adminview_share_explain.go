// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"slices"

	"pathgate/gateway/control"
	"pathgate/share"
)

// Explain gives the newest decisions of the schedulers and of the path manager that q
// selects, oldest first.
func (v *shareView) Explain(q control.ExplainQuery) []control.Explanation {
	var list []control.Explanation
	var records []share.Explain
	for _, l := range v.luns() {
		if q.LUN != "" && q.LUN != l.device.Name {
			continue
		}
		if plan := l.plan.Flows[q.VM]; q.Disk != "" && !slices.Contains(plan.Disks, q.Disk) {
			continue
		}
		records = l.scheduler.Explained(records[:0])
		for i := range records {
			if q.VM == "" || l.scheduler.FlowVM(records[i].Flow) == q.VM {
				list = append(list, l.showExplain(&records[i]))
			}
		}
	}
	for _, e := range v.explain.Query(ExplainQuery{VM: q.VM, Disk: q.Disk, Device: q.LUN}) {
		list = append(list, showPathExplanation(&e))
	}
	slices.SortStableFunc(list, func(a, b control.Explanation) int { return a.Time.Compare(b.Time) })
	if n := len(list) - q.Last; q.Last > 0 && n > 0 {
		list = list[n:]
	}
	return list
}

func (l *lunView) showExplain(e *share.Explain) control.Explanation {
	vm := l.scheduler.FlowVM(e.Flow)
	out := control.Explanation{
		Seq: e.Seq, Time: l.at(e.Time).UTC(), Source: control.ExplainScheduler, VM: vm, LUN: l.device.Name,
		Disks: slices.Clone(l.plan.Flows[vm].Disks), Verdict: control.VerdictQueued, Held: e.Held, GroupLimit: e.GroupLimit,
		LeadCU: int64(e.Lead), UsedPercent: float64(e.Use) / 1e4, EntitledPercent: float64(e.Entitlement) / 1e4,
		InflightCU: int64(e.InFlight), DepthCU: int64(e.Depth), CapacityCU: e.Capacity, Version: e.Version,
	}
	if e.Verdict == share.Dispatched {
		out.Verdict, out.Phase = control.VerdictDispatched, nameOf(sharePhases[:], e.Phase)
		return out
	}
	out.Reason = nameOf(shareReasons[:], e.Reason)
	if e.Reason == share.Limit {
		out.Limit = nameOf(shareBuckets[:], e.Bucket)
	}
	if e.Until != 0 {
		out.Until = l.at(e.Until).UTC()
	}
	if (e.Reason == share.Priority || e.Reason == share.Share) && e.Ahead != share.NoFlow {
		out.Ahead = l.scheduler.FlowVM(e.Ahead)
	}
	return out
}

// showPathExplanation shows what the path manager, or a disk, did with a request.
func showPathExplanation(e *Explanation) control.Explanation {
	out := control.Explanation{
		Seq: e.Seq, Time: e.Time.UTC(), Source: control.ExplainPaths, VM: e.VM, LUN: e.Device, Path: e.Path,
		Verdict: control.VerdictHeld, Reason: e.Reason.String(), Offset: e.Offset, Length: e.Length, Detail: e.Detail,
	}
	if e.Disk != "" {
		out.Disks = []string{e.Disk}
	}
	switch e.Reason {
	case WhyRetry:
		out.Verdict = control.VerdictSentAgain
	case WhyChosen:
		out.Verdict = control.VerdictChosen
	case WhyExpired, WhyRefused:
		out.Verdict = control.VerdictFailed
	default: // it waits
	}
	return out
}
