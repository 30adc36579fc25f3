// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// newPathShowCmd makes "pathgate path show".
func newPathShowCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "show NAME",
		Short:             "Show everything about one path",
		Args:              oneArg("NAME"),
		ValidArgsFunction: completePaths(to),
	}
	out := newFormat(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		p, err := c.Path(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if out.isJSON() {
			return printJSON(cmd.OutOrStdout(), p, "  ")
		}
		return showPath(cmd.OutOrStdout(), &p, time.Now())
	}
	return cmd
}

// showPath prints a path and then its history. What there is nothing of is not shown.
func showPath(w io.Writer, p *control.Path, now time.Time) error {
	var s sheet
	s.title("path %s: %s%s", p.Name, p.Health, after(" for ", nonEmpty(humanAge(now, p.Since))...))
	for _, l := range [][2]string{
		{"device", p.Device},
		{"adapter", p.Adapter},
		{"target", p.Target},
		{"portal", p.Portal},
		{"lun", strconv.Itoa(int(p.LUN))},
		{"access", p.Access},
		{"group", p.Group},
		{"used", yesNo(p.Used)},
		{"by", strings.Join(p.VMs, ", ")},
		{"held", map[bool]string{true: "until it is reinstated"}[p.Held]},
		{"tested", map[bool]string{true: "now"}[p.Proving]},
		{"cause", p.Cause},
		{"reason", p.Reason},
		{"sessions", strconv.FormatUint(p.Generation, 10)},
		{"in flight", requests(uint64(p.Inflight), p.PendingBytes)},
		{"reads", requests(p.Reads, p.BytesRead)},
		{"writes", requests(p.Writes, p.BytesWritten)},
		{"errors", strconv.FormatUint(p.Errors, 10)},
		{"latency", humanMicros(p.LatencyUs)},
		{"ghosts", strconv.Itoa(p.Ghosts)},
		{"fencing", p.Fencing},
	} {
		if l[1] != "" {
			s.line(l[0], "%s", l[1])
		}
	}
	if err := s.print(w); err != nil {
		return err
	}
	list := make([]control.DeviceChange, len(p.History))
	for i, c := range p.History {
		list[i].PathChange = c
	}
	return printChanges(w, list)
}

// requests gives a number of requests and their bytes, "12, 48KiB".
func requests(n, bytes uint64) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("%d, %s", n, humanBytes(bytes))
}

// nonEmpty is a list of s, or of nothing.
func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}
