// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// newDeviceCmd makes "pathgate device".
func newDeviceCmd(to *target) *cobra.Command {
	return asGroup(&cobra.Command{
		Use:   "device",
		Short: "Show devices, set how their paths are selected",
		Long:  `A device is one LUN over all its paths. It is named as its first path.`,
	}, newDeviceListCmd(to), newDeviceShowCmd(to), newDeviceSetCmd(to), newDeviceResetCmd(to), newDeviceTopologyCmd(to), newDeviceSimulateCmd(to),
		newDeviceAliasCmd(to), newDeviceUnaliasCmd(to), newDeviceSwitchGroupCmd(to),
		newDeviceSuspendCmd(to), newDeviceResumeCmd(to), newDeviceQueueingCmd(to))
}

// newDeviceListCmd makes "pathgate device list".
func newDeviceListCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List all devices",
		Args:    noArgs,
	}
	out := newFormat(cmd, true)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		devices, err := c.Devices(cmd.Context())
		if err != nil {
			return err
		}
		return printList(cmd.OutOrStdout(), out, devices, deviceColumns(time.Now()))
	}
	return cmd
}

func deviceColumns(now time.Time) []column[control.Device] {
	type D = control.Device
	return []column[D]{
		{name: "DEVICE", value: func(d D) string { return d.Name }},
		{name: "ALIAS", value: func(d D) string { return strings.Join(d.Aliases, ",") }},
		{name: "STATE", value: deviceState},
		{name: "SIZE", value: func(d D) string { return humanBytes(d.Size) }, right: true},
		{name: "BLOCK", value: func(d D) string { return strconv.FormatUint(uint64(d.BlockSize), 10) }, right: true, wide: true},
		{name: "PATHS", value: func(d D) string { return fmt.Sprintf("%d/%d", d.PathsUp, d.PathsTotal) }, right: true},
		{name: "SELECTOR", value: func(d D) string { return d.Selector }},
		{name: "CACHE", value: func(d D) string { return d.Cache }, wide: true},
		{name: "ALL-PATHS-DOWN", value: withoutPath, wide: true},
		{name: "DOWN", value: func(d D) string { return humanAge(now, d.DownSince) }, right: true},
		{name: "INFLIGHT", value: func(d D) string { return strconv.Itoa(d.Inflight) }, right: true},
		{name: "QUEUED", value: func(d D) string { return strconv.Itoa(d.Queued) }, right: true},
		{name: "GHOSTS", value: func(d D) string { return strconv.Itoa(len(d.Ghosts)) }, right: true},
		{name: "USED-BY", value: func(d D) string { return strings.Join(d.UsedBy, ",") }},
		{name: "VENDOR", value: func(d D) string { return d.Vendor }, wide: true},
		{name: "PRODUCT", value: func(d D) string { return d.Product }, wide: true},
		{name: "IDENTITY", value: func(d D) string { return identity(d) }},
		{name: "REASON", value: func(d D) string { return d.Reason }},
	}
}

func identity(d control.Device) string {
	if d.Weak {
		return d.Identity + " (weak)"
	}
	return d.Identity
}
