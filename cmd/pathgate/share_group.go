// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// newShareGroupCmd makes "pathgate share group".
func newShareGroupCmd(to *target) *cobra.Command {
	return asGroup(&cobra.Command{
		Use:   "group",
		Short: "Show and set what groups of disks get together",
		Long: `A group has shares and limits of its own, on each LUN by itself; its members divide
what it gets. Groups are made in the configuration, and "pathgate share set --group"
moves disks between them.`,
	}, newShareGroupListCmd(to), newShareGroupSetCmd(to), newShareGroupResetCmd(to))
}

func newShareGroupListCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List all groups with their members",
		Args:    noArgs,
	}
	out := newFormat(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		groups, err := c.GroupShares(cmd.Context())
		if err != nil {
			return err
		}
		return printList(cmd.OutOrStdout(), out, groups, shareGroupColumns())
	}
	return cmd
}

func shareGroupColumns() []column[control.GroupShare] {
	type G = control.GroupShare
	return []column[G]{
		{name: "GROUP", value: func(g G) string { return g.Name }},
		{name: "SHARES", value: groupShares, right: true},
		{name: "LIMIT", value: func(g G) string {
			return limits(control.ShareSettings{Limit: g.Limit, LimitRead: g.LimitRead, LimitWrite: g.LimitWrite})
		}, right: true},
		{name: "DISKS", value: func(g G) string { return strings.Join(g.Disks, ",") }},
	}
}

func groupShares(g control.GroupShare) string {
	if g.Shares == 0 {
		return "sum"
	}
	return strconv.FormatUint(uint64(g.Shares), 10)
}

func newShareGroupSetCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set GROUP",
		Short: "Set the shares and limits of a group",
		Long: `Set what a group gets on each LUN. What is not named stays; "none" or 0 takes a limit
away, and 0 shares are the sum of its members'. The command ends when the change is in
force and will be kept over a restart.`,
		Example:           `  pathgate share group set databases --shares 3000 --limit-iops 5000`,
		Args:              oneArg("GROUP"),
		ValidArgsFunction: completeShareGroups(to),
	}
	out := newFormat(cmd, false)
	var change control.GroupShareChange
	var limits limitKnobs
	f := knobs{cmd}
	f.shares(&change.Shares)
	limits.flags(f)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		l := limits.change()
		change.Limit, change.LimitRead, change.LimitWrite = l[0], l[1], l[2]
		if change == (control.GroupShareChange{}) {
			return usageError{fmt.Errorf("%s: nothing is to be set", args[0])}
		}
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		g, err := c.SetGroupShare(cmd.Context(), args[0], change)
		if err != nil {
			return err
		}
		return printShareGroup(cmd.OutOrStdout(), out, g)
	}
	return cmd
}

func newShareGroupResetCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "reset GROUP",
		Short:             "Go back to what the configuration says of a group",
		Args:              oneArg("GROUP"),
		ValidArgsFunction: completeShareGroups(to),
	}
	out := newFormat(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		g, err := c.ResetGroupShare(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return printShareGroup(cmd.OutOrStdout(), out, g)
	}
	return cmd
}

func printShareGroup(w io.Writer, out *format, g control.GroupShare) error {
	if out.isJSON() {
		return printJSON(w, g, "  ")
	}
	var s sheet
	s.title("group %s: shares %s%s%s", g.Name, groupShares(g),
		prefixed(", ", limitTexts(g.Limit, g.LimitRead, g.LimitWrite)), overriddenText(g.Overridden))
	return s.print(w)
}

// completeShareGroups offers the names of the groups.
func completeShareGroups(to *target) cobra.CompletionFunc {
	return completeNames(to, func(ctx context.Context, c *control.Client) ([]string, error) {
		groups, err := c.GroupShares(ctx)
		var names []string
		for _, g := range groups {
			names = append(names, g.Name)
		}
		return names, err
	})
}
