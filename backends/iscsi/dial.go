// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pathgate/backends"
)

// dial connects to portal from the adapter's address or interface.
func (c *Config) dial(ctx context.Context, portal string) (net.Conn, error) {
	if why := c.linkFault(netip.Addr{}); why != "" {
		return nil, lost(backends.LossLocal, "%s", why)
	}
	if c.Dial != nil {
		return c.Dial(ctx, portal)
	}
	d := net.Dialer{Control: c.control, KeepAlive: -1} // NOPs find dead peers
	if c.SourceAddr.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: c.SourceAddr.AsSlice(), Zone: c.SourceAddr.Zone()}
	}
	sock, err := d.DialContext(ctx, "tcp", portal)
	if err == nil {
		return sock, nil
	}
	err = bare(err)
	if c.SourceAddr.IsValid() && lossClass(err) == backends.LossLocal {
		err = fmt.Errorf("from %s: %w", c.SourceAddr, err)
	}
	return nil, err
}

// bare is err without what package net puts before it: the call and both addresses.
// Who tells of err names the portal.
func bare(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	if sys, ok := errors.AsType[*os.SyscallError](err); ok {
		err = sys.Err
	}
	return err
}

// maxUnsent is how many bytes that TCP may not send yet the kernel takes. What is
// behind them waits in our queue, where urgent PDUs overtake it and an abort takes
// it out.
const maxUnsent = 256 << 10

// control sets the options of a socket before it connects. TCP_NODELAY is Go's
// default. Unsent or unacknowledged bytes may not wait longer than a NOP would.
func (c *Config) control(_, _ string, raw syscall.RawConn) error {
	var err error
	patience := (c.Timeouts.NOPInterval + c.Timeouts.NOPTimeout) / time.Millisecond
	cerr := raw.Control(func(fd uintptr) {
		if err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(patience)); err != nil {
			return
		}
		if err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent); err != nil {
			return
		}
		if c.Interface != "" {
			err = unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, c.Interface)
			if err != nil {
				err = &lossError{backends.LossLocal, fmt.Errorf("bind to interface %s: %w", c.Interface, err)}
			}
		}
	})
	return errors.Join(cerr, err)
}

// lossClass sorts the end of a session, or of an attempt to log in.
func lossClass(err error) backends.LossClass {
	var l *lossError
	switch {
	case errors.As(err, &l):
		return l.class
	case isProtocol(err):
		return backends.LossProtocol
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.ENETDOWN), errors.Is(err, syscall.ENODEV):
		return backends.LossLocal
	case errors.Is(err, syscall.ETIMEDOUT):
		return backends.LossSilent
	}
	return backends.LossReset
}
