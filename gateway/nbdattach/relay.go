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
	"time"

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
// tc, and the other way round. The end of one is that of the other. A server that takes
// nothing for that long is lost, as it is for the driver, and what it has not taken is
// discarded: the driver sends it over another connection.
func relay(tc *tls.Conn, patience time.Duration) (net.Conn, error) {
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
		if err := pump(impatient{tc, patience}, near); errors.Is(err, os.ErrDeadlineExceeded) {
			if t, ok := tc.NetConn().(*net.TCPConn); ok {
				_ = t.SetLinger(0)
			}
			tc.NetConn().Close()
		}
		tc.Close() // with a notice, after the driver's DISC if it has sent one
	}()
	go func() {
		_ = pump(near, tc) // the driver tells that a connection is lost
		near.Close()
	}()
	return ends[1], nil
}

// impatient fails a write that takes too long.
type impatient struct {
	net.Conn
	limit time.Duration
}

func (c impatient) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// pump copies until one end fails, or from ends. It hides from io what it would do with a
// socket.
func pump(to io.Writer, from io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, relayBuffer))
	return err
}
