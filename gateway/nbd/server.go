// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"pathgate/internal/netserve"
)

// Defaults of Config.
const (
	DefaultHandshakeTimeout = 10 * time.Second
	DefaultDrainTimeout     = 10 * time.Second
	DefaultStopGrace        = 200 * time.Millisecond
	DefaultUserTimeout      = 2 * time.Minute
	DefaultMaxConnections   = 1024
	DefaultMaxPayload       = maxPayloadLimit
	DefaultMaxPending       = 4 << 20
)

// Config is what a Server is made of. Zero fields take the default named.
type Config struct {
	// Exports is required.
	Exports ExportSource
	// HandshakeTimeout bounds the time from accept to the transmission phase, so
	// that half-made connections do not pile up. Waiting in ExportSource.Open
	// does not count. DefaultHandshakeTimeout.
	HandshakeTimeout time.Duration
	// DrainTimeout is how long outstanding requests are served after the stop;
	// then they are aborted. DefaultDrainTimeout.
	DrainTimeout time.Duration
	// StopGrace is how long clients are still listened to after the stop, to be
	// told ESHUTDOWN. DefaultStopGrace.
	StopGrace time.Duration
	// CloseOnStop has what comes after the stop not answered: the connection is closed, and
	// clients that connect again send it once more.
	CloseOnStop bool
	// UserTimeout ends a TCP connection whose peer takes no data for that long
	// (TCP_USER_TIMEOUT). DefaultUserTimeout; negative: the kernel's.
	UserTimeout time.Duration
	// MaxConnections bounds the connections of all listeners together; one more
	// is closed at once. DefaultMaxConnections.
	MaxConnections int
	// MaxPerListener bounds those of each listener. MaxConnections.
	MaxPerListener int
	// MaxPerAddress bounds those from one IP address; a socket in the file system has
	// none. MaxConnections.
	MaxPerAddress int
	// MaxPayload is the longest READ and WRITE, in bytes: at least 1 MiB, at most
	// DefaultMaxPayload.
	MaxPayload uint32
	// MaxPending is how many bytes of replies may wait for a client that does
	// not read before its requests are no longer read. DefaultMaxPending.
	MaxPending int64
	// Logger is told connections and their ends, at a bounded rate; nil: nothing
	// is logged.
	Logger *slog.Logger
}

// Server is an NBD server. Safe for concurrent use. Make it with New.
type Server struct {
	cfg        Config
	log        *netserve.Log
	handshakes *netserve.Paces // of TLS

	mu    sync.Mutex
	conns map[*conn]struct{}
	from  map[netip.Addr]int // connections
	next  uint64             // number of the next connection
}

// New checks cfg and makes a server. Nothing runs until Serve.
func New(cfg Config) (*Server, error) {
	if cfg.Exports == nil {
		return nil, errors.New("nbd server: no export source")
	}
	cfg.HandshakeTimeout = cmp.Or(cfg.HandshakeTimeout, DefaultHandshakeTimeout)
	cfg.DrainTimeout = cmp.Or(cfg.DrainTimeout, DefaultDrainTimeout)
	cfg.StopGrace = cmp.Or(cfg.StopGrace, DefaultStopGrace)
	cfg.UserTimeout = cmp.Or(cfg.UserTimeout, DefaultUserTimeout)
	cfg.MaxConnections = cmp.Or(cfg.MaxConnections, DefaultMaxConnections)
	cfg.MaxPerListener = cmp.Or(cfg.MaxPerListener, cfg.MaxConnections)
	cfg.MaxPerAddress = cmp.Or(cfg.MaxPerAddress, cfg.MaxConnections)
	cfg.MaxPayload = cmp.Or(cfg.MaxPayload, DefaultMaxPayload)
	cfg.MaxPending = cmp.Or(cfg.MaxPending, DefaultMaxPending)
	if cfg.MaxPayload < 1<<20 || cfg.MaxPayload > DefaultMaxPayload {
		return nil, fmt.Errorf("nbd server: maximum payload of %d bytes, want %d to %d", cfg.MaxPayload, 1<<20, DefaultMaxPayload)
	}
	if cfg.HandshakeTimeout < 0 || cfg.DrainTimeout < 0 || cfg.StopGrace < 0 {
		return nil, errors.New("nbd server: negative timeout")
	}
	if cfg.MaxConnections < 0 || cfg.MaxPerListener < 0 || cfg.MaxPerAddress < 0 || cfg.MaxPending < 0 {
		return nil, errors.New("nbd server: negative limit")
	}
	return &Server{
		cfg: cfg, log: netserve.NewLog(cfg.Logger),
		handshakes: netserve.NewPaces(tlsPeerRate, tlsPeerBurst, tlsRate, tlsBurst),
		conns:      make(map[*conn]struct{}), from: make(map[netip.Addr]int),
	}, nil
}

// Connection describes a client for people.
type Connection struct {
	Peer        Peer
	Export      string // "" in the handshake
	Since       time.Time
	Outstanding int   // requests with the device
	Pending     int64 // bytes of replies that the client has not taken
}

// Connections lists the clients, the oldest first.
func (s *Server) Connections() []Connection {
	s.mu.Lock()
	conns := make([]*conn, 0, len(s.conns))
	list := make([]Connection, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	sortConns(conns)
	for _, c := range conns {
		list = append(list, Connection{
			Peer: c.peer, Export: c.export, Since: c.since,
			Outstanding: int(c.outstanding.Load()) - 1, Pending: c.out.Pending(),
		})
	}
	s.mu.Unlock()
	return list
}

// Withdraw ends the use of the export called name: its clients are told
// ESHUTDOWN, outstanding requests are served until ctx ends and aborted then.
// It returns when no connection uses the export any more. The export source
// has to refuse new opens first.
func (s *Server) Withdraw(ctx context.Context, name string) {
	s.mu.Lock()
	var using []*conn
	for c := range s.conns {
		if c.using && c.export == name {
			using = append(using, c)
		}
	}
	s.mu.Unlock()
	for _, c := range using {
		c.stop()
	}
	for _, c := range using {
		select {
		case <-c.done:
		case <-ctx.Done():
			c.kill()
		}
	}
	for _, c := range using {
		<-c.done
	}
}

// admit adds c, unless a cap is reached.
func (s *Server) admit(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) >= s.cfg.MaxConnections || c.from.count >= s.cfg.MaxPerListener {
		return false
	}
	if t, ok := c.nc.RemoteAddr().(*net.TCPAddr); ok {
		c.addr = t.AddrPort().Addr().Unmap().WithZone("")
		if s.from[c.addr] >= s.cfg.MaxPerAddress {
			return false
		}
		s.from[c.addr]++
	}
	c.number = s.next
	c.name()
	s.next++
	c.from.count++
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	c.from.count--
	if c.addr.IsValid() {
		if s.from[c.addr]--; s.from[c.addr] == 0 {
			delete(s.from, c.addr)
		}
	}
	s.mu.Unlock()
	close(c.done)
}

// setExport tells which export c uses, for Withdraw and Connections.
func (s *Server) setExport(c *conn, name string, using bool) {
	s.mu.Lock()
	c.export, c.using = name, using
	s.mu.Unlock()
}
