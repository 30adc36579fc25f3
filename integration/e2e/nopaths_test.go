// SPDX-License-Identifier: Apache-2.0

//go:build integration

package e2e

import (
	"errors"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/nbdclient"
	"pathgate/integration/proxy"
)

// cutAll breaks every path, and refuses new connections.
func (b *bed) cutAll(t testing.TB) {
	t.Helper()
	for _, p := range b.proxies {
		p.MustSet(proxy.Fault{Kind: proxy.Refuse})
	}
	for i, p := range b.proxies {
		if p.ResetConns() == 0 {
			t.Errorf("portal %d had no connection", i)
		}
	}
}

func (b *bed) restoreAll() {
	for _, p := range b.proxies {
		p.Clear()
	}
}

// TestAllPathsCutQueue: all paths are cut for 10 s. I/O waits, and goes on.
func TestAllPathsCutQueue(t *testing.T) {
	b := newBed(t, bedOptions{})
	l := b.startStamps(t, 7)
	mark, cut := b.g.Events.Mark(), time.Now()
	b.cutAll(t)
	b.g.Events.Wait(t, mark, 5*time.Second, gate.Kind("all-paths-down"))
	b.g.WaitDevices(t, 5*time.Second, func(ds []gate.Device) bool {
		return len(ds) == 1 && ds[0].State == "all-paths-down" && ds[0].Queued > 0
	})
	<-time.After(time.Until(cut.Add(10 * time.Second)))
	restored := time.Now()
	b.restoreAll()
	e := b.g.Events.Wait(t, mark, 20*time.Second, gate.Kind("paths-restored"))
	l.flow(t)
	flows := time.Since(restored)
	b.settle(t)
	rep := l.finish(t)
	if rep.Stall.Gap < 9*time.Second {
		t.Errorf("longest stall %v, although all paths were cut for 10 s", rep.Stall.Gap)
	}
	t.Logf("measured: all paths cut for 10 s: %s; back %v after the restoration (event: %v without paths)",
		summary(rep), flows.Round(time.Millisecond), e.Duration())
}

// TestAllPathsCutFail: with all-paths-down: fail, requests in flight and new ones
// end with EIO at once; after the restoration they work.
func TestAllPathsCutFail(t *testing.T) {
	b := newBed(t, bedOptions{config: gate.Config{Rules: []string{`{id: "*", all-paths-down: fail, cache: protected}`}}})
	p := b.probed(t)
	mark, cut := b.g.Events.Mark(), time.Now()
	b.cutAll(t)
	b.g.Events.Wait(t, mark, 5*time.Second, gate.Kind("all-paths-down"))
	last, n := p.InFlight(cut)
	errs := p.Stop()
	if len(errs) == 0 {
		t.Error("no request failed")
	}
	for _, err := range errs {
		if !errors.Is(err, nbdclient.EIO) {
			t.Errorf("got %v, want EIO", err)
		}
	}
	c := b.g.Connect(t, "vm1/root")
	begin := time.Now()
	if _, err := c.ReadAt(make([]byte, 4096), 0); !errors.Is(err, nbdclient.EIO) {
		t.Errorf("read without a path: %v, want EIO", err)
	}
	took := time.Since(begin)
	if took > time.Second || last > time.Second {
		t.Errorf("EIO after %v, in flight after %v, want at once", took, last)
	}
	b.restoreAll()
	b.settle(t)
	if _, err := c.WriteAt(make([]byte, 4096), 0); err != nil {
		t.Errorf("write after the restoration: %v", err)
	}
	t.Logf("measured: all-paths-down: fail: %d in flight ended %v after the cut, a new request failed in %v", n, last, took)
}
