// SPDX-License-Identifier: Apache-2.0

package nbdattach

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Defaults of Config.
const (
	DefaultConnections = 4
	DefaultTimeout     = 30 * time.Second
	DefaultDeadTimeout = 5 * time.Minute
	DefaultLookAgain   = 10 * time.Second

	// MaxConnections bounds Config.Connections: more than the driver has queues for helps
	// nobody.
	MaxConnections = 64
)

const (
	// dialTimeout bounds a connection's way to the transmission phase. The server may wait
	// for a disk whose LUN is not there yet.
	dialTimeout = 30 * time.Second
	// settleTimeout is how long a device that has just been left may take to become free:
	// udev looks at every one.
	settleTimeout = 5 * time.Second
	settlePause   = 50 * time.Millisecond
)

// Config says what is attached where. Zero fields take the default named.
type Config struct {
	// Addresses are those of the NBD server, "unix:/path" or "host:port", tried in this
	// order for each connection. Required.
	Addresses []string
	Export    string // required
	// TLS gives what connections are encrypted with, anew for each; nil: nothing. Without
	// a ServerName the address has to be in the server's certificate. This process
	// then hands on all data: connections end with it.
	TLS func() (*tls.Config, error)
	// Index is N of /dev/nbdN; AnyDevice: one that is free.
	Index int
	// Connections is how many there are when the server allows several.
	// DefaultConnections.
	Connections int
	// Timeout is how long a request may take before it is sent again over a new
	// connection; whole seconds. Below the time that the gateway takes for a request
	// (timeouts.request) it may be carried out twice. DefaultTimeout.
	Timeout time.Duration
	// DeadTimeout is how long requests wait while no connection is left before they
	// fail; whole seconds. DefaultDeadTimeout.
	DeadTimeout time.Duration
	// LookAgain is how often the server is asked whether the export has grown.
	// DefaultLookAgain; negative: never.
	LookAgain time.Duration
	// ReadOnly makes the device read-only, whatever the export is.
	ReadOnly bool
	// DisconnectOnClose detaches the device when its last user closes it, were it only
	// udev that looks at it; Destroy removes it when it is detached.
	DisconnectOnClose, Destroy bool
	// Log is told what happens to the device's connections; nil: nobody is.
	Log func(format string, args ...any)

	kernel driver // for tests
	host   host
	look   time.Duration // lookInterval
}

func (c *Config) setDefaults() error {
	c.Connections = cmp.Or(c.Connections, DefaultConnections)
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	c.DeadTimeout = cmp.Or(c.DeadTimeout, DefaultDeadTimeout)
	c.LookAgain = cmp.Or(c.LookAgain, DefaultLookAgain)
	c.host = cmp.Or(c.host, thisHost)
	if c.Log == nil {
		c.Log = func(string, ...any) {}
	}
	whole := func(d time.Duration) bool { return d >= time.Second && d%time.Second == 0 && d < 24*time.Hour }
	switch {
	case len(c.Addresses) == 0 || c.Export == "":
		return errors.New("attach: no server or no export")
	case c.Connections < 1 || c.Connections > MaxConnections:
		return fmt.Errorf("attach: %d connections, want 1 to %d", c.Connections, MaxConnections)
	case !whole(c.Timeout) || !whole(c.DeadTimeout):
		return fmt.Errorf("attach: timeouts of %v and %v, want whole seconds, at least one", c.Timeout, c.DeadTimeout)
	}
	return nil
}

// backend names the export for the kernel, which shows it in sysfs and checks it at
// each RECONFIGURE.
func (c *Config) backend() string { return backendPrefix + c.Export }

const backendPrefix = "pathgate:"

// Device is an attached block device. One goroutine uses it.
type Device struct {
	cfg    Config
	kernel driver
	index  int
	export Export // as the device has it: growth included
	block  uint64
	claim  net.Listener
	links  []link
	// inherited: the device has connections beside links, from before this process.
	// unknown: one of them may be dead.
	inherited, unknown bool
	multi              bool   // several connections
	said               string // the last complaint, which is not repeated
}

// link is our reference to a socket that the kernel has. Nothing is read or written.
type link struct{ fd int }

// Attach makes the device, or takes over one of the same export that was left behind
// by another process. Its connections live on when this process ends.
func Attach(ctx context.Context, cfg Config) (*Device, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	d := &Device{cfg: cfg, kernel: cfg.kernel, index: cfg.Index}
	if d.kernel == nil {
		k, err := openKernel()
		if err != nil {
			return nil, err
		}
		d.kernel = k
	}
	if d.index != AnyDevice {
		if err := d.take(); err != nil {
			return nil, fmt.Errorf("%s: %w", d.Name(), err)
		}
	}
	if err := d.attach(ctx); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// take claims the device, and finds whether it is one of ours.
func (d *Device) take() (err error) {
	if d.claim, err = d.cfg.host.claim(d.index); err != nil || !d.cfg.host.running(d.index) {
		return err
	}
	if b := d.cfg.host.attribute(d.index, "backend"); b != d.cfg.backend() {
		d.Close()
		return fmt.Errorf("%w for %s: detach it first, or take another one", ErrInUse, cmp.Or(strings.TrimPrefix(b, backendPrefix), "something else"))
	}
	d.inherited, d.unknown = true, true
	return nil
}

func (d *Device) attach(ctx context.Context) error {
	first, err := d.dial(ctx)
	if err != nil {
		return err
	}
	d.export, d.block = first.export, max(512, uint64(first.export.MinBlock))
	if d.cfg.ReadOnly {
		d.export.Flags |= ReadOnly
	}
	if page := uint64(os.Getpagesize()); d.block > page {
		first.Close()
		return fmt.Errorf("%s has blocks of %d bytes: the kernel takes %d at most", d.cfg.Export, d.block, page)
	}
	if d.inherited {
		first.Close()
		return d.resume()
	}
	d.multi = d.export.Flags&CanMultiConn != 0 && d.cfg.Connections > 1
	conns := []*conn{first}
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for d.multi && len(conns) < d.cfg.Connections {
		c, err := d.dial(ctx)
		if err != nil {
			return err
		}
		conns = append(conns, c)
		if err := d.same(&c.export); err != nil {
			return err
		}
	}
	return d.connect(ctx, conns)
}

// connect hands the sockets to the kernel.
func (d *Device) connect(ctx context.Context, conns []*conn) error {
	s := d.settings()
	s.size, s.blockSize, s.flags = d.export.Size-d.export.Size%d.block, d.block, d.export.Flags
	s.timeout, s.deadTimeout = uint64(d.cfg.Timeout/time.Second), uint64(d.cfg.DeadTimeout/time.Second)
	if d.cfg.Destroy {
		s.clientFlags |= clientDestroyOnDisconnect
	}
	if d.cfg.DisconnectOnClose {
		s.clientFlags |= clientDisconnectOnClose
	}
	for _, c := range conns {
		fd, err := c.descriptor()
		if err != nil {
			return err
		}
		d.links = append(d.links, link{fd})
		s.sockets = append(s.sockets, fd)
	}
	index, err := d.settle(ctx, &s)
	if err != nil {
		return fmt.Errorf("%s: %w", d.Name(), err)
	}
	if d.claim == nil {
		if d.claim, err = d.cfg.host.claim(index); err != nil {
			return errors.Join(err, d.kernel.disconnect(index))
		}
	}
	d.index = index
	return d.cfg.host.limitRequests(index, d.export.MaxPayload)
}

// settle connects. A device that nobody has connected may be open for a moment, or
// be on its way down.
func (d *Device) settle(ctx context.Context, s *settings) (int, error) {
	for limit := time.Now().Add(settleTimeout); ; {
		index, err := d.kernel.connect(s)
		if !errors.Is(err, ErrInUse) || time.Now().After(limit) {
			return index, err
		}
		select {
		case <-time.After(settlePause):
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

func (d *Device) settings() settings { return settings{index: d.index, backend: d.cfg.backend()} }

// resume takes over a device whose process is gone: it has to be what the export is.
func (d *Device) resume() error {
	h := d.cfg.host
	had := d.export
	had.Size = 512 * h.number(d.index, "size")
	if block := h.number(d.index, "queue/logical_block_size"); block != d.block {
		return fmt.Errorf("%s: the device has blocks of %d bytes, the export of %d", d.Name(), block, d.block)
	}
	if d.export.Size-d.export.Size%d.block < had.Size {
		return fmt.Errorf("%s: the device has %d bytes, the export %d", d.Name(), had.Size, d.export.Size)
	}
	if ro := h.number(d.index, "ro") == 1; ro != (d.export.Flags&ReadOnly != 0) {
		return fmt.Errorf("%s: only one of device and export is read-only", d.Name())
	}
	d.export = had
	return nil
}

// Name is the device's file.
func (d *Device) Name() string {
	if d.index == AnyDevice {
		return "a free nbd device"
	}
	return d.cfg.host.device(d.index)
}

// Size is the device's in bytes.
func (d *Device) Size() uint64 { return d.export.Size - d.export.Size%d.block }

// Connections is how many were made by this process and live.
func (d *Device) Connections() int { return len(d.links) - len(d.hung()) }

// Detach writes out what is in the host's cache and takes the device down; ErrInUse
// when somebody uses it, ErrNotConnected when nothing can be written out now.
func (d *Device) Detach() error {
	if d.Connections() == 0 && !d.inherited {
		return fmt.Errorf("%s: %w", d.Name(), ErrNotConnected)
	}
	return detach(d.kernel, d.cfg.host, d.index, false)
}

// Close ends this process' part in the device, which stays as it is.
func (d *Device) Close() {
	for _, l := range d.links {
		_ = unix.Close(l.fd)
	}
	d.links = nil
	if d.claim != nil {
		d.claim.Close()
	}
}

// Detach takes down the device with an index, after what is in the host's cache for it
// was written out; somebody who uses it is ErrInUse, and so is a device that was not made by
// Attach. With force nothing is written out, and nobody asked.
func Detach(index int, force bool) error {
	k, err := openKernel()
	if err != nil {
		return err
	}
	return detach(k, thisHost, index, force)
}

func detach(k driver, h host, index int, force bool) error {
	name := h.device(index)
	if !h.running(index) {
		return fmt.Errorf("%s is %w", name, ErrNotAttached)
	}
	// Linux before 5.14 has no such file.
	if b := h.attribute(index, "backend"); b != "" && !strings.HasPrefix(b, backendPrefix) && !force {
		return fmt.Errorf("%s is %w by somebody else (%s)", name, ErrInUse, b)
	}
	if !force {
		if err := h.flush(index); err != nil {
			return err
		}
	}
	if err := k.disconnect(index); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for limit := time.Now().Add(settleTimeout); h.running(index); time.Sleep(settlePause) {
		if time.Now().After(limit) {
			return fmt.Errorf("%s: its connections are closed, and it stays while it is %w", name, ErrInUse)
		}
	}
	return nil
}

// conn is a connection in the transmission phase.
type conn struct {
	net.Conn
	export Export
}

// dial makes one.
func (d *Device) dial(ctx context.Context) (*conn, error) { return d.open(ctx, optGo) }

func (d *Device) open(ctx context.Context, option uint32) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var secure *tls.Config
	if d.cfg.TLS != nil {
		var err error
		if secure, err = d.cfg.TLS(); err != nil {
			return nil, err
		}
	}
	var errs []error
	for _, a := range d.cfg.Addresses {
		c, err := d.openAt(ctx, a, secure, option)
		if err == nil {
			return c, nil
		}
		errs = append(errs, fmt.Errorf("%s at %s: %w", d.cfg.Export, a, err))
	}
	return nil, errors.Join(errs...)
}

func (d *Device) openAt(ctx context.Context, address string, secure *tls.Config, option uint32) (*conn, error) {
	network, to := "tcp", address
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, to = "unix", path
	}
	nc, err := (&net.Dialer{}).DialContext(ctx, network, to)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	c := &conn{Conn: nc}
	var tc *tls.Conn
	if secure == nil {
		c.export, err = negotiate(nc, d.cfg.Export, option)
	} else if tc, err = startTLS(ctx, nc, address, secure); err == nil {
		c.export, err = ask(tc, nil, d.cfg.Export, option)
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil && tc != nil && option == optGo {
		c.Conn, err = relay(tc, d.cfg.Timeout)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

// descriptor gives a socket for the kernel, apart from the runtime's, and closes c.
func (c *conn) descriptor() (fd int, err error) {
	sc, ok := c.Conn.(syscall.Conn)
	if !ok {
		return -1, fmt.Errorf("a %T is no socket", c.Conn)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	var dup error
	err = raw.Control(func(p uintptr) { fd, dup = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, errors.Join(err, dup, c.Close())
}
