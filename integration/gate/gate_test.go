// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pathgate/gateway"
)

// What Config writes is what the gateway reads.
func TestConfig(t *testing.T) {
	c := Config{
		Targets:  []Target{{Portals: []string{"127.0.0.1:1", "127.0.0.2:2"}, More: []string{"header-digest: require"}}},
		Timeouts: map[string]string{"failback": "10ms", "command": "3s"},
	}
	got, err := gateway.Parse("config.yaml", []byte(c.yaml("/run/gate")))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Adapters) != 2 || len(got.Targets) != 1 || len(got.Targets[0].Portals) != 2 || got.Targets[0].HeaderDigest != gateway.DigestRequire {
		t.Errorf("got adapters %v, targets %+v", got.Adapters, got.Targets)
	}
	if got.Timeouts.Failback != 10*time.Millisecond || got.Timeouts.Command != 3*time.Second {
		t.Errorf("got timeouts %+v", got.Timeouts)
	}
	if got.State != "/run/gate/state" || got.Control.String() != "unix:/run/gate/control.sock" || got.NBD.Listen[0].String() != "unix:/run/gate/nbd.sock" {
		t.Errorf("got %s, %s, %v", got.State, got.Control, got.NBD.Listen)
	}
}

func TestEvents(t *testing.T) {
	var x Events
	x.add(Event{Seq: 1, Kind: "path-down", Path: "a"})
	mark := x.Mark()
	if mark != 1 {
		t.Fatalf("got mark %d, want 1", mark)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		x.add(Event{Seq: 2, Kind: "failover"})
		x.add(Event{Seq: 3, Kind: "path-down", Path: "b", Attrs: map[string]string{"duration": "3ms"}})
	})
	e := x.Wait(t, mark, 5*time.Second, Kind("path-down"))
	if e.Path != "b" || e.Duration() != 3*time.Millisecond {
		t.Errorf("got %v, want what came after the mark", e)
	}
	wg.Wait()
	if got := x.Since(0, Kind("path-down")); len(got) != 2 {
		t.Errorf("got %v, want both", got)
	}
	if got := x.Since(mark, Kind("path-up")); len(got) != 0 {
		t.Errorf("got %v, want none", got)
	}
}

// gated is a disk in memory whose requests wait while it is held, and fail when it is broken.
type gated struct {
	mu      sync.RWMutex // held by the test
	waiting atomic.Int32
	data    sync.Map
	broken  error
}

func (g *gated) enter() {
	g.waiting.Add(1)
	g.mu.RLock()
	g.waiting.Add(-1)
}

func (g *gated) ReadAt(p []byte, off int64) (int, error) {
	g.enter()
	defer g.mu.RUnlock()
	if b, ok := g.data.Load(off); ok {
		return copy(p, b.([]byte)), g.broken
	}
	return 0, io.ErrUnexpectedEOF
}

func (g *gated) WriteAt(p []byte, off int64) (int, error) {
	g.enter()
	defer g.mu.RUnlock()
	g.data.Store(off, append([]byte(nil), p...))
	return len(p), g.broken
}

func (g *gated) Flush() error { return nil }

// A probe's figures: what was in flight at a moment, and how long that took.
func TestProbe(t *testing.T) {
	g := &gated{}
	p := StartProbe(0, 1<<20, 4, g)
	if !Poll(10*time.Second, func() bool { return p.Done() > 100 }) {
		t.Fatal("the probe does not get going")
	}
	g.mu.Lock()
	if !Poll(10*time.Second, func() bool { return g.waiting.Load() == 4 }) {
		t.Fatal("no worker waits")
	}
	held := time.Now()
	g.mu.Unlock()
	if errs := p.Stop(); len(errs) > 0 {
		t.Fatal(errs)
	}
	if d, n := p.InFlight(held); n != 4 || d <= 0 {
		t.Errorf("%d requests were in flight, the last for %v, want 4", n, d)
	}
	g.broken = errors.New("broken")
	if errs := StartProbe(0, 1<<20, 4, g).Stop(); len(errs) > 4 {
		t.Errorf("%d errors, want workers that end at their first", len(errs))
	}
}

// A probe finds data that are not its own.
func TestProbeVerifies(t *testing.T) {
	p := StartProbe(0, 1<<20, 1, liar{&gated{}})
	p.wg.Wait()
	if errs := p.Stop(); len(errs) != 1 || !strings.Contains(errs[0].Error(), "did not write") {
		t.Errorf("got %v, want one error", errs)
	}
}

type liar struct{ *gated }

func (l liar) ReadAt(p []byte, off int64) (int, error) {
	n, err := l.gated.ReadAt(p, off)
	p[17] ^= 1
	return n, err
}

func TestTail(t *testing.T) {
	if got := tail("abc", 5); got != "abc" {
		t.Errorf("got %q", got)
	}
	if got := tail("abcdef", 2); got != "...\nef" {
		t.Errorf("got %q", got)
	}
}
