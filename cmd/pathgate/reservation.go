// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// newReservationCmd makes "pathgate reservation".
func newReservationCmd(to *target) *cobra.Command {
	return asGroup(&cobra.Command{
		Use:   "reservation",
		Short: "Show who has reserved a LUN, take it over",
		Long: `With "reservation: {mode: exclusive-all-registrants}" in its rule, a LUN is reserved
for this gateway at the target, with a registration key for each path. A gateway that
finds somebody else's reservation reads only, until it is told to preempt.`,
	}, newReservationListCmd(to), newReservationShowCmd(to), newReservationPreemptCmd(to))
}

// newReservationListCmd makes "pathgate reservation list".
func newReservationListCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the reservations of all devices, as last seen",
		Args:    noArgs,
	}
	out := newFormat(cmd, true)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		list, err := c.Reservations(cmd.Context())
		if err != nil {
			return err
		}
		return printList(cmd.OutOrStdout(), out, list, reservationColumns(time.Now()))
	}
	return cmd
}

func reservationColumns(now time.Time) []column[control.Reservation] {
	type R = control.Reservation
	return []column[R]{
		{name: "DEVICE", value: func(r R) string { return r.Device }},
		{name: "MODE", value: func(r R) string { return r.Mode }},
		{name: "STATE", value: func(r R) string { return r.State }},
		{name: "TYPE", value: func(r R) string { return r.Type }},
		{name: "HOLDER", value: func(r R) string { return r.Holder }, wide: true},
		{name: "OUR-KEYS", value: func(r R) string { return strconv.Itoa(countKeys(r, true)) }, right: true},
		{name: "OTHERS", value: func(r R) string { return strconv.Itoa(countKeys(r, false)) }, right: true},
		{name: "READ", value: func(r R) string { return humanAge(now, r.Read) }, right: true},
		{name: "REASON", value: func(r R) string { return r.Reason }},
	}
}

func countKeys(r control.Reservation, ours bool) (n int) {
	for _, k := range r.Keys {
		if k.Ours == ours {
			n++
		}
	}
	return n
}

// newReservationShowCmd makes "pathgate reservation show".
func newReservationShowCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show DEVICE",
		Short: "Show the reservation and the registrations of a device",
		Long: `Ask the target who has registered and what is reserved. Where it does not answer
within a second, what was last seen is shown.`,
		Args: oneArg("DEVICE"),
	}
	out := newFormat(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		r, err := c.Reservation(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if out.isJSON() {
			return printJSON(cmd.OutOrStdout(), r, "  ")
		}
		return printReservation(cmd.OutOrStdout(), r)
	}
	return cmd
}

func printReservation(w io.Writer, r control.Reservation) error {
	reserved := "no"
	if r.Held {
		reserved = r.Type
		if r.Holder != "" {
			reserved += ", by " + r.Holder
		}
	}
	var s sheet
	s.title("device %s: %s%s", r.Device, r.State, after(", ", nonEmpty(r.Reason)...))
	s.line("mode", "%s", r.Mode)
	s.line("reserved", "%s", reserved)
	s.line("gateway", "%s", r.Gateway)
	if err := s.print(w); err != nil || len(r.Keys) == 0 {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	type K = control.ReservationKey
	return printTable(w, r.Keys, []column[K]{
		{name: "KEY", value: func(k K) string { return k.Key }},
		{name: "OURS", value: func(k K) string { return yesNo(k.Ours) }},
		{name: "GATEWAY", value: func(k K) string { return k.Gateway }},
		{name: "EPOCH", value: func(k K) string { return strconv.Itoa(int(k.Epoch)) }, right: true},
		{name: "NUMBER", value: func(k K) string { return strconv.Itoa(int(k.Number)) }, right: true},
		{name: "PATH", value: func(k K) string { return k.Path }},
	}, false)
}

// newReservationPreemptCmd makes "pathgate reservation preempt".
func newReservationPreemptCmd(to *target) *cobra.Command {
	var who control.ReservationPreempt
	cmd := &cobra.Command{
		Use:   "preempt DEVICE",
		Short: "Take a LUN over from another gateway",
		Long: `Take registrations of others at the LUN away, and reserve it for this gateway: those
of a peer that is dead, or must write no more. Without --key and --gateway, all of
others. What they have sent and the target has not begun is refused from then on; a
LOGICAL UNIT RESET waits for what has begun, unless the rule has "fence-reset: never".`,
		Args: oneArg("DEVICE"),
	}
	cmd.Flags().StringVar(&who.Key, "key", "", "only this `key`, as \"reservation show\" prints it")
	cmd.Flags().StringVar(&who.Gateway, "gateway", "", "only the keys of this `gateway`")
	cmd.MarkFlagsMutuallyExclusive("key", "gateway")
	out := newFormat(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		done, err := c.PreemptReservation(cmd.Context(), args[0], who)
		if err != nil {
			return err
		}
		w := cmd.OutOrStdout()
		if out.isJSON() {
			return printJSON(w, done, "  ")
		}
		for _, k := range done.Keys {
			if _, err := fmt.Fprintf(w, "%s: key %s is taken away\n", printable(done.Device), printable(k)); err != nil {
				return err
			}
		}
		if !done.Reset {
			_, err = fmt.Fprintf(w, "%s: commands that had begun may still run\n", printable(done.Device))
		}
		return err
	}
	return cmd
}
