// SPDX-License-Identifier: Apache-2.0

package nbdattach

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// relayBuffer is what a connection's relay keeps for each direction, in bytes: some
// requests of the driver, which begins with 128 KiB each.
const relayBuffer = 256 << 10

// startTLS begins TLS on a new connection. Options follow on what it gives.
func startTLS(ctx context.Context, nc net.Conn, address string, cfg *tls.Config) (*tls.Conn, error) {
	flags, err := greeting(nc)
	if err != nil {
		return nil, err
	}
	out := binary.BigEndian.AppendUint32(nil, uint32(flags))
	if _, err := nc.Write(appendOption(out, optStartTLS, nil)); err != nil {
		return nil, err
	}
	switch t, text, err := optionReply(nc, optStartTLS); {
	case err != nil:
		return nil, err
	case t >= repError:
		return nil, fmt.Errorf("begin TLS: %w", refusal(t, text))
	case t != repAck:
		return nil, fmt.Errorf("%w: option reply %d", errProtocol, t)
	}
	cfg = cfg.Clone()
	if cfg.ServerName == "" {
		if strings.HasPrefix(address, "unix:") {
			return nil, errors.New("begin TLS: what is the server's name? A unix socket has none")
		}
		if cfg.ServerName, _, err = net.SplitHostPort(address); err != nil {
			return nil, err
		}
	}
	tc := tls.Client(nc, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return tc, nil
}

// relay gives a socket for the driver, which speaks no TLS: what goes in comes out of
// tc, and the other way round. The end of one is that of the other.
func relay(tc *tls.Conn) (net.Conn, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "relay")
		c, ferr := net.FileConn(f)
		ends[i], err = c, errors.Join(err, ferr, f.Close())
	}
	if err != nil {
		for _, c := range ends {
			if c != nil {
				c.Close()
			}
		}
		return nil, err
	}
	near := ends[0]
	go func() {
		pump(tc, near)
		_ = tc.CloseWrite() // after the driver's DISC, if it has sent one
		tc.Close()
	}()
	go func() {
		pump(near, tc)
		near.Close()
	}()
	return ends[1], nil
}

// pump copies until one end fails, and hides from io what it would do with a socket.
func pump(to io.Writer, from io.Reader) {
	_, _ = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, relayBuffer))
}
