// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// attachFlags are those of "pathgate attach".
type attachFlags struct {
	qemu, linux, libvirt bool
	over, host           string
	nbd                  nbdFlags
}

// newAttachCmd makes "pathgate attach".
func newAttachCmd(to *target) *cobra.Command {
	var f attachFlags
	cmd := &cobra.Command{
		Use:   "attach VM|VM/DISK",
		Short: "Print how to use a VM's disks: commands or XML; or attach one to this host",
		Long: `Print what gives a client the disks of a VM: the options of QEMU, the commands of a
Linux host (open-iscsi, nbd-client), or the disk elements of libvirt. Nothing is
carried out. Without --over both front-ends are shown; use one of them.

CHAP secrets are not printed: SECRET-FILE stands for a file that holds the one of the
user that is named. Where TLS is wanted, TLS-DIR stands for a directory with the
certificates, named as QEMU and libnbd want them.

With --nbd-device a disk, VM/DISK, is made a block device of this host by the kernel's
nbd driver, and its name is printed. The command goes on: it connects the device again
when connections are lost, and lets it grow with the disk. "pathgate detach" ends it.
A signal detaches the device if nobody uses it; if somebody does it stays, and the same
command goes on with it. With --tls-certificates the command encrypts, and all data goes
through it. This needs root and the module nbd.`,
		Args: oneArg("VM"),
	}
	f.nbd.add(cmd)
	cmd.Flags().BoolVar(&f.qemu, "qemu", false, "options of QEMU")
	cmd.Flags().BoolVar(&f.linux, "linux", false, "commands for a Linux host")
	cmd.Flags().BoolVar(&f.libvirt, "libvirt", false, "disk elements of a libvirt domain")
	cmd.Flags().StringVar(&f.over, "over", "", "only this `front-end`: iscsi or nbd")
	cmd.Flags().StringVar(&f.host, "host", "", "`address` of the gateway where it listens on all of them")
	cmd.MarkFlagsOneRequired("qemu", "linux", "libvirt", "nbd-device")
	cmd.MarkFlagsMutuallyExclusive("qemu", "linux", "libvirt", "nbd-device")
	cmd.MarkFlagsMutuallyExclusive("over", "nbd-device")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains([]string{"", "iscsi", "nbd"}, f.over) {
			return usageError{fmt.Errorf("--over %q: not iscsi or nbd", f.over)}
		}
		if err := f.nbd.check(cmd); err != nil {
			return err
		}
		if f.nbd.device != "" {
			return f.nbd.run(cmd, to, f.host, args[0])
		}
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		a, err := c.Attachment(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		text, err := f.print(&a)
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(cmd.OutOrStdout(), text)
		return err
	}
	return cmd
}

// print makes the text for a.
func (f *attachFlags) print(a *control.Attachment) (string, error) {
	if f.over == "nbd" {
		a.ISCSI = nil
	}
	if f.over == "iscsi" {
		a.NBD = nil
	}
	if a.ISCSI == nil && len(a.NBD) == 0 {
		return "", errors.New("the gateway has no listener for that")
	}
	f.reach(a)
	switch {
	case f.qemu:
		return attachQEMU(a)
	case f.linux:
		return attachLinux(a), nil
	default:
		return attachLibvirt(a), nil
	}
}

// reach puts an address that a client can connect to where the gateway listens on
// all of its own.
func (f *attachFlags) reach(a *control.Attachment) {
	host := f.host
	if host == "" {
		host = "HOST"
	}
	fix := func(list []string) {
		for i, s := range list {
			h, port, err := net.SplitHostPort(s)
			if ip, perr := netip.ParseAddr(h); err == nil && (h == "" || perr == nil && ip.IsUnspecified()) {
				list[i] = net.JoinHostPort(host, port)
			}
		}
	}
	fix(a.NBD)
	if a.ISCSI != nil {
		fix(a.ISCSI.Portals)
	}
}

// note is a line about a disk, for people.
func note(d *control.AttachDisk) string {
	s := d.Export
	if d.ReadOnly {
		s += ", read-only"
	}
	if d.Why != "" {
		s += ", not available: " + printable(d.Why)
	}
	return s
}

// shellQuote makes s one word of a shell.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+=,", r)
	}
	if s != "" && strings.TrimFunc(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// nbdAddress splits an address of the NBD server.
func nbdAddress(s string) (socket, host, port string) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return path, "", ""
	}
	host, port, _ = net.SplitHostPort(s)
	return "", host, port
}
