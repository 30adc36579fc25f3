// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// newDeviceSuspendCmd makes "pathgate device suspend".
func newDeviceSuspendCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "suspend DEVICE",
		Short: "Send no requests to a device, until it is resumed",
		Long: `Send no more requests to a device, reads neither, until it is resumed: what comes waits,
and no time of it runs out. The command ends when nothing is in flight any more, and no
old write of a lost path can still run. If that takes longer than --wait, it fails, and
the device goes on as before. A restart of the gateway ends a suspension.`,
		Args:              oneArg("DEVICE"),
		ValidArgsFunction: completeDevices(to),
	}
	wait := cmd.Flags().Duration("wait", control.DefaultSuspendWait, "how long what is in flight may take, 1ms to 10m")
	out := newFormat(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *wait < control.MinSuspendWait || *wait > control.MaxSuspendWait {
			return usageError{fmt.Errorf("--wait %v is not a time from 1ms to 10m", *wait)}
		}
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		d, err := c.SuspendDevice(cmd.Context(), args[0], *wait)
		if err != nil {
			return err
		}
		return printOrders(cmd.OutOrStdout(), out, d)
	}
	return cmd
}

// newDeviceResumeCmd makes "pathgate device resume".
func newDeviceResumeCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resume DEVICE",
		Short: "Have a suspended device go on",
		Long: `Have a suspended device go on. What has waited is sent in the order of its coming.
Nothing happens to a device that is not suspended.`,
		Args:              oneArg("DEVICE"),
		ValidArgsFunction: completeDevices(to),
	}
	out := newFormat(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		d, err := c.ResumeDevice(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return printOrders(cmd.OutOrStdout(), out, d)
	}
	return cmd
}

// newDeviceQueueingCmd makes "pathgate device queueing".
func newDeviceQueueingCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "queueing DEVICE on|off|default",
		Short: "Change what requests do without a path",
		Long: `Change what the requests of a device do while it has no path: "on", they wait without
end; "off", those that wait and those that come fail at once; "default", as configured.
It wins over the configuration of the LUN and of the disks, until the gateway ends.`,
		Args:              twoArgs("DEVICE", "QUEUEING"),
		ValidArgsFunction: completeDevices(to),
	}
	out := newFormat(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(control.Queueings(), args[1]) {
			return usageError{fmt.Errorf("QUEUEING %q is not one of %s", args[1], strings.Join(control.Queueings(), ", "))}
		}
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		d, err := c.SetQueueing(cmd.Context(), args[0], args[1])
		if err != nil {
			return err
		}
		return printOrders(cmd.OutOrStdout(), out, d)
	}
	return cmd
}

// printOrders prints what was ordered for d.
func printOrders(w io.Writer, out *format, d control.Device) error {
	if out.isJSON() {
		return printJSON(w, d, "  ")
	}
	_, err := fmt.Fprintf(w, "device %s: %s; without a path %s\n", printable(d.Name), deviceState(d), withoutPath(d))
	return err
}

// deviceState is the state of d, and whether it is suspended.
func deviceState(d control.Device) string {
	if d.Suspended {
		return d.State + ",suspended"
	}
	return d.State
}

// withoutPath is what the requests of d do while it has no path.
func withoutPath(d control.Device) string {
	switch d.Queueing {
	case "on":
		return "queue, set at run time"
	case "off":
		return "fail, set at run time"
	}
	return d.AllPathsDown
}
