// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"pathgate/gateway"
	"pathgate/gateway/control"
)

// newShareLUNSetCmd makes "pathgate share lun set".
func newShareLUNSetCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set LUN",
		Short: "Set the knobs of a LUN's scheduler",
		Long: `Set how a LUN is divided. What is not named stays. The command ends when the change
is in force and will be kept over a restart.`,
		Example: `  pathgate share lun set vmhba0:0:1 --mode strict --depth 64
  pathgate share lun set vmhba0:0:1 --depth auto --latency-target 2ms`,
		Args:              oneArg("LUN"),
		ValidArgsFunction: completeShareLUNs(to),
	}
	out := newFormat(cmd, false)
	var change control.LUNShareChange
	lunFlags(knobs{cmd}, &change)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if change == (control.LUNShareChange{}) {
			return usageError{fmt.Errorf("%s: nothing is to be set", args[0])}
		}
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		l, err := c.SetLUNShare(cmd.Context(), args[0], change)
		if err != nil {
			return err
		}
		return printShareLUN(cmd.OutOrStdout(), out, l)
	}
	return cmd
}

func lunFlags(f knobs, c *control.LUNShareChange) {
	const us = time.Microsecond
	f.word(&c.Mode, "mode", "`mode`: work-conserving, or strict, which holds who has had its part")
	f.size(&c.CUBytes, "cu-bytes", "`size` that one CU stands for")
	f.size(&c.OpsBytes, "ops-bytes", "`size` that counts as one operation in limits, or none", "none")
	f.word(&c.CostModel, "cost-model", "`model`: patent or calibrated")
	f.number(&c.Quantum, "quantum", "`n` sequential commands go without preemption")
	f.size(&c.QuantumBytes, "quantum-bytes", "`size` of these together")
	f.number(&c.SequentialGap, "sequential-gap", "`n` sectors between commands that still count as sequential")
	f.duration(&c.WindowUs, us, "vt-window", "`time` over which use is judged")
	f.duration(&c.FloorIntervalUs, us, "floor-interval", "every waiting VM gets a command within this `time`, or none", "none")
	f.duration(&c.ReserveAheadUs, us, "reserve-ahead", "`time` by which reservations may be paid in advance")
	f.duration(&c.LimitSlopUs, us, "limit-slop", "`time` by which limits may be ahead")
	f.number(&c.IdleCreditMax, "idle-credit-max", "bound of every idle credit, `n` CU")
	f.number(&c.Depth, "depth", "`n` CU in the device at once, or auto: by latency", "auto")
	f.number(&c.DepthStart, "depth-start", "`n` CU at which auto begins")
	f.number(&c.DepthMin, "depth-min", "lower bound of auto, `n` CU")
	f.number(&c.DepthMax, "depth-max", "upper bound of auto, `n` CU")
	f.duration(&c.LatencyTargetUs, us, "latency-target", "device latency that auto aims at, `time`, or auto: by the medium", "auto")
	f.fraction(&c.DepthGain, "depth-gain", "how fast auto follows the latency, `f`")
	f.fraction(&c.DepthGrowth, "depth-growth", "how fast auto grows, `f`")
	f.number(&c.Capacity, "capacity", "what the LUN does over all paths, `n` CU/s, or learn", "learn")
	f.word(&c.CapacityModel, "capacity-model", "`model`: sum (a lost path costs its part) or shared (it costs nothing)")
	f.duration(&c.PlanPeriodUs, us, "plan-period", "`time` between two plans of who is entitled to what")
	f.number(&c.OverMargin, "over-margin", "`n` % above its entitlement are allowed")
	f.word(&c.PriorityMode, "priority-mode", "when priorities decide, `mode`: off, degraded or always")
	f.number(&c.TierKeep, "tier-keep", "lower priorities keep `n` % of their entitlement")
	f.number(&c.DegradedBelow, "degraded-below", "below `n` % of the nominal capacity priorities decide")
	f.number(&c.ExplainRing, "explain-ring", "`n` decisions are kept for explain")
}

// lunKnobTexts gives the knobs by the names of the flags, in their order.
func lunKnobTexts(s control.LUNShareSettings) [][2]string {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	size := func(n int64) string { return gateway.Size(n).String() }
	span := func(us int64) string { return (time.Duration(us) * time.Microsecond).String() }
	fraction := func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
	or := func(word, text string, n int64) string {
		if n == 0 {
			return word
		}
		return text
	}
	return [][2]string{
		{"enabled", yesNo(s.Enabled)},
		{"mode", s.Mode},
		{"cu-bytes", size(s.CUBytes)},
		{"ops-bytes", or("none", size(s.OpsBytes), s.OpsBytes)},
		{"cost-model", s.CostModel},
		{"quantum", number(s.Quantum)},
		{"quantum-bytes", size(s.QuantumBytes)},
		{"sequential-gap", number(s.SequentialGap)},
		{"vt-window", span(s.WindowUs)},
		{"floor-interval", or("none", span(s.FloorIntervalUs), s.FloorIntervalUs)},
		{"reserve-ahead", span(s.ReserveAheadUs)},
		{"limit-slop", span(s.LimitSlopUs)},
		{"idle-credit-max", number(s.IdleCreditMax)},
		{"depth", or("auto", number(s.Depth), s.Depth)},
		{"depth-start", number(s.DepthStart)},
		{"depth-min", number(s.DepthMin)},
		{"depth-max", number(s.DepthMax)},
		{"latency-target", or("auto", span(s.LatencyTargetUs), s.LatencyTargetUs)},
		{"depth-gain", fraction(s.DepthGain)},
		{"depth-growth", fraction(s.DepthGrowth)},
		{"capacity", or("learn", number(s.Capacity), s.Capacity)},
		{"capacity-model", s.CapacityModel},
		{"plan-period", span(s.PlanPeriodUs)},
		{"over-margin", number(s.OverMargin)},
		{"priority-mode", s.PriorityMode},
		{"tier-keep", number(s.TierKeep)},
		{"degraded-below", number(s.DegradedBelow)},
		{"explain-ring", number(s.ExplainRing)},
	}
}
