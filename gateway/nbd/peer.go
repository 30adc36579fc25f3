// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// peerProcess tells who is at the other end of a unix socket, or nil.
func peerProcess(nc net.Conn) *Process {
	uc, ok := nc.(*net.UnixConn)
	if !ok {
		return nil
	}
	var cred *unix.Ucred
	var err error
	if control(uc, func(fd int) { cred, err = unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return nil
	}
	return &Process{PID: int(cred.Pid), UID: int(cred.Uid)}
}

// peerClosed tells whether the peer sends no more, without reading what it has sent.
func peerClosed(nc net.Conn) bool {
	return polled(nc)&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
}

// polled tells what poll(2) says of the socket of nc; 0 where there is none.
func polled(nc net.Conn) (events int16) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return 0
	}
	err := control(sc, func(fd int) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}}
		if n, err := unix.Poll(fds, 0); err == nil && n > 0 {
			events = fds[0].Revents
		}
	})
	if err != nil {
		return unix.POLLERR // it is closed on this side
	}
	return events
}

// control calls f with the descriptor of sc.
func control(sc syscall.Conn, f func(fd int)) error {
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { f(int(fd)) })
}

// find gives the connection of that number, or nil when it has ended.
func (s *Server) find(number uint64) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.number == number {
			return c
		}
	}
	return nil
}

// End ends a connection, by its Peer.Number, at once: what it has sent and was not read
// is not carried out, and its outstanding requests are aborted. It does not wait; the
// Handle is closed when nothing of it is left.
func (s *Server) End(number uint64) {
	if c := s.find(number); c != nil {
		c.kill()
	}
}

// PeerClosed tells whether the client of a connection has closed it, whether that has
// been read or not, or the connection has ended.
func (s *Server) PeerClosed(number uint64) bool {
	c := s.find(number)
	return c == nil || peerClosed(c.nc)
}
