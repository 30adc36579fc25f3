// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"net"

	"golang.org/x/sys/unix"
)

// A client with several connections may give one up, send its requests again over
// another, and newer ones behind them (HAZARDS H4): the kernel's driver does when a
// request takes too long. What it has sent on the first one and is with the device has
// its place before all of that. What was not read yet, because the connection had to
// wait for credits or for the client to take answers, has none, and is not carried out.
//
// With one connection nothing is given up here: where the client comes back, its next
// connection waits for the end of this one (ExportSource.Open).

// givenUp tells whether the client has closed this connection and uses others. It is
// for connections that are behind: what they have read was sent before a close that is
// not seen now. One that has caught up is behind no more.
func (c *conn) givenUp() bool {
	ev := polled(c.nc)
	c.behind = c.tls != nil || ev&unix.POLLIN != 0 // or it is in the memory of TLS
	closed := int16(unix.POLLHUP | unix.POLLERR)
	if _, ok := c.nc.(*net.UnixConn); !ok {
		closed |= unix.POLLRDHUP // a peer that still reads looks alike
	}
	return ev&closed != 0 && c.handle.Others != nil && c.handle.Others()
}
