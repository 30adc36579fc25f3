// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// newEventsCmd makes "pathgate events".
func newEventsCmd(to *target) *cobra.Command {
	var from, newest uint64
	var follow bool
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what has happened, and what happens",
		Long: `Show the events that the gateway has kept, oldest first. With --follow go on with
new ones until a signal comes; when the gateway is restarted, so is the stream,
without a gap as far as events were kept. With -o json a followed stream has one
object on each line.`,
		Args: noArgs,
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with new events")
	cmd.Flags().Uint64Var(&from, "from", 0, "begin with event `number`; 0: the oldest kept")
	cmd.Flags().Uint64VarP(&newest, "newest", "n", 0, "begin with the `count` newest events only")
	cmd.MarkFlagsMutuallyExclusive("from", "newest")
	out := newFormat(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		q := control.EventQuery{From: from}
		if cmd.Flags().Changed("newest") {
			q.Newest = &newest
		}
		if follow {
			return followEvents(cmd, c, q, out)
		}
		list, err := c.Events(cmd.Context(), q)
		if err != nil {
			return err
		}
		if out.isJSON() {
			return printList(cmd.OutOrStdout(), out, list, nil)
		}
		return printEvents(cmd.OutOrStdout(), list)
	}
	return cmd
}

// followEvents prints events until a signal comes. Each is written at once.
func followEvents(cmd *cobra.Command, c *control.Client, q control.EventQuery, out *format) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the next signal is not caught
	w, stderr := cmd.OutOrStdout(), cmd.ErrOrStderr()
	o := control.FollowOptions{
		Lost: func(err error) {
			fmt.Fprintf(stderr, "pathgate: %s; trying again\n", printable(err.Error()))
		},
		Restored: func(restarted bool) {
			what := "connected again"
			if restarted {
				what += "; the gateway was restarted"
			}
			fmt.Fprintln(stderr, "pathgate: "+what)
		},
	}
	if !out.isJSON() {
		if _, err := fmt.Fprintln(w, eventHeader); err != nil {
			return err
		}
	}
	for e, err := range c.Follow(ctx, q, o) {
		if err != nil {
			return err
		}
		if out.isJSON() {
			err = printJSON(w, e, "")
		} else {
			err = printEvent(w, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func printEvents(w io.Writer, list []control.Event) error {
	if _, err := fmt.Fprintln(w, eventHeader); err != nil {
		return err
	}
	for _, e := range list {
		if err := printEvent(w, e); err != nil {
			return err
		}
	}
	return nil
}

// The columns of events have fixed widths, since a stream cannot be measured first.
const (
	eventFormat = "%-24s  %-8s  %-19s  %s"
	eventTime   = "2006-01-02T15:04:05.000Z"
	eventHeader = "TIME                      SEVERITY  KIND                 EVENT"
)

func printEvent(w io.Writer, e control.Event) error {
	line := fmt.Sprintf(eventFormat, e.Time.UTC().Format(eventTime), e.Severity, e.Kind, eventText(e))
	_, err := fmt.Fprintln(w, strings.TrimRight(printable(line), " "))
	return err
}

// eventText gives what it is about, the message and the details:
// "path vmhba0:0:1: connection reset (errno=104)".
func eventText(e control.Event) string {
	var about []string
	for _, f := range []struct{ kind, name string }{
		{"vm", e.VM}, {"disk", e.Disk}, {"device", e.Device}, {"path", e.Path}, {"session", e.Session},
	} {
		if f.name != "" {
			about = append(about, f.kind+" "+f.name)
		}
	}
	text := strings.Join(about, ", ")
	if text != "" && e.Message != "" {
		text += ": "
	}
	text += e.Message
	if len(e.Attrs) == 0 {
		return text
	}
	var attrs []string
	for _, a := range e.Attrs {
		attrs = append(attrs, a.Key+"="+a.Value)
	}
	return text + " (" + strings.Join(attrs, ", ") + ")"
}
