// SPDX-License-Identifier: Apache-2.0

package control

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// Options are the bounds of a Server. Zero fields take the defaults.
type Options struct {
	// Log is told of changes and of what goes wrong; nil: nothing is logged.
	Log *slog.Logger
	// Heartbeat is how often an event stream shows that it lives; default 15 s.
	Heartbeat time.Duration
	// ReadTimeout bounds the receipt of a request with its body; default 5 s.
	ReadTimeout time.Duration
	// WriteTimeout bounds the sending of an answer, in an event stream that of one
	// event; default 10 s. A client that does not read longer than that is cut off.
	WriteTimeout time.Duration
	// Drain bounds how long a stop waits for answers under way; default 2 s.
	Drain time.Duration
	// MaxBody is the largest body of a request in bytes; default 4096.
	MaxBody int64
	// MaxConns bounds the connections, default 256; one more is closed at once.
	// MaxFollowers bounds the event streams among them, default 64.
	MaxConns, MaxFollowers int
}

func (o *Options) defaults() {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Heartbeat = cmp.Or(o.Heartbeat, 15*time.Second)
	o.ReadTimeout = cmp.Or(o.ReadTimeout, 5*time.Second)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 10*time.Second)
	o.Drain = cmp.Or(o.Drain, 2*time.Second)
	o.MaxBody = cmp.Or(o.MaxBody, 4096)
	o.MaxConns = cmp.Or(o.MaxConns, 256)
	o.MaxFollowers = cmp.Or(o.MaxFollowers, 64)
}

const (
	maxHeader   = 16 << 10 // bytes of a request's header
	idleTimeout = time.Minute
)

// Server answers the API for one Source.
type Server struct {
	src       Source
	shares    ShareSource    // src, too; nil: it has none
	operator  OperatorSource // likewise
	opt       Options
	run       string        // differs from run to run
	followers chan struct{} // one token for each event stream
	handler   http.Handler

	// lastPath is held from the look whether a path is the last usable one until it is
	// out of use, so that two at once cannot take the last two.
	lastPath sync.Mutex
}

// NewServer makes a server; it does nothing before Serve. One server stands for one
// run of a gateway: a client that has seen events of another one is told apart.
func NewServer(src Source, o Options) *Server {
	o.defaults()
	s := &Server{src: src, opt: o, run: rand.Text(), followers: make(chan struct{}, o.MaxFollowers)}
	s.shares, _ = src.(ShareSource)
	s.operator, _ = src.(OperatorSource)
	s.handler = s.routes()
	return s
}

// Serve answers clients at ln, which it closes, until ctx ends; then event streams
// are sent what has happened up to then and are ended, other answers are finished,
// both within Options.Drain, and Serve returns nil. An error tells that ln failed.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	var conns sync.WaitGroup // their goroutines, which may outlive the sockets
	h := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: s.opt.ReadTimeout,
		ReadTimeout:       s.opt.ReadTimeout,
		WriteTimeout:      s.opt.WriteTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return running },
		ConnContext:       withPeer,
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				conns.Add(1)
			case http.StateClosed:
				conns.Done()
			default: // between the two
			}
		},
		ErrorLog: slog.NewLogLogger(s.opt.Log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- h.Serve(&limitListener{Listener: ln, slots: make(chan struct{}, s.opt.MaxConns)}) }()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		failed <- nil // Serve has ended already
		err = fmt.Errorf("control: accept at %s: %w", ln.Addr(), err)
	}
	stop()
	drain, cancel := context.WithTimeout(context.Background(), s.opt.Drain)
	defer cancel()
	if h.Shutdown(drain) != nil {
		h.Close()
	}
	<-failed
	conns.Wait()
	return err
}

// version is that of the Source with what the server knows.
func (s *Server) version() Version {
	v := s.src.Version()
	v.API, v.Run, v.PID = APIVersion, s.run, os.Getpid()
	return v
}
