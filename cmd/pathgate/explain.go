// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// newExplainCmd makes "pathgate explain".
func newExplainCmd(to *target) *cobra.Command {
	var last int
	cmd := &cobra.Command{
		Use:   "explain [VM | VM/DISK | LUN]",
		Short: "Tell why requests of a VM, disk or LUN waited, or were sent",
		Long: `Show the last decisions about a VM, one of its disks, or a LUN, oldest first; without
a name those about all. Those of a LUN's scheduler tell the reason and the numbers
that made it: how far the VM is ahead of its turn, what it uses and is entitled to,
how full the window is, and who goes first. Those of the path manager tell what was
held back or sent again. "pathgate share show" tells why something waits now.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("unexpected argument %q", args[1])
			}
			return nil
		},
		ValidArgsFunction: completeShares(to),
	}
	out := newFormat(cmd, true)
	cmd.Flags().IntVarP(&last, "last", "n", 20, "how many decisions, `n`")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if last < 1 {
			return usageError{fmt.Errorf("--last %d: must be 1 or more", last)}
		}
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		list, err := c.Explain(cmd.Context(), cmp.Or(slices.Concat(args, []string{""})...), last)
		if err != nil {
			return err
		}
		return printList(cmd.OutOrStdout(), out, list, explainColumns())
	}
	return cmd
}

func explainColumns() []column[control.Explanation] {
	type E = control.Explanation
	scheduler := func(value func(E) string) func(E) string {
		return func(e E) string {
			if e.Source != control.ExplainScheduler {
				return ""
			}
			return value(e)
		}
	}
	return []column[E]{
		{name: "TIME", value: func(e E) string { return e.Time.UTC().Format(eventTime) }},
		{name: "VM", value: func(e E) string { return e.VM }},
		{name: "LUN", value: func(e E) string { return e.LUN }},
		{name: "VERDICT", value: func(e E) string { return e.Verdict }},
		{name: "BY", value: func(e E) string { return cmp.Or(e.Phase, e.Reason) }},
		{name: "LEAD", value: scheduler(func(e E) string { return strconv.FormatInt(e.LeadCU, 10) }), right: true, wide: true},
		{name: "USED%", value: scheduler(func(e E) string { return percent(e.UsedPercent) }), right: true, wide: true},
		{name: "ENTITLED%", value: scheduler(func(e E) string { return percent(e.EntitledPercent) }), right: true, wide: true},
		{name: "INFLIGHT", value: scheduler(func(e E) string { return strconv.FormatInt(e.InflightCU, 10) }), right: true, wide: true},
		{name: "DEPTH", value: scheduler(func(e E) string { return strconv.FormatInt(e.DepthCU, 10) }), right: true, wide: true},
		{name: "CAPACITY", value: scheduler(func(e E) string { return speed(float64(e.CapacityCU)) }), right: true, wide: true},
		{name: "AHEAD", value: func(e E) string { return e.Ahead }, wide: true},
		{name: "SETTINGS", value: scheduler(func(e E) string { return strconv.FormatUint(uint64(e.Version), 10) }), right: true, wide: true},
		{name: "EXPLANATION", value: func(e E) string { return e.Sentence() }},
	}
}
