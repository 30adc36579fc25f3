// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// newSessionCmd makes "pathgate session".
func newSessionCmd(to *target) *cobra.Command {
	return asGroup(&cobra.Command{
		Use:   "session",
		Short: "Show the clients of the front-ends",
		Long:  `A session is a client: an iSCSI session of an initiator, or an NBD connection.`,
	}, newSessionListCmd(to))
}

// newSessionListCmd makes "pathgate session list".
func newSessionListCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List all clients, and what they negotiated",
		Long: `List all clients, iSCSI and NBD. OUT is the number of requests that are not
answered, and behind the slash how many there may be. USER is the CHAP name, or the name
in the certificate, that a client has proved. -o wide adds the keys that an initiator has
negotiated, by their names in RFC 7143, and the TLS version and cipher of NBD clients.`,
		Args: noArgs,
	}
	out := newFormat(cmd, true)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		sessions, err := c.Sessions(cmd.Context())
		if err != nil {
			return err
		}
		return printList(cmd.OutOrStdout(), out, sessions, sessionColumns())
	}
	return cmd
}

func sessionColumns() []column[control.Session] {
	type S = control.Session
	return []column[S]{
		{name: "FRONTEND", value: func(s S) string { return s.Frontend }},
		{name: "PEER", value: func(s S) string { return strings.TrimPrefix(s.Name, s.Frontend+" ") }},
		{name: "VM", value: func(s S) string { return s.VM }},
		{name: "OUT", value: outstanding, right: true},
		{name: "PENDING", value: func(s S) string { return humanBytes(uint64(max(s.PendingBytes, 0))) }, right: true},
		{name: "USER", value: func(s S) string { return cmp.Or(s.User, s.Certificate) }},
		{name: "INITIATOR", value: func(s S) string { return s.Initiator }},
		{name: "USES", value: func(s S) string { return s.Uses }},
		{name: "CLIENT", value: func(s S) string { return s.Client }, wide: true},
		{name: "LOCAL", value: func(s S) string { return s.Local }, wide: true},
		{name: "ISID", value: func(s S) string { return s.ISID }, wide: true},
		{name: "DONE", value: func(s S) string { return strconv.FormatUint(s.Completed, 10) }, right: true, wide: true},
		{name: "TLS", value: func(s S) string { return s.TLS }, wide: true},
		{name: "CIPHER", value: func(s S) string { return s.Cipher }, wide: true},
		{name: "KEYS", value: sessionKeys, wide: true},
	}
}

func outstanding(s control.Session) string {
	n := strconv.Itoa(s.Outstanding)
	if s.Window > 0 {
		n += "/" + strconv.Itoa(s.Window)
	}
	return n
}

func sessionKeys(s control.Session) string {
	keys := make([]string, len(s.Keys))
	for i, k := range s.Keys {
		keys[i] = k.Key + "=" + k.Value
	}
	return strings.Join(keys, " ")
}
