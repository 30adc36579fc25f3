// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// newVersionCmd makes "pathgate version".
func newVersionCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the version of this program",
		Args:  noArgs,
	}
	out := newFormat(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v := control.BuildVersion()
		if out.isJSON() {
			return printJSON(cmd.OutOrStdout(), v, "  ")
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), v)
		return err
	}
	return cmd
}
