// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"pathgate/gateway"
	"pathgate/gateway/control"
)

// newDiskResizeCmd makes "pathgate disk resize".
func newDiskResizeCmd(to *target) *cobra.Command {
	var as control.Resize
	cmd := &cobra.Command{
		Use:   "resize VM/DISK SIZE",
		Short: "Make a disk in a file grow, while it is used",
		Long: `Make a disk in a regular file grow to SIZE ("20GiB"), while it is used, and keep that size
over restarts. A disk never shrinks. It may have what max-size of the configuration says;
without that, any size, unless size is given there. A disk on LUNs grows with them.

Initiators are told, and ask for the new size. An NBD client is told when it connects the
next time, which --reconnect brings about. Clients that do not connect again, such as QEMU
without reconnect-delay, have errors then. See docs/resize.md.`,
		Args: twoArgs("VM/DISK", "SIZE"),
	}
	out := newFormat(cmd, false)
	cmd.Flags().BoolVar(&as.Thin, "thin", false, "also when the file system has less room free than the disk grows by")
	cmd.Flags().BoolVar(&as.Reconnect, "reconnect", false, "close the connections of NBD clients, which have to connect again by themselves")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		size, err := gateway.ParseSize(args[1])
		if err == nil && size == 0 {
			err = errors.New("is nothing")
		}
		if err != nil {
			return usageError{fmt.Errorf("size %q %w; want bytes, or with KiB, MiB, GiB, TiB", args[1], err)}
		}
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		as.Size = uint64(size)
		r, err := c.ResizeDisk(cmd.Context(), args[0], as)
		if err != nil {
			return err
		}
		if out.isJSON() {
			return printJSON(cmd.OutOrStdout(), r, "  ")
		}
		return writeResized(cmd.OutOrStdout(), r)
	}
	return cmd
}

func writeResized(w io.Writer, r control.Resized) error {
	was := ""
	if r.From != r.Size {
		was = fmt.Sprintf(", %v before", gateway.Size(r.From))
	}
	if r.Reconnected > 0 {
		was += fmt.Sprintf("; NBD connections closed: %d", r.Reconnected)
	}
	_, err := fmt.Fprintf(w, "disk %s: %v%s\n", printable(r.Disk), gateway.Size(r.Size), was)
	return err
}
