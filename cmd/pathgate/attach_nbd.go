// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pathgate/gateway"
	"pathgate/gateway/nbdattach"
)

// nbdFlags are those of "pathgate attach VM/DISK --nbd-device".
type nbdFlags struct {
	device             string
	servers            []string
	tlsDir, tlsName    string
	connections        int
	timeout, dead      time.Duration
	readOnly           bool
	onClose, destroy   bool
	detach, background bool
}

func (f *nbdFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.device, "nbd-device", "", "attach a disk as this block `device`: /dev/nbdN, or auto for a free one")
	fs.StringArrayVar(&f.servers, "server", nil, "`address` of the NBD server, ip:port or unix:/path, in place of asking the gateway; may be repeated")
	fs.StringVar(&f.tlsDir, "tls-certificates", "", "use TLS, with the ca-cert.pem of this `directory`, and its client-cert.pem and client-key.pem if they are there")
	fs.StringVar(&f.tlsName, "tls-hostname", "", "`name` in the server's certificate, in place of the address")
	fs.IntVar(&f.connections, "connections", nbdattach.DefaultConnections, "connections, if the disk allows several")
	fs.DurationVar(&f.timeout, "timeout", nbdattach.DefaultTimeout, "after which a request is sent again over a new connection")
	fs.DurationVar(&f.dead, "dead-timeout", nbdattach.DefaultDeadTimeout, "how long requests wait for a connection before they fail")
	fs.BoolVar(&f.readOnly, "read-only", false, "make the device read-only")
	fs.BoolVar(&f.onClose, "disconnect-on-close", false, "detach when the last user closes the device, udev included")
	fs.BoolVar(&f.destroy, "destroy", false, "remove the device when it is detached")
	fs.BoolVar(&f.detach, "detach", false, "stay in the background, and log to syslog")
	fs.BoolVar(&f.background, "background", false, "")
	_ = fs.MarkHidden("background") // it is there
}

// ofDevice are the flags that mean nothing without --nbd-device.
var ofDevice = [...]string{"server", "tls-certificates", "tls-hostname", "connections", "timeout", "dead-timeout", "read-only", "disconnect-on-close", "destroy", "detach"}

// check finds what does not go together.
func (f *nbdFlags) check(cmd *cobra.Command) error {
	for _, name := range ofDevice {
		if f.device == "" && cmd.Flags().Changed(name) {
			return usageError{fmt.Errorf("--%s goes with --nbd-device alone", name)}
		}
	}
	if f.tlsDir == "" {
		return nil
	}
	dir, err := filepath.Abs(f.tlsDir) // the process in the background is elsewhere
	f.tlsDir = dir
	return err
}

// run attaches a disk, and looks after it until a signal comes or it is detached.
func (f *nbdFlags) run(cmd *cobra.Command, to *target, host, name string) error {
	if f.detach && !f.background {
		return f.inBackground(cmd, name)
	}
	cfg, err := f.config(cmd, to, host, name)
	if err != nil {
		return err
	}
	logTo := cmd.ErrOrStderr()
	cfg.Log = func(format string, args ...any) {
		fmt.Fprintf(logTo, "pathgate: %s\n", printable(fmt.Sprintf(format, args...)))
	}
	if cfg.TLS != nil {
		if err := flushDisks(); err != nil {
			cfg.Log("when memory is short this process may come to wait for its own device: %v", err)
		}
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	d, err := nbdattach.Attach(ctx, cfg)
	if errors.Is(err, nbdattach.ErrTLSRequired) && cfg.TLS == nil {
		err = fmt.Errorf("%w: give --tls-certificates, or an address without TLS, such as a unix socket", err)
	}
	if err != nil {
		return err
	}
	defer d.Close()
	cfg.Log("%s is %s, %v, connections: %d", d.Name(), name, gateway.Size(d.Size()), d.Connections())
	if _, err := fmt.Fprintln(cmd.OutOrStdout(), d.Name()); err != nil {
		return err
	}
	notifySystemd("READY=1\nSTATUS=" + d.Name() + " is " + name)
	if f.background {
		if logTo, err = leaveTerminal(); err != nil {
			return err
		}
	}
	err = d.Supervise(ctx)
	if ctx.Err() == nil {
		return err
	}
	stop() // the next signal ends it at once
	notifySystemd("STOPPING=1")
	err = d.Detach()
	switch {
	case errors.Is(err, nbdattach.ErrInUse), errors.Is(err, nbdattach.ErrNotConnected):
		state := "is not connected again when a connection is lost"
		if cfg.TLS != nil {
			state = fmt.Sprintf("has no connection now: requests wait for %v", f.dead)
		}
		cfg.Log("%v; it stays attached, and %s; to go on with it: the same command", err, state)
		return nil
	case errors.Is(err, nbdattach.ErrNotAttached):
		return nil
	}
	return err
}

// config finds the server and the disk.
func (f *nbdFlags) config(cmd *cobra.Command, to *target, host, name string) (nbdattach.Config, error) {
	cfg := nbdattach.Config{
		Export: name, Addresses: f.servers, Connections: f.connections, Timeout: f.timeout, DeadTimeout: f.dead,
		ReadOnly: f.readOnly, DisconnectOnClose: f.onClose, Destroy: f.destroy,
	}
	var err error
	if cfg.Index, err = nbdattach.ParseDevice(f.device); err != nil {
		return cfg, usageError{err}
	}
	if cfg.TLS, err = f.tls(); err != nil {
		return cfg, err
	}
	for _, s := range f.servers {
		if err := checkServer(s); err != nil {
			return cfg, usageError{err}
		}
	}
	vm, disk, ok := strings.Cut(name, "/")
	if !ok || disk == "" {
		return cfg, usageError{fmt.Errorf("%q: want VM/DISK", name)}
	}
	if len(f.servers) > 0 {
		return cfg, nil
	}
	c, err := to.dial()
	if err != nil {
		return cfg, err
	}
	defer c.Close()
	a, err := c.Attachment(cmd.Context(), vm)
	if err != nil {
		return cfg, err
	}
	if host == "" {
		host = "127.0.0.1" // the control socket is one of this host, and so is the gateway
	}
	(&attachFlags{host: host}).reach(&a)
	for i, at := range a.NBD {
		if checkServer(at) == nil && (len(a.TLS) > 0 && a.TLS[i].Required) == (cfg.TLS != nil) {
			cfg.Addresses = append(cfg.Addresses, at)
		}
	}
	switch {
	case len(cfg.Addresses) > 0:
	case cfg.TLS != nil:
		return cfg, errors.New("the gateway has no NBD listener that requires TLS: leave --tls-certificates out, or name one with --server")
	case len(a.NBD) > 0:
		return cfg, errors.New("the disk wants TLS: give --tls-certificates, or give the gateway a listener without TLS in nbd.listen, such as a unix socket")
	default:
		return cfg, errors.New("the gateway has no NBD listener: give it one in nbd.listen, such as a unix socket")
	}
	for i := range a.Disks {
		if d := &a.Disks[i]; d.Export == name {
			if d.Why != "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "pathgate: waiting for %s\n", note(d))
			}
			return cfg, nil
		}
	}
	return cfg, fmt.Errorf("vm %s has no disk %q; \"pathgate disk list\" shows all", vm, disk)
}

func checkServer(s string) error {
	if path, ok := strings.CutPrefix(s, "unix:"); ok && strings.HasPrefix(path, "/") {
		return nil
	}
	if h, port, err := net.SplitHostPort(s); err != nil || h == "" || port == "" {
		return fmt.Errorf("--server %q: want ip:port or unix:/path", s)
	}
	return nil
}

// notifySystemd tells a service manager how far we are (sd_notify(3)); without one
// nothing happens.
func notifySystemd(state string) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return
	}
	c, err := (&net.Dialer{}).DialContext(context.Background(), "unixgram", name)
	if err != nil {
		return
	}
	_, _ = io.WriteString(c, state) // nobody is there to be told that it failed
	c.Close()
}
