// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"pathgate/gateway/nbd"
)

// leaveGrace is how long requests of an NBD client that has left may take to end by
// themselves when the next one waits for them.
const leaveGrace = time.Second

// MultiConn says whether NBD clients may use a disk over several connections at once.
type MultiConn string

// With MultiConnAuto, the default, clients on this host may: that one of them has closed
// a connection is seen at once. With MultiConnNever a connection of the same client
// takes the place of its older one.
const (
	MultiConnAuto   MultiConn = "auto"
	MultiConnAlways MultiConn = "always"
	MultiConnNever  MultiConn = "never"
)

// single tells whether a client like p has one connection only.
func (m MultiConn) single(p *nbd.Peer) bool {
	return m == MultiConnNever || m == MultiConnAuto && !onThisHost(p)
}

// onThisHost tells whether p needs no network to come here.
func onThisHost(p *nbd.Peer) bool {
	remote := netAddr(p.Remote)
	return !remote.IsValid() || remote.IsLoopback() || remote == netAddr(p.Local)
}

func netAddr(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// nbdClient tells who p is: the name in its certificate, else the process behind a unix
// socket, else the address that it comes from. What can not be told apart from others is
// a client of its own.
func nbdClient(p *nbd.Peer) clientID {
	if name := clientName(p); name != "" {
		return clientID{"nbd tls " + name, "NBD client " + name}
	}
	if a := netAddr(p.Remote); a.IsValid() {
		return clientID{"nbd addr " + a.String(), "NBD client at " + a.String()}
	}
	if c := p.Process; c != nil && c.PID > 0 {
		if start, comm, ok := processStart(c.PID); ok {
			return clientID{
				fmt.Sprintf("nbd pid %d %s", c.PID, start),
				fmt.Sprintf("process %d (%s) of uid %d over NBD", c.PID, comm, c.UID),
			}
		}
	}
	return clientID{fmt.Sprintf("nbd conn %d", p.Number), p.Connection}
}

// processStart gives when a process began, in clock ticks since the boot, so that
// another one with its number is not taken for it, and its name. proc_pid_stat(5).
func processStart(pid int) (start, comm string, ok bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", "", false
	}
	from, to := strings.IndexByte(string(b), '('), strings.LastIndexByte(string(b), ')')
	if from < 0 || to < from {
		return "", "", false
	}
	const startTime = 22 - 3 // fields behind the name are counted from 3
	rest := strings.Fields(string(b[to+1:]))
	if len(rest) <= startTime {
		return "", "", false
	}
	comm = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return '?'
		}
		return r
	}, string(b[from+1:to]))
	return rest[startTime], comm, true
}

// own has peer own the disk, as far as its clients are to. It may wait for the end of
// what came before.
func (x *exports) own(ctx context.Context, d *servedDisk, peer *nbd.Peer) (*use, error) {
	u := &use{
		client: nbdClient(peer), session: peer.Connection, single: d.cfg.MultiConn.single(peer),
		cut:    func() { x.nbd.End(peer.Number) },
		closed: func() bool { return x.nbd.PeerClosed(peer.Number) },
	}
	err := d.own.enter(ctx, u, leaveGrace, x.cfg.NBD.OpenWait)
	if err != nil {
		err = fmt.Errorf("%w: %w", nbd.ErrNotPermitted, err)
	}
	return u, err
}
