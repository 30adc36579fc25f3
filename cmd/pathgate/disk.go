// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// newDiskCmd makes "pathgate disk".
func newDiskCmd(to *target) *cobra.Command {
	return asGroup(&cobra.Command{
		Use:   "disk",
		Short: "Show virtual disks, take one from its clients, make one grow",
		Long:  `A disk is what a VM sees: parts of LUNs, or a file. VM/DISK is its export name.`,
	}, newDiskListCmd(to), newDiskReleaseCmd(to), newDiskResizeCmd(to))
}

// newDiskListCmd makes "pathgate disk list".
func newDiskListCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List all disks, and why one is not available",
		Long: `List all disks, and why one is not available. -o wide adds who uses a disk: the client
that owns it, over both front-ends, or, of a shared disk, all clients.`,
		Args: noArgs,
	}
	out := newFormat(cmd, true)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		disks, err := c.Disks(cmd.Context())
		if err != nil {
			return err
		}
		return printList(cmd.OutOrStdout(), out, disks, diskColumns())
	}
	return cmd
}

func diskColumns() []column[control.Disk] {
	type D = control.Disk
	return []column[D]{
		{name: "DISK", value: func(d D) string { return d.Name }},
		{name: "AVAILABLE", value: func(d D) string { return yesNo(d.Available) }},
		{name: "SIZE", value: func(d D) string { return humanBytes(d.Size) }, right: true},
		{name: "MODE", value: mode},
		{name: "LUN", value: diskLUN, right: true},
		{name: "PATHS", value: diskPaths, right: true},
		{name: "CLIENTS", value: func(d D) string { return strconv.Itoa(d.Connections) }, right: true},
		{name: "OWNER", value: func(d D) string { return d.Owner }, wide: true},
		{name: "INFLIGHT", value: func(d D) string { return strconv.Itoa(d.Outstanding) }, right: true},
		{name: "ON", value: backing},
		{name: "WHY", value: func(d D) string { return d.Why }},
	}
}

func mode(d control.Disk) string {
	if d.ReadOnly {
		return "ro"
	}
	return "rw"
}

func diskLUN(d control.Disk) string {
	if d.LUN == nil {
		return ""
	}
	return strconv.Itoa(int(*d.LUN))
}

func diskPaths(d control.Disk) string {
	if d.PathsTotal == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", d.PathsUp, d.PathsTotal)
}

// backing gives the file, or the first extent and how many more there are.
func backing(d control.Disk) string {
	if len(d.Extents) == 0 {
		return d.File
	}
	s := d.Extents[0].LUN
	if n := len(d.Extents) - 1; n > 0 {
		s += fmt.Sprintf("+%d", n)
	}
	return s
}
