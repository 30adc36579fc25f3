// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	wire "pathgate/internal/iscsi"
)

// pipes is a listener of connections without a descriptor.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func (p *pipes) dial(t *testing.T) *raw {
	near, far := net.Pipe()
	p.conns <- near
	r := newRaw(t, far)
	_ = far.SetDeadline(time.Time{})
	return r
}

// bubble runs a server on pipes in a synctest bubble, where timers are exact.
func bubble(t *testing.T, cfg Config, f func(t *testing.T, srv *Server, p *pipes, stop func())) {
	synctest.Test(t, func(t *testing.T) {
		cfg.Targets = newSource().add(t, testTarget, memory(t))
		srv, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- srv.Serve(ctx, p, Portal{GroupTag: 1}) }()
		f(t, srv, p, cancel)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestB16LoginTimeout(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, _ *Server, p *pipes, _ func()) {
		r := p.dial(t)
		begun := time.Now()
		head := r.bytes(wire.LoginRequest{CurrentStage: wire.OperationalNegotiation, ITT: 7}, nil, r.fast().Append(nil))
		for i := range 14 { // a byte a second
			r.write(head[i : i+1])
			time.Sleep(time.Second)
		}
		r.closed()
		if got := time.Since(begun); got != DefaultLoginTimeout {
			t.Errorf("closed after %v, want %v", got, DefaultLoginTimeout)
		}
	})
}

// A silent initiator is pinged, and given up when it does not answer; one that says
// anything is not.
func TestPings(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, srv *Server, p *pipes, _ func()) {
		r := p.dial(t)
		r.login(nil)
		for range 3 { // it answers
			begun := time.Now()
			h, _ := r.expect(wire.OpNOPIn)
			if h.ITT() != wire.NoTag || h.TTT() == wire.NoTag {
				t.Fatalf("not a ping: %x", *h)
			}
			if got := time.Since(begun); got < DefaultNOPInterval || got > 2*DefaultNOPInterval+DefaultNOPTimeout {
				t.Errorf("pinged after %v", got)
			}
			time.Sleep(DefaultNOPTimeout - time.Second)
			r.pdu(wire.NOPOut{Immediate: true, ITT: wire.NoTag, TTT: h.TTT(), CmdSN: r.cmdSN}, nil)
		}
		for range 20 { // it is busy, and never pinged
			time.Sleep(DefaultNOPInterval - time.Second)
			r.ping()
		}
		r.expect(wire.OpNOPIn)
		begun := time.Now()
		r.closed()
		if got := time.Since(begun); got != DefaultNOPTimeout+lastChance {
			t.Errorf("given up %v after the ping, want %v", got, DefaultNOPTimeout+lastChance)
		}
		synctest.Wait()
		if n := len(srv.Sessions()); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
}

func TestNoPings(t *testing.T) {
	bubble(t, Config{NOPInterval: -1}, func(t *testing.T, _ *Server, p *pipes, _ func()) {
		r := p.dial(t)
		r.login(nil)
		time.Sleep(24 * time.Hour)
		r.ping()
	})
}

// A discovery session that stays is ended.
func TestIdleDiscovery(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, _ *Server, p *pipes, _ func()) {
		r := p.dial(t)
		r.discover()
		begun := time.Now()
		r.closed()
		if got := time.Since(begun); got > 2*DefaultNOPInterval+lastChance {
			t.Errorf("ended after %v", got)
		}
	})
}

// The drain gives initiators its time, and no more.
func TestDrainTimeout(t *testing.T) {
	bubble(t, Config{NOPInterval: -1}, func(t *testing.T, _ *Server, p *pipes, stop func()) {
		r := p.dial(t)
		r.login(nil)
		begun := time.Now()
		stop()
		r.expect(wire.OpAsyncMessage)
		time.Sleep(DefaultDrainTimeout - time.Second)
		r.ping()
		r.closed()
		if got := time.Since(begun); got != DefaultDrainTimeout {
			t.Errorf("ended after %v, want %v", got, DefaultDrainTimeout)
		}
	})
}
