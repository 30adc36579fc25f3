// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// newPathListCmd makes "pathgate path list".
func newPathListCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List all paths",
		Args:    noArgs,
	}
	out := newFormat(cmd, true)
	masked := cmd.Flags().Bool("all", false, "those too that claim rules mask")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		paths, err := c.Paths(cmd.Context())
		if err != nil {
			return err
		}
		if *masked {
			more, err := c.MaskedPaths(cmd.Context())
			if err != nil {
				return err
			}
			paths = append(paths, more...)
		}
		return printList(cmd.OutOrStdout(), out, paths, pathColumns(time.Now()))
	}
	return cmd
}

func pathColumns(now time.Time) []column[control.Path] {
	type P = control.Path
	return []column[P]{
		{name: "PATH", value: func(p P) string { return p.Name }},
		{name: "HEALTH", value: func(p P) string { return p.Health }},
		{name: "ACCESS", value: func(p P) string { return p.Access }},
		{name: "GROUP", value: pathGroup},
		{name: "PRIO", value: func(p P) string { return strconv.Itoa(p.Priority) }, right: true, wide: true},
		{name: "USED", value: func(p P) string { return yesNo(p.Used) }},
		{name: "DEVICE", value: func(p P) string { return p.Device }},
		{name: "PORTAL", value: func(p P) string { return p.Portal }},
		{name: "TARGET", value: func(p P) string { return p.Target }, wide: true},
		{name: "SESSIONS", value: func(p P) string { return strconv.FormatUint(p.Generation, 10) }, right: true, wide: true},
		{name: "VMS", value: func(p P) string { return strings.Join(p.VMs, ",") }},
		{name: "INFLIGHT", value: func(p P) string { return strconv.Itoa(p.Inflight) }, right: true},
		{name: "READ", value: func(p P) string { return humanBytes(p.BytesRead) }, right: true, wide: true},
		{name: "WRITTEN", value: func(p P) string { return humanBytes(p.BytesWritten) }, right: true, wide: true},
		{name: "ERRORS", value: func(p P) string { return strconv.FormatUint(p.Errors, 10) }, right: true},
		{name: "GHOSTS", value: func(p P) string { return strconv.Itoa(p.Ghosts) }, right: true, wide: true},
		{name: "LATENCY", value: func(p P) string { return humanMicros(p.LatencyUs) }, right: true},
		{name: "SINCE", value: func(p P) string { return humanAge(now, p.Since) }, right: true},
		{name: "REASON", value: func(p P) string { return p.Reason }},
	}
}

// pathGroup is the path's port group, with a star if the target prefers it.
func pathGroup(p control.Path) string {
	if p.Preferred {
		return p.Group + "*"
	}
	return cmp.Or(p.Group, "-")
}
