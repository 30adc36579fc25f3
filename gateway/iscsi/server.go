// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	wire "pathgate/internal/iscsi"
	"pathgate/internal/netserve"
)

// Server is an iSCSI target: all portals and sessions of a gateway. Safe for
// concurrent use. Make it with New.
type Server struct {
	cfg Config
	log *netserve.Log

	mu        sync.Mutex
	portals   []*listener
	conns     map[*conn]struct{}
	logins    int // connections that have not logged in
	perAddr   map[netip.Addr]addrCount
	sessions  map[nexusKey]*session
	handles   map[uint16]*session // by TSIH
	lastTSIH  uint16
	rivalries map[nexusKey]rivalry
	paces     map[string]*netserve.Pace // of chores, by target
	next      uint64                    // number of the next connection
}

// addrCount is what comes from one address.
type addrCount struct {
	conns  int
	logins int // of them, those that have not logged in
}

// nexusKey names an I_T nexus: initiator port and target port. Two sessions
// never have the same. RFC 7143 4.4.2 (SCSI Architecture Model).
type nexusKey struct {
	initiator string
	isid      wire.ISID
	target    string
	tag       uint16
}

// New checks cfg and makes a server. Nothing runs until Serve.
func New(cfg Config) (*Server, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	return &Server{
		cfg: cfg, log: netserve.NewLog(cfg.Logger),
		conns: make(map[*conn]struct{}), perAddr: make(map[netip.Addr]addrCount),
		sessions: make(map[nexusKey]*session), handles: make(map[uint16]*session),
		rivalries: make(map[nexusKey]rivalry), paces: make(map[string]*netserve.Pace),
	}, nil
}

// Session describes a session for people.
type Session struct {
	Peer      Peer
	Target    string // "" in a discovery session
	TSIH      uint16
	Since     time.Time
	Params    wire.Params // what was negotiated
	Commands  int         // outstanding
	Window    int         // most commands that may be outstanding
	Pending   int64       // bytes of answers that the initiator has not taken
	Completed uint64      // commands answered since the login
}

// Sessions lists the sessions in full feature phase, the oldest first.
func (s *Server) Sessions() []Session {
	s.mu.Lock()
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		if c.session != nil && !c.session.hasEnded() {
			conns = append(conns, c)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(conns, func(a, b *conn) int { return int(a.number) - int(b.number) })
	list := make([]Session, 0, len(conns))
	for _, c := range conns {
		list = append(list, c.session.describe())
	}
	return list
}

// Withdraw ends the sessions of target: their initiators are asked to log out, and
// at the end of ctx cut off. It returns when none is left. The target source has to
// refuse new ones first.
func (s *Server) Withdraw(ctx context.Context, target string) {
	s.mu.Lock()
	var using []*session
	for key, se := range s.sessions {
		if key.target == target {
			using = append(using, se)
		}
	}
	s.mu.Unlock()
	for _, se := range using {
		se.askLogout()
	}
	for _, se := range using {
		select {
		case <-se.ended:
		case <-ctx.Done():
			se.c.kill(errWithdrawn)
			<-se.ended
		}
	}
}

// admit adds a connection, unless too many are logging in. One that is above
// MaxConnections may come to hear so.
func (s *Server) admit(c *conn) bool {
	addr := addrOf(c.nc.RemoteAddr())
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.perAddr[addr]
	if s.logins >= s.cfg.MaxLogins || n.logins >= s.cfg.MaxLoginsPerAddress {
		return false
	}
	c.surplus = len(s.conns) >= s.cfg.MaxConnections || n.conns >= s.cfg.MaxPerAddress
	s.logins++
	s.perAddr[addr] = addrCount{n.conns + 1, n.logins + 1}
	c.addr, c.number = addr, s.next
	s.next++
	s.conns[c] = struct{}{}
	return true
}

// loggedIn takes c off the count of those that log in. se is nil when it failed.
func (s *Server) loggedIn(c *conn, se *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logins--
	n := s.perAddr[c.addr]
	n.logins--
	s.perAddr[c.addr] = n
	c.session = se
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	n := s.perAddr[c.addr]
	if n.conns--; n.conns == 0 {
		delete(s.perAddr, c.addr)
	} else {
		s.perAddr[c.addr] = n
	}
	s.mu.Unlock()
}

// addrOf gives the address that logins are counted by: connections that have none,
// such as pipes, count as one.
func addrOf(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// addresses gives the places where targets are, for a peer that came to local.
func (s *Server) addresses(local net.Addr) []wire.TargetAddress {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []wire.TargetAddress
	for _, l := range s.portals {
		for _, a := range l.advertised(local) {
			if !slices.Contains(list, a) {
				list = append(list, a)
			}
		}
	}
	return list
}
