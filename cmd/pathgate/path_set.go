// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// newPathDisableCmd makes "pathgate path disable".
func newPathDisableCmd(to *target) *cobra.Command {
	var force bool
	cmd := newPathSetCmd(to, "disabled", func(ctx context.Context, c *control.Client, name string) (control.Path, error) {
		return c.DisablePath(ctx, name, force)
	})
	cmd.Use, cmd.Short = "disable NAME", "Take a path out of use"
	cmd.Long = `Take a path out of use, also over restarts, until it is enabled again. What is in
flight on it ends by itself; new requests take the other paths. The last usable
path of a device is refused without --force, since its I/O would wait.`
	cmd.Flags().BoolVar(&force, "force", false, "even if it is the last usable path of its device")
	return cmd
}

// newPathEnableCmd makes "pathgate path enable".
func newPathEnableCmd(to *target) *cobra.Command {
	cmd := newPathSetCmd(to, "enabled", func(ctx context.Context, c *control.Client, name string) (control.Path, error) {
		return c.EnablePath(ctx, name)
	})
	cmd.Use, cmd.Short = "enable NAME", "Let a path be used again"
	cmd.Long = `Let a path be used again. It is tested first, and carries I/O when the test has
succeeded; "pathgate path list" shows its health.`
	return cmd
}

// newPathSetCmd makes a command that changes one path; done is the word for it.
func newPathSetCmd(to *target, done string, change func(context.Context, *control.Client, string) (control.Path, error)) *cobra.Command {
	cmd := &cobra.Command{Args: oneArg("NAME"), ValidArgsFunction: completePaths(to)}
	out := newFormat(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		p, err := change(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		if out.isJSON() {
			return printJSON(cmd.OutOrStdout(), p, "  ")
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "path %s: %s, health %s\n", printable(p.Name), pathWord(&p, done), printable(p.Health))
		return err
	}
	return cmd
}

// completePaths offers the names of the paths to a shell.
func completePaths(to *target) cobra.CompletionFunc {
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
		paths, err := c.Paths(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []cobra.Completion
		for _, p := range paths {
			names = append(names, cobra.CompletionWithDesc(printable(p.Name), printable(p.Health)))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// pathWord is what was done to p, as far as it was.
func pathWord(p *control.Path, done string) string {
	switch {
	case p.Held:
		return done + " and held until it is reinstated"
	case p.Proving:
		return "is being tested"
	}
	return done
}
