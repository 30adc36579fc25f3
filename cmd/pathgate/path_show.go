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

// showPath prints a path, one line for each field, and then its history.
func showPath(w io.Writer, p *control.Path, now time.Time) error {
	var lines fields
	lines.add("path", p.Name)
	lines.add("device", p.Device)
	lines.add("adapter", p.Adapter)
	lines.add("target", p.Target)
	lines.add("portal", p.Portal)
	lines.add("lun", strconv.Itoa(int(p.LUN)))
	lines.add("health", p.Health+" for "+orDash(humanAge(now, p.Since)))
	lines.add("access", p.Access)
	lines.add("used", yesNo(p.Used))
	if p.Held {
		lines.add("held", "until it is reinstated")
	}
	if p.Proving {
		lines.add("proving", "now")
	}
	lines.add("cause", p.Cause)
	lines.add("group", p.Group)
	lines.add("vms", strings.Join(p.VMs, ", "))
	lines.add("reason", p.Reason)
	lines.add("sessions", strconv.FormatUint(p.Generation, 10))
	lines.add("in flight", fmt.Sprintf("%d, %s", p.Inflight, humanBytes(p.PendingBytes)))
	lines.add("reads", fmt.Sprintf("%d, %s", p.Reads, humanBytes(p.BytesRead)))
	lines.add("writes", fmt.Sprintf("%d, %s", p.Writes, humanBytes(p.BytesWritten)))
	lines.add("errors", strconv.FormatUint(p.Errors, 10))
	lines.add("latency", humanMicros(p.LatencyUs))
	lines.add("ghosts", strconv.Itoa(p.Ghosts))
	lines.add("fencing", p.Fencing)
	if err := lines.print(w); err != nil {
		return err
	}
	if len(p.History) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(w, "\nlast changes:"); err != nil {
		return err
	}
	return printTable(w, p.History, []column[control.PathChange]{
		{name: "TIME", value: func(c control.PathChange) string { return c.Time.Format(time.RFC3339Nano) }},
		{name: "HEALTH", value: func(c control.PathChange) string { return c.Health }},
		{name: "ACCESS", value: func(c control.PathChange) string { return c.Access }},
		{name: "REASON", value: func(c control.PathChange) string { return c.Reason }},
	}, false)
}

// fields is what is shown of one object, name by value.
type fields [][2]string

// add takes a field; an empty one is not shown.
func (f *fields) add(name, value string) {
	if value != "" {
		*f = append(*f, [2]string{name, value})
	}
}

// print writes one line for each.
func (f fields) print(w io.Writer) error {
	width := 0
	for _, l := range f {
		width = max(width, len(l[0]))
	}
	for _, l := range f {
		if _, err := fmt.Fprintf(w, "%-*s  %s\n", width+1, l[0]+":", printable(l[1])); err != nil {
			return err
		}
	}
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
