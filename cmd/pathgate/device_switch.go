// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// newDeviceSwitchGroupCmd makes "pathgate device switch-group".
func newDeviceSwitchGroupCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "switch-group NAME GROUP",
		Short: "Use another target port group",
		Long: `Use another target port group of a device, by its number in "pathgate path list". The
target is asked to make it active/optimized where it can be (explicit ALUA). It stays
in use until no path of it is left, or until the failback rule of the device goes back
to a better group.`,
		Args: twoArgs("NAME", "GROUP"),
	}
	out := newFormat(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		group, err := strconv.ParseUint(args[1], 10, 16)
		if err != nil {
			return usageError{fmt.Errorf("GROUP %q is not a number from 0 to 65535", args[1])}
		}
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		d, err := c.SwitchGroup(cmd.Context(), args[0], uint16(group))
		if err != nil {
			return err
		}
		if out.isJSON() {
			return printJSON(cmd.OutOrStdout(), d, "  ")
		}
		var used []string
		for _, g := range d.Groups {
			if g.Used {
				used = append(used, fmt.Sprintf("%d (%s)", g.ID, printable(g.Access)))
			}
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "device %s: uses group %s\n", printable(d.Name), strings.Join(used, ", "))
		return err
	}
	return cmd
}
