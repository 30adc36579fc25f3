// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// rescanned is what "pathgate rescan --wait -o json" prints.
type rescanned struct {
	control.Rescan
	// Found are the paths that were not there before, Answered tells whether all
	// sessions have answered.
	Found    []string `json:"found"`
	Answered bool     `json:"answered"`
}

// newRescanCmd makes "pathgate rescan".
func newRescanCmd(to *target) *cobra.Command {
	var adapter string
	var wait bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "rescan",
		Short: "Look for targets and LUNs again",
		Long: `Ask every portal for its targets and every session for its LUNs again, which
happens anyway from time to time and when a target tells of a change. With --wait the
command ends when all sessions that are up have answered, and tells what was found.`,
		Args: noArgs,
	}
	out := newFormat(cmd, false)
	cmd.Flags().StringVar(&adapter, "adapter", "", "only the sessions of the adapter of this `NAME`")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until all sessions have answered")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "with --wait: for so long at most")
	if err := cmd.RegisterFlagCompletionFunc("adapter", completeAdapters(to)); err != nil {
		panic(err) // the flag was made above
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		ctx := cmd.Context()
		before, err := c.Paths(ctx)
		if err != nil {
			return err
		}
		run, err := c.StartRescan(ctx, adapter)
		if err != nil {
			return err
		}
		res := rescanned{Rescan: run, Found: []string{}, Answered: len(run.Waiting) == 0}
		if wait {
			if err := res.wait(ctx, c, before, timeout); err != nil {
				return err
			}
		}
		if out.isJSON() {
			return printJSON(cmd.OutOrStdout(), res, "  ")
		}
		text := fmt.Sprintf("%d sessions are asked\n", res.Sessions)
		if wait {
			text = fmt.Sprintf("%d sessions have answered, %d new paths\n", res.Sessions, len(res.Found))
			for _, name := range res.Found {
				text += "  " + printable(name) + "\n"
			}
		}
		_, err = fmt.Fprint(cmd.OutOrStdout(), text)
		return err
	}
	return cmd
}

// wait waits for the sessions, and finds out what is new.
func (r *rescanned) wait(ctx context.Context, c *control.Client, before []control.Path, timeout time.Duration) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(timeout); !r.Answered; {
		if time.Now().After(end) {
			return fmt.Errorf("rescan: no answer within %v over %s", timeout, strings.Join(r.Waiting, ", "))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		now, err := c.Rescan(ctx)
		if err != nil {
			return err
		}
		r.Rescan, r.Answered = now, len(now.Waiting) == 0
	}
	after, err := c.Paths(ctx)
	if err != nil {
		return err
	}
	for _, p := range after {
		same := func(o control.Path) bool { return o.Name == p.Name }
		if !slices.ContainsFunc(before, same) {
			r.Found = append(r.Found, p.Name)
		}
	}
	return nil
}

// completeAdapters offers the adapters that have paths to a shell.
func completeAdapters(to *target) cobra.CompletionFunc {
	return completePathNames(to, func(p control.Path) []string { return []string{p.Adapter} })
}

// completePathNames offers names that paths have.
func completePathNames(to *target, names func(control.Path) []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
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
		var list []cobra.Completion
		for _, p := range paths {
			for _, n := range names(p) {
				if !slices.Contains(list, printable(n)) {
					list = append(list, printable(n))
				}
			}
		}
		return list, cobra.ShellCompDirectiveNoFileComp
	}
}
