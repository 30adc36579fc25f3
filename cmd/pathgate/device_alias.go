// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// newDeviceAliasCmd makes "pathgate device alias".
func newDeviceAliasCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "alias DEVICE ALIAS",
		Short: "Give a device a further name",
		Long: `Give a device a further name, kept over restarts. It stands for the identity of the
LUN, whatever path leads there, and can be used wherever a device is named, also as
"lun:" of a disk. A name that stands for another device is refused: remove it first.`,
		Args: twoArgs("DEVICE", "ALIAS"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetAlias(cmd.Context(), args[0], args[1]); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "device %s: alias %s added\n", printable(args[0]), printable(args[1]))
		return err
	}
	return cmd
}

// newDeviceUnaliasCmd makes "pathgate device unalias".
func newDeviceUnaliasCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unalias ALIAS",
		Short: "Take a further name of a device away",
		Long: `Take a name away that "device alias" has given. One that a disk of the configuration
is made of is refused.`,
		Args: oneArg("ALIAS"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.RemoveAlias(cmd.Context(), args[0]); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "alias %s: removed\n", printable(args[0]))
		return err
	}
	return cmd
}
