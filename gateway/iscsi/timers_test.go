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

// alive says something and tells whether it is answered.
func (r *raw) alive() bool {
	ping := r.bytes(wire.NOPOut{Immediate: true, ITT: r.tag(), TTT: wire.NoTag, CmdSN: r.cmdSN}, nil, nil)
	if _, err := r.conn.Write(ping); err != nil {
		return false
	}
	_, _, err := r.read()
	return err == nil
}

// An initiator that owes data for too long is given up, whatever else it says.
func TestDataTimeout(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg         Config
		unsolicited bool
		protect     byte // refused by the device server while the data is on its way
	}{
		"solicited":        {},
		"not pinged":       {cfg: Config{NOPInterval: -1}},
		"unsolicited":      {unsolicited: true},
		"of a failed task": {unsolicited: true, protect: 0xe0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, tt.cfg, func(t *testing.T, srv *Server, p *pipes, _ func()) {
				r := p.dial(t)
				r.login(func(s *wire.Settings) { s.InitialR2T = !tt.unsolicited })
				r.attention()
				c := r.scsiWrite(0, 16)
				c.Final = !tt.unsolicited
				c.CDB[1] = tt.protect
				begun := time.Now()
				r.pdu(c, nil)
				if !tt.unsolicited {
					r.r2t(c.ITT)
				}
				for r.alive() {
					time.Sleep(3 * time.Second)
				}
				// It is found out when the state is looked at, and ended a little later.
				late := max(DefaultNOPInterval, tt.cfg.interval()) + 3*time.Second
				if got := time.Since(begun); got < DefaultDataTimeout || got > DefaultDataTimeout+late {
					t.Errorf("given up after %v, want %v", got, DefaultDataTimeout)
				}
				synctest.Wait()
				if n := len(srv.Sessions()); n != 0 {
					t.Errorf("%d sessions are left", n)
				}
			})
		})
	}
}

// Data that is slow, and an initiator that may take any time, are waited for.
func TestSlowData(t *testing.T) {
	for _, tt := range []struct {
		timeout time.Duration
		each    time.Duration
	}{{0, DefaultDataTimeout - time.Second}, {-1, 24 * time.Hour}} {
		bubble(t, Config{DataTimeout: tt.timeout, NOPInterval: -1}, func(t *testing.T, _ *Server, p *pipes, _ func()) {
			r := p.dial(t)
			r.login(func(s *wire.Settings) { s.InitialR2T = true })
			r.attention()
			c := r.scsiWrite(0, 16)
			r.pdu(c, nil)
			d := r.r2t(c.ITT)
			for off := range uint32(16) {
				time.Sleep(tt.each)
				r.pdu(wire.DataOut{
					Final: off == 15, LUN: d.LUN, ITT: d.ITT, TTT: d.TTT, DataSN: wire.SerialOf(off), BufferOffset: off * 512,
				}, make([]byte, 512))
			}
			r.good(c.ITT)
			time.Sleep(24 * time.Hour) // nothing is owed any more
			r.ping()
		})
	}
}
