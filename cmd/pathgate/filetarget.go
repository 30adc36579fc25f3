// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"pathgate/gateway"
)

// newFileTargetCmd makes "pathgate target".
func newFileTargetCmd() *cobra.Command {
	var o gateway.FileTargetOptions
	var size string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "target FILE...",
		Short: "Serve files as the LUNs of an iSCSI target, without a gateway",
		Long: `Serve files or block devices as LUN 0, 1, ... of one iSCSI target, until SIGINT or
SIGTERM: for a test, a demonstration, or as storage below a gateway. There are no
VMs, paths and shares, and no state: a file's identity (VPD page 83h) is made of
this machine and the file's path, and persistent reservations end with the process.

  pathgate target disk.img --size 1GiB
  pathgate target disk.img --listen 127.0.0.1:3260 --listen 127.0.0.1:3261
  pathgate target disk.img --chap-user alice --chap-secret-file /etc/pathgate/alice

Each --listen is a portal group of its own, tagged 1, 2, ...; addresses with a comma
between are one group. A file is locked while it is served: only one process writes
to it. Writes go to the kernel's cache, which SYNCHRONIZE CACHE and FUA empty, so they
outlive this process, and not the machine.

What is served is printed when it can be used; logins go to standard error.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("FILE is missing")
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&o.Listen, "listen", nil, "`ADDRESS[,ADDRESS...]` of a portal group, ip:port; port 0 is any (default 127.0.0.1:3260)")
	flags.BoolVar(&o.PlaintextRemote, "plaintext-remote", false, "allow addresses that are not on loopback: everybody on that network can read all")
	flags.StringVar(&o.Name, "name", gateway.DefaultFileTarget, "iSCSI `name` of the target")
	flags.StringVar(&size, "size", "", "`size` of each file, such as 64MiB: makes missing ones, extends shorter ones")
	flags.Uint32Var(&o.BlockSize, "block-size", 0, "logical block in `bytes`, 512 or 4096 (default 512, or that of the device)")
	flags.BoolVar(&o.ReadOnly, "read-only", false, "refuse all changes")
	flags.StringArrayVar(&o.Initiators, "initiator", nil, "`name or network` that may log in; may be repeated (default everyone)")
	flags.StringVar(&o.User, "chap-user", "", "CHAP `user` that initiators have to be")
	flags.StringVar(&o.SecretFile, "chap-secret-file", "", "`file` with that user's secret, 12 to 255 bytes, mode 0600")
	flags.StringVar(&o.MutualUser, "mutual-user", "", "CHAP `user` that proves the target to initiators")
	flags.StringVar(&o.MutualSecretFile, "mutual-secret-file", "", "`file` with the secret of that")
	flags.BoolVarP(&verbose, "verbose", "v", false, "log more")
	cmd.MarkFlagsRequiredTogether("chap-user", "chap-secret-file")
	cmd.MarkFlagsRequiredTogether("mutual-user", "mutual-secret-file")
	out := newFormat(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.Files = args
		if err := parseFileSize(size, &o.Size); err != nil {
			return err
		}
		if err := o.Check(); err != nil {
			return usageError{err}
		}
		level := slog.LevelInfo
		if verbose {
			level = slog.LevelDebug
		}
		o.Logger = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		context.AfterFunc(ctx, stop) // the next signal is not caught
		return serveFiles(ctx, cmd.OutOrStdout(), out, o)
	}
	return cmd
}

func parseFileSize(text string, into *gateway.Size) (err error) {
	if text == "" {
		return nil
	}
	if *into, err = gateway.ParseSize(text); err != nil {
		return usageError{fmt.Errorf("--size %q %w; want bytes, or with KiB, MiB, GiB, TiB", text, err)}
	}
	return nil
}

// servedFiles is what "pathgate target -o json" prints.
type servedFiles struct {
	Target  string               `json:"target"`
	Portals []gateway.FilePortal `json:"portals"`
	LUNs    []gateway.FileLUN    `json:"luns"`
}

// serveFiles runs the target, and tells when it can be used.
func serveFiles(ctx context.Context, w io.Writer, out *format, o gateway.FileTargetOptions) error {
	t, err := gateway.OpenFileTarget(o)
	if err != nil {
		return err
	}
	s := servedFiles{Target: t.Name(), Portals: t.Portals(), LUNs: t.LUNs()}
	if out.isJSON() {
		err = printJSON(w, s, "")
	} else {
		_, err = io.WriteString(w, s.text())
	}
	if err != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		cancel() // nobody knows of it: end
	}
	if served := t.Run(ctx); err == nil {
		err = served
	}
	return err
}

// text tells the same to people.
func (s *servedFiles) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "target   %s\n", s.Target)
	for _, p := range s.Portals {
		fmt.Fprintf(&b, "portal   %s, group %d\n", p.Address, p.Group)
	}
	for _, l := range s.LUNs {
		access := ""
		if l.ReadOnly {
			access = ", read-only"
		}
		fmt.Fprintf(&b, "lun %-4d %s, %s in blocks of %d%s\n", l.LUN, printable(l.File), gateway.Size(l.Size), l.BlockSize, access)
	}
	return b.String()
}
