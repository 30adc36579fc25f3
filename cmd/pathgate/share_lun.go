// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// newShareLUNCmd makes "pathgate share lun".
func newShareLUNCmd(to *target) *cobra.Command {
	return asGroup(&cobra.Command{
		Use:   "lun",
		Short: "Show and set how a LUN is divided",
		Long: `The scheduler of a LUN, or of a file: how much it lets into the device at once, what
it takes for the capacity, and its knobs. LUN is a canonical name, an alias, an
identity, or the path of a file.`,
	}, newShareLUNListCmd(to), newShareLUNShowCmd(to), newShareLUNSetCmd(to), newShareLUNResetCmd(to))
}

func newShareLUNListCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the schedulers of all LUNs",
		Args:    noArgs,
	}
	out := newFormat(cmd, true)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		luns, err := c.ShareLUNs(cmd.Context())
		if err != nil {
			return err
		}
		return printList(cmd.OutOrStdout(), out, luns, shareLUNColumns())
	}
	return cmd
}

func shareLUNColumns() []column[control.ShareLUN] {
	type L = control.ShareLUN
	return []column[L]{
		{name: "LUN", value: func(l L) string { return l.Name }},
		{name: "MODE", value: func(l L) string { return l.Mode }},
		{name: "INFLIGHT", value: func(l L) string { return strconv.FormatInt(l.InflightCU, 10) }, right: true},
		{name: "DEPTH", value: func(l L) string { return strconv.FormatInt(l.DepthCU, 10) }, right: true},
		{name: "MOVED", value: func(l L) string { return l.DepthMove }},
		{name: "LATENCY", value: func(l L) string { return humanMicros(l.LatencyUs) }, right: true},
		{name: "TARGET", value: func(l L) string { return humanMicros(l.TargetUs) }, right: true},
		{name: "CAPACITY", value: func(l L) string { return speed(l.CapacityCU) }, right: true},
		{name: "NOMINAL", value: func(l L) string { return speed(l.NominalCU) }, right: true},
		{name: "KAPPA%", value: func(l L) string { return percent(100 * l.Kappa) }, right: true},
		{name: "FLOOR", value: func(l L) string { return humanMicros(l.FloorUs) }, right: true, wide: true},
		{name: "RESERVED", value: func(l L) string { return speed(l.ReservedCU) }, right: true, wide: true},
		{name: "STALLS", value: func(l L) string { return strconv.FormatUint(l.Stalls, 10) }, right: true, wide: true},
		{name: "SETTINGS", value: func(l L) string { return strconv.FormatUint(uint64(l.Version), 10) }, right: true, wide: true},
		{name: "FLOWS", value: func(l L) string { return strconv.Itoa(l.Flows) }, right: true},
		{name: "WAITING", value: func(l L) string { return strconv.Itoa(l.Waiting) }, right: true},
		{name: "DEGRADED", value: func(l L) string { return strings.Join(l.Degraded, ",") }},
		{name: "WARNINGS", value: func(l L) string { return warningCodes(l.Warnings) }},
	}
}

// speed gives CU/s; "" while it is not known.
func speed(cu float64) string {
	if cu <= 0 {
		return ""
	}
	return strconv.FormatFloat(cu, 'f', 0, 64)
}

func warningCodes(list []control.ShareWarning) string {
	var codes []string
	for _, w := range list {
		codes = append(codes, w.Code)
	}
	return strings.Join(codes, ",")
}

func newShareLUNShowCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "show LUN",
		Short:             "Show the state and the knobs of a LUN's scheduler",
		Args:              oneArg("LUN"),
		ValidArgsFunction: completeShareLUNs(to),
	}
	out := newFormat(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		l, err := c.ShareLUN(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return printShareLUN(cmd.OutOrStdout(), out, l)
	}
	return cmd
}

func newShareLUNResetCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "reset LUN",
		Short:             "Go back to what the configuration says of a LUN's scheduler",
		Args:              oneArg("LUN"),
		ValidArgsFunction: completeShareLUNs(to),
	}
	out := newFormat(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		l, err := c.ResetLUNShare(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return printShareLUN(cmd.OutOrStdout(), out, l)
	}
	return cmd
}

func printShareLUN(w io.Writer, out *format, l control.ShareLUN) error {
	if out.isJSON() {
		return printJSON(w, l, "  ")
	}
	var s sheet
	s.title("lun %s: %s%s", l.Name, l.Mode, overriddenText(l.Overridden))
	if len(l.Names) > 0 {
		s.line("names", "%s", strings.Join(l.Names, ", "))
	}
	s.line("window", "%d CU, %s; %d CU in flight in %d commands%s", l.DepthCU, l.DepthMove, l.InflightCU, l.Inflight, commandLimit(l.CommandLimit))
	s.line("latency", "%s, target %s", time.Duration(l.LatencyUs)*time.Microsecond, time.Duration(l.TargetUs)*time.Microsecond)
	s.line("capacity", "%s", capacityText(l))
	state := "no"
	if len(l.Degraded) > 0 {
		state = "yes: " + strings.Join(l.Degraded, ", ")
	}
	if l.PrioritiesInForce {
		state += "; priorities decide"
	}
	s.line("degraded", "%s", state)
	floor := "none"
	if l.FloorUs > 0 {
		floor = "a command every " + (time.Duration(l.FloorUs) * time.Microsecond).String()
	}
	s.line("floor", "%s", floor)
	s.line("reserved", "%.0f CU/s", l.ReservedCU)
	s.line("flows", "%d, of which %d wait", l.Flows, l.Waiting)
	for _, g := range l.Groups {
		s.line("group", "%s: weight %d, %d flows, entitled %.1f%%, used %.1f%%%s",
			g.Name, g.Weight, g.Flows, g.EntitledPercent, g.UsedPercent, prefixed(", ", limitTexts(g.Limit, g.LimitRead, g.LimitWrite)))
	}
	s.line("stalls", "%d", l.Stalls)
	s.line("settings", "version %d", l.Version)
	for _, k := range lunKnobTexts(l.Settings) {
		s.line("", "%-17s %s", k[0], k[1])
	}
	s.warnings(l.Warnings)
	return s.print(w)
}

func commandLimit(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" of at most %d", n)
}

func capacityText(l control.ShareLUN) string {
	if l.CapacityCU <= 0 {
		return fmt.Sprintf("not known yet, %.1f%% of the paths", 100*l.Kappa)
	}
	return fmt.Sprintf("%.0f CU/s of %.0f, %.1f%% of the paths", l.CapacityCU, l.NominalCU, 100*l.Kappa)
}

func prefixed(sep string, parts []string) string {
	if len(parts) == 0 {
		return ""
	}
	return sep + strings.Join(parts, sep)
}
