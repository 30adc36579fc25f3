// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// newShareCmd makes "pathgate share".
func newShareCmd(to *target) *cobra.Command {
	return asGroup(&cobra.Command{
		Use:   "share",
		Short: "Show and set who gets what of the LUNs",
		Long: `Every LUN is divided among the VMs that use it: by the shares of their disks there,
within limits, after reservations, and by priorities while paths are lost. What is
set here acts at once and is kept over restarts; "reset" goes back to the
configuration. See also: pathgate explain`,
	}, newShareListCmd(to), newShareShowCmd(to), newShareSetCmd(to), newShareResetCmd(to), newShareLUNCmd(to), newShareGroupCmd(to))
}

// completeShares offers the names of the VMs and disks to a shell.
func completeShares(to *target) cobra.CompletionFunc {
	return completeNames(to, func(ctx context.Context, c *control.Client) ([]string, error) {
		vms, err := c.VMs(ctx)
		var names []string
		for _, v := range vms {
			names = append(append(names, v.Name), v.Disks...)
		}
		return names, err
	})
}

// completeShareLUNs offers the names of the LUNs.
func completeShareLUNs(to *target) cobra.CompletionFunc {
	return completeNames(to, func(ctx context.Context, c *control.Client) ([]string, error) {
		luns, err := c.ShareLUNs(ctx)
		var names []string
		for _, l := range luns {
			names = append(names, l.Name)
		}
		return names, err
	})
}

// completeNames offers names that the gateway gives, for the first argument.
func completeNames(to *target, ask func(context.Context, *control.Client) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c, err := to.dial()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(cmd.Context(), time.Second)
		defer cancel()
		names, err := ask(ctx, c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		for i, n := range names {
			names[i] = printable(n)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// isDisk tells the name of a disk, "vm1/root", from that of a VM.
func isDisk(name string) bool { return strings.Contains(name, "/") }
