// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// newPathFailCmd makes "pathgate path fail".
func newPathFailCmd(to *target) *cobra.Command {
	var hold, force bool
	cmd := newPathSetCmd(to, "failed", func(ctx context.Context, c *control.Client, name string) (control.Path, error) {
		return c.FailPath(ctx, name, hold, force)
	})
	cmd.Use, cmd.Short = "fail NAME", "Take a path down as a fault would"
	cmd.Long = `Take a path down as a fault of it would: its session and the other paths there are
left alone, and what is in flight goes out on other paths at once. It comes back by
itself, after it has been tested and has been stable for the failback delay, or, with
--hold, when it is reinstated. Not kept over a restart; see "pathgate path disable".
The last usable path of a device is refused without --force, since its I/O would
wait.`
	cmd.Flags().BoolVar(&hold, "hold", false, "until it is reinstated")
	cmd.Flags().BoolVar(&force, "force", false, "even if it is the last usable path of its device")
	return cmd
}

// newPathReinstateCmd makes "pathgate path reinstate".
func newPathReinstateCmd(to *target) *cobra.Command {
	var wait time.Duration
	cmd := newPathSetCmd(to, "reinstated", func(ctx context.Context, c *control.Client, name string) (control.Path, error) {
		if wait < 0 {
			return control.Path{}, usageError{fmt.Errorf("--wait %v is less than 0", wait)}
		}
		p, err := c.ReinstatePath(ctx, name)
		if err != nil || wait == 0 {
			return p, err
		}
		if p, err = proved(ctx, c, p, wait); err != nil || p.Health == control.HealthUp {
			return p, err
		}
		why := p.Reason
		if p.Proving {
			why = "it has not answered yet"
		}
		return p, fmt.Errorf("path %s: not reinstated after %v, health %s: %s", p.Name, wait, p.Health, why)
	})
	cmd.Use, cmd.Short = "reinstate NAME", "Test a path now and use it at once"
	cmd.Long = `Test a path now, logging in first if it has no session, and use it at once when the
test succeeds: probation after a failure ends, its failures are forgotten, and a path
that was failed with --hold is let go. A disabled path has to be enabled.`
	cmd.Flags().DurationVar(&wait, "wait", 10*time.Second, "for the outcome; 0: do not wait")
	return cmd
}

// proved waits until the proof of p is over.
func proved(ctx context.Context, c *control.Client, p control.Path, wait time.Duration) (control.Path, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(wait); p.Proving && time.Now().Before(end); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return p, ctx.Err()
		}
		now, err := c.Path(ctx, p.Name)
		if err != nil {
			return p, err
		}
		p = now
	}
	return p, nil
}
