// SPDX-License-Identifier: Apache-2.0

package netserve

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"
)

const (
	// acceptPauseMin and Max bound the pause after a failed accept: descriptors
	// have run out, and trying again at once would only burn the processor.
	acceptPauseMin = 5 * time.Millisecond
	acceptPauseMax = time.Second
	// acceptRate is how many connections per second a listener takes, beyond acceptBurst:
	// it costs us more to take one than it costs to ask for it.
	acceptRate  = 1000
	acceptBurst = 1000
	// tcpUserTimeout is TCP_USER_TIMEOUT of linux/tcp.h.
	tcpUserTimeout = 0x12
)

// Accept calls start with every connection of ln until ctx ends or ln fails for
// good, and returns the error of that. Whoever ends ctx closes ln, too. After a
// failure that may pass it tells pausing, and goes on after the pause.
func Accept(ctx context.Context, ln net.Listener, start func(net.Conn), pausing func(err error, pause time.Duration)) error {
	pause := acceptPauseMin
	pace := Pace{Rate: acceptRate, Burst: acceptBurst}
	for {
		if wait := pace.Take(time.Now(), 1); wait > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(wait):
			}
		}
		nc, err := ln.Accept()
		if err == nil {
			pause = acceptPauseMin
			start(nc)
			continue
		}
		if ctx.Err() != nil || !passing(err) {
			return err
		}
		pausing(err, pause)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, acceptPauseMax)
	}
}

// passing tells whether a failed accept may work later.
func passing(err error) bool {
	for _, e := range [...]syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.EINTR, syscall.EPROTO, syscall.EPERM,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// SetUserTimeout bounds how long data sent on a TCP connection may stay
// unacknowledged. d not positive, or another kind of connection: nothing is done.
// A kernel that refuses keeps its own bound, which is only longer.
func SetUserTimeout(nc net.Conn, d time.Duration) {
	tc, ok := nc.(*net.TCPConn)
	if !ok || d <= 0 {
		return
	}
	raw, err := tc.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(d.Milliseconds()))
	})
}
