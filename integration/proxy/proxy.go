// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Protocol is what the proxy understands of the bytes.
type Protocol uint8

// Protocols.
const (
	Raw   Protocol = iota // bytes only
	ISCSI                 // PDUs of RFC 7143
)

// Options of one proxy.
type Options struct {
	Listen   string // address to listen on; empty = a free port of 127.0.0.1
	Target   string // address of the target; required
	Protocol Protocol
	Seed     uint64
	// HoldLimit bounds the bytes kept per direction of a connection by Hold,
	// Delay and Rate; then the source is read no more. 0 = 64 MiB.
	HoldLimit int
	// DialTimeout bounds connecting to the target; 0 = 5 s. The client's
	// connection is reset when the target cannot be reached.
	DialTimeout time.Duration
}

// Proxy is a running proxy.
type Proxy struct {
	opts   Options
	ln     *net.TCPListener
	addr   string
	state  atomic.Pointer[state]
	count  counters
	pace   [2]pacer
	ctx    context.Context
	cancel context.CancelFunc
	run    sync.WaitGroup

	mu      sync.Mutex // orders Set and Clear; guards what follows
	conns   map[int]*conn
	last    int // number of the newest connection
	door    door
	records []record
}

// New starts a proxy that runs until Close or the end of ctx.
func New(ctx context.Context, opts Options) (*Proxy, error) {
	if opts.Target == "" {
		return nil, errors.New("proxy: no target address")
	}
	if opts.Listen == "" {
		opts.Listen = "127.0.0.1:0"
	}
	if opts.HoldLimit == 0 {
		opts.HoldLimit = 64 << 20
	}
	if opts.DialTimeout == 0 {
		opts.DialTimeout = 5 * time.Second
	}
	ln, err := listen(opts.Listen)
	if err != nil {
		return nil, fmt.Errorf("proxy for %s: %w", opts.Target, err)
	}
	p := &Proxy{opts: opts, ln: ln, addr: ln.Addr().String(), conns: make(map[int]*conn)}
	p.ctx, p.cancel = context.WithCancel(ctx)
	p.state.Store(&state{changed: make(chan struct{})})
	p.door.open = make(chan struct{})
	close(p.door.open)
	context.AfterFunc(p.ctx, p.shut)
	p.run.Go(p.acceptLoop)
	return p, nil
}

// TB is the part of testing.TB that MustNew needs.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
	Context() context.Context
}

// MustNew is New for tests: it fails the test on an error and closes the proxy
// at the test's end.
func MustNew(t TB, opts Options) *Proxy {
	t.Helper()
	p, err := New(context.WithoutCancel(t.Context()), opts)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// Addr returns the address the proxy listens on.
func (p *Proxy) Addr() string { return p.addr }

// Close resets all connections and returns when every goroutine has ended.
// Closing twice is safe.
func (p *Proxy) Close() error {
	p.cancel()
	p.run.Wait()
	return nil
}

func (p *Proxy) shut() {
	p.ln.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.door.unlock(p.ln)
	for _, c := range p.conns {
		c.abort()
	}
}

// Set puts a fault in force, or performs it if it is of a kind that acts once.
// A fault without Trigger replaces one of the same Kind, Dir and Conn.
func (p *Proxy) Set(f Fault) error {
	if err := f.check(p.opts.Protocol); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.At == nil {
		switch f.Kind {
		case Reset, Drop, HalfClose:
			p.performLocked(f)
			return nil
		case Refuse, Hang:
			return p.door.lock(p, f.Kind)
		default: // stays in force
		}
	}
	p.replaceLocked(func(o *active) bool {
		return f.At == nil && o.At == nil && o.Kind == f.Kind && o.Dir == f.Dir && o.Conn == f.Conn
	}, &active{Fault: f, cleared: make(chan struct{})})
	return nil
}

// MustSet is Set for faults that are written down in a test; it panics on an
// error in them.
func (p *Proxy) MustSet(f Fault) {
	if err := p.Set(f); err != nil {
		panic(err)
	}
}

func (f *Fault) check(proto Protocol) error {
	switch {
	case f.Kind >= kinds:
		return fmt.Errorf("proxy: unknown kind of fault %d", f.Kind)
	case f.Kind == Rate && f.BytesPerSecond <= 0:
		return errors.New("proxy: rate needs BytesPerSecond > 0")
	case f.Kind == Corrupt && f.At == nil && f.MeanBytes <= 0:
		return errors.New("proxy: corrupt needs MeanBytes > 0 or a trigger")
	case f.At == nil:
		return nil
	case f.Kind == Delay, f.Kind == Rate, f.Kind == Refuse, f.Kind == Hang:
		return fmt.Errorf("proxy: %v takes no trigger", f.Kind)
	case f.At.Bytes > 0 && (f.Kind == Corrupt || f.Kind == Duplicate):
		return fmt.Errorf("proxy: %v takes a trigger on PDUs, not on bytes", f.Kind)
	case f.At.Bytes <= 0 && proto != ISCSI:
		return errors.New("proxy: a trigger on PDUs needs protocol iSCSI")
	}
	return nil
}

// performLocked does a fault that acts once on the connections of this moment.
func (p *Proxy) performLocked(f Fault) {
	for id, c := range p.conns {
		if f.Conn != 0 && f.Conn != id {
			continue
		}
		if f.Kind == HalfClose {
			for _, u := range c.pumps {
				if f.Dir == Both || f.Dir == u.dir {
					u.enqueue(item{fault: &active{Fault: f}})
				}
			}
			continue
		}
		c.end(f.Kind)
	}
}

// Clear takes back faults of the given kinds, or all if none is given: held
// bytes go on their way, connections that lost bytes to a black hole are reset,
// and new connections are served again.
func (p *Proxy) Clear(ks ...Kind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	chosen := func(k Kind) bool { return len(ks) == 0 || slices.Contains(ks, k) }
	p.replaceLocked(func(o *active) bool { return chosen(o.Kind) })
	if chosen(BlackHole) {
		for _, c := range p.conns {
			if c.lost.Load() {
				c.abort()
			}
		}
	}
	if chosen(p.door.kind) {
		p.door.unlock(p.ln)
	}
	if chosen(Duplicate) {
		p.records = nil
	}
}

// replaceLocked publishes a state without the faults that gone chooses and
// with the added ones, and only then wakes who waits for the old one.
func (p *Proxy) replaceLocked(gone func(*active) bool, add ...*active) {
	old := p.state.Load()
	next := &state{faults: add, changed: make(chan struct{})}
	var cleared []*active
	for _, f := range old.faults {
		if gone(f) {
			cleared = append(cleared, f)
		} else {
			next.faults = append(next.faults, f)
		}
	}
	p.state.Store(next)
	close(old.changed)
	for _, f := range cleared {
		close(f.cleared)
	}
}

// ResetConns resets every connection on both sides and returns how many.
func (p *Proxy) ResetConns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, c := range p.conns {
		if c.end(Reset) {
			n++
		}
	}
	return n
}

// Newest returns the number of the connection accepted last, 0 before the first.
func (p *Proxy) Newest() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}
