// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// newDiskReleaseCmd makes "pathgate disk release".
func newDiskReleaseCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "release VM/DISK",
		Short: "Take a disk from its clients, so that another one can use it",
		Long: `Take a disk from the clients that use it, for a client that is refused because of them
and cannot wait: the host of the owner has died, and its connection has not. Their
connections are cut, what they have outstanding is aborted, and they do not get the disk
back for 30 seconds, or as long as another client has it (unless it is shared).`,
		Args: oneArg("VM/DISK"),
	}
	out := newFormat(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		r, err := c.ReleaseDisk(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if out.isJSON() {
			return printJSON(cmd.OutOrStdout(), r, "  ")
		}
		return writeReleased(cmd.OutOrStdout(), r)
	}
	return cmd
}

func writeReleased(w io.Writer, r control.Released) error {
	who := "nobody used it"
	if len(r.Clients) > 0 {
		who = "taken from " + strings.Join(r.Clients, ", ")
	}
	_, err := fmt.Fprintf(w, "disk %s: %s\n", printable(r.Disk), printable(who))
	return err
}
