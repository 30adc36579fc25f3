// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"
)

// newPathCmd makes "pathgate path".
func newPathCmd(to *target) *cobra.Command {
	return asGroup(&cobra.Command{
		Use:   "path",
		Short: "Show paths, take them out of use",
		Long: `A path is one route to a LUN, named adapter:target:LUN, such as vmhba0:0:2: the
session of one adapter with one portal of a target, and a LUN behind it.`,
	}, newPathListCmd(to), newPathShowCmd(to), newPathFailCmd(to), newPathReinstateCmd(to), newPathDisableCmd(to), newPathEnableCmd(to))
}
