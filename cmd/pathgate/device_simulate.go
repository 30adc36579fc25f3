// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// newDeviceSimulateCmd makes "pathgate device simulate".
func newDeviceSimulateCmd(to *target) *cobra.Command {
	var without []string
	cmd := &cobra.Command{
		Use:   "simulate [NAME] --without NAME [--without NAME ...]",
		Short: "Tell what would be left without some paths",
		Long: `Tell what would be left of a device, or of every device that is concerned, without
an adapter, a portal ("address:port", or the address alone), a target name or a path:
over which paths I/O would go, at what capacity, which VMs would fall below their
reservation or get less than now, and which disks would lose all their paths. Nothing
changes. It counts with the load that there is now; "if all claimed" counts with every
VM claiming the whole of its reservation.`,
		Args:                  optionalArg,
		ValidArgsFunction:     completeDevices(to),
		DisableFlagsInUseLine: true,
	}
	out := newFormat(cmd, false)
	cmd.Flags().StringArrayVar(&without, "without", nil, "take away the adapter, portal, target or path of this `NAME`")
	err := cmd.RegisterFlagCompletionFunc("without", completePathNames(to, func(p control.Path) []string {
		return []string{p.Name, p.Adapter, p.Portal, p.Target}
	}))
	if err != nil {
		panic(err) // the flag was made above
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(without) == 0 {
			return usageError{errors.New("--without is missing")}
		}
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		list, err := c.Simulate(cmd.Context(), strings.Join(args, ""), without...)
		if err != nil {
			return err
		}
		if out.isJSON() {
			return printJSON(cmd.OutOrStdout(), list, "  ")
		}
		return printSimulations(cmd.OutOrStdout(), list, without)
	}
	return cmd
}

func printSimulations(to io.Writer, list []control.Simulation, without []string) error {
	w := bufio.NewWriter(to)
	for i := range list {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := printSimulation(w, &list[i], without); err != nil {
			return err
		}
	}
	return w.Flush()
}

func printSimulation(w io.Writer, s *control.Simulation, without []string) error {
	name := s.Device
	if len(s.Aliases) > 0 {
		name += " (" + strings.Join(s.Aliases, ", ") + ")"
	}
	var out sheet
	out.title("device %s without %s:", name, strings.Join(without, ", "))
	out.line("lost", "%s", cmp.Or(strings.Join(s.Without, " "), "no path"))
	out.line("left", "%s", cmp.Or(strings.Join(s.Left, " "), "no path: all paths down"))
	if s.Access != "" {
		moves := ""
		if s.Moves {
			moves = ", once the target has made it active"
		}
		out.line("group", "%s, %s%s", s.Access, s.Health, moves)
	}
	unit := s.CapacityUnit
	out.line("capacity", "%s of %s (%s), now %s", capacityNumber(s.CapacityThen, unit), capacity(s.CapacityNominal, unit),
		percentage(s.CapacityThen, s.CapacityNominal), capacityNumber(s.CapacityNow, unit))
	for _, d := range s.Disks {
		if d.LosesAllPaths {
			out.line("disk", "%s loses all paths, %s", d.Disk, whatRequestsDo(d.AllPathsDown))
		}
	}
	if err := out.print(w); err != nil {
		return err
	}
	if len(s.VMs) == 0 {
		return nil
	}
	if !s.Known {
		fmt.Fprintln(w, "  What the device can do is not known yet: VMs have no numbers.")
	}
	return printTable(w, s.VMs, simulatedColumns(), false)
}

func simulatedColumns() []column[control.SimulatedVM] {
	type V = control.SimulatedVM
	reserved := func(v V, cu float64) string {
		if v.ReservedCU == 0 {
			return ""
		}
		return wholeCU(cu)
	}
	return []column[V]{
		{name: "  VM", value: func(v V) string { return "  " + v.VM }},
		{name: "USED", value: func(v V) string { return wholeCU(v.UsedCU) }, right: true},
		{name: "ENTITLED", value: func(v V) string { return wholeCU(v.EntitledCU) }, right: true},
		{name: "THEN", value: func(v V) string { return wholeCU(v.EntitledThenCU) }, right: true},
		{name: "RESERVED", value: func(v V) string { return reserved(v, v.ReservedCU) }, right: true},
		{name: "THEN", value: func(v V) string { return reserved(v, v.ReservedThenCU) }, right: true},
		{name: "IF-ALL-CLAIMED", value: func(v V) string { return reserved(v, v.ReservedClaimedCU) }, right: true},
		{name: "VERDICT", value: verdict},
	}
}

// verdict is the worst that would happen to a VM.
func verdict(v control.SimulatedVM) string {
	switch {
	case v.BelowReservation:
		return "below its reservation"
	case v.BelowIfClaimed:
		return "below its reservation if all claimed"
	case v.BelowEntitlement:
		return "gets less than now"
	}
	return "as now"
}

func wholeCU(cu float64) string { return fmt.Sprintf("%.0f", cu) }

// capacity shows a capacity in its unit.
func capacity(n uint64, unit string) string {
	if unit == bytesPerSecond {
		return capacityNumber(n, unit)
	}
	return strings.TrimSpace(capacityNumber(n, unit) + " " + unit)
}

// capacityNumber leaves a unit out that another number beside it has.
func capacityNumber(n uint64, unit string) string {
	if unit == bytesPerSecond {
		return humanBytes(n) + "/s"
	}
	return strconv.FormatUint(n, 10)
}

// bytesPerSecond is the unit of capacities where bandwidths are configured.
const bytesPerSecond = "bytes/s"

func percentage(part, whole uint64) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", 100*float64(part)/float64(whole))
}

// whatRequestsDo tells what requests do without a path.
func whatRequestsDo(rule string) string {
	switch rule {
	case "queue":
		return "requests wait"
	case "fail":
		return "requests fail"
	case "":
		return "requests wait for the device's time"
	}
	return "requests wait for " + rule
}

// optionalArg allows one argument.
func optionalArg(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return fmt.Errorf("unexpected argument %q", args[1])
	}
	return nil
}
