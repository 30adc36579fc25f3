// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// newVMCmd makes "pathgate vm".
func newVMCmd(to *target) *cobra.Command {
	return asGroup(&cobra.Command{Use: "vm", Short: "Show VMs"}, newVMListCmd(to))
}

// newVMListCmd makes "pathgate vm list".
func newVMListCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List all VMs with the traffic of their disks",
		Args:    noArgs,
	}
	out := newFormat(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		vms, err := c.VMs(cmd.Context())
		if err != nil {
			return err
		}
		return printList(cmd.OutOrStdout(), out, vms, vmColumns())
	}
	return cmd
}

func vmColumns() []column[control.VM] {
	type V = control.VM
	return []column[V]{
		{name: "VM", value: func(v V) string { return v.Name }},
		{name: "PRIORITY", value: func(v V) string { return strconv.Itoa(int(v.Priority)) }, right: true},
		{name: "READS", value: func(v V) string { return strconv.FormatUint(v.Reads, 10) }, right: true},
		{name: "WRITES", value: func(v V) string { return strconv.FormatUint(v.Writes, 10) }, right: true},
		{name: "READ", value: func(v V) string { return humanBytes(v.BytesRead) }, right: true},
		{name: "WRITTEN", value: func(v V) string { return humanBytes(v.BytesWritten) }, right: true},
		{name: "INFLIGHT", value: func(v V) string { return strconv.FormatInt(v.Inflight, 10) }, right: true},
		{name: "ERRORS", value: func(v V) string { return strconv.FormatUint(v.Errors, 10) }, right: true},
		{name: "HELD", value: func(v V) string { return counts(v.Held) }},
		{name: "DISKS", value: func(v V) string { return strings.Join(v.Disks, ",") }},
	}
}
