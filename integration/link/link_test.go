// SPDX-License-Identifier: Apache-2.0

//go:build integration

package link

import (
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/stamp"
)

// probe keeps requests in flight over 4 connections.
func (b *bed) probe(t testing.TB) *gate.Probe {
	t.Helper()
	var clients []stamp.Target
	for range 4 {
		clients = append(clients, b.g.Connect(t, "vm1/root"))
	}
	p := gate.StartProbe(0, 32*mib, 16, clients...)
	t.Cleanup(func() { p.Stop() })
	if !gate.Poll(20*time.Second, func() bool { return p.Done() > 500 }) {
		t.Fatal("the probe does not get going")
	}
	return p
}

// TestP16LinkLoss: an adapter's interface goes down, loses its carrier, or its
// address. Its paths are down before any timer could have told, as the adapter's
// loss; requests go on over the other adapter; when it is back, so are the paths.
func TestP16LinkLoss(t *testing.T) {
	b := newBed(t, gate.Config{}, near(0), "10.99.1.1")
	p := b.probe(t)
	for _, c := range []struct {
		name, adapter string
		cut, mend     func()
	}{
		{"interface down", "vmhba0", func() { setLink(t, near(0), false) }, func() { setLink(t, near(0), true) }},
		{
			"no carrier", "vmhba0",
			func() { b.there(t, "ip", "link", "set", far(0), "down") },
			func() { b.there(t, "ip", "link", "set", far(0), "up") },
		},
		{
			"address removed", "vmhba1",
			func() { run(t, "ip", "addr", "del", "10.99.1.1/24", "dev", near(1)) },
			func() { run(t, "ip", "addr", "add", "10.99.1.1/24", "dev", near(1)) },
		},
		{"interface of the address down", "vmhba1", func() { setLink(t, near(1), false) }, func() { setLink(t, near(1), true) }},
	} {
		mark := b.g.Events.Mark()
		at := time.Now()
		c.cut()
		list := b.waitDown(t, mark, c.adapter)
		for _, e := range list {
			// What TCP or a NOP-Out finds out is told as another loss.
			if e.Attrs["loss"] != "adapter down" {
				t.Errorf("%s: %v", c.name, e)
			}
		}
		done := p.Done()
		if !gate.Poll(10*time.Second, func() bool { return p.Done() > done+200 }) {
			t.Fatalf("%s: requests do not go on", c.name)
		}
		// PA-8: what the two have in common is told, once.
		what := "adapter " + c.adapter
		lost := func(e gate.Event) bool { return e.Kind == "component-lost" && e.Message == what+" lost: 2 paths" }
		b.g.Events.Wait(t, mark, 10*time.Second, lost)
		b.g.WaitPaths(t, 10*time.Second, func(ps []gate.Path) bool {
			return count(ps, func(p gate.Path) bool { return strings.HasPrefix(p.Reason, what+": ") }) == 2
		})
		ps := b.g.Paths(t)
		if n := count(ps, func(p gate.Path) bool { return over(c.adapter)(p) && p.Health == "down" }); n != 2 {
			t.Errorf("%s: %d paths are down: %+v", c.name, n, ps)
		}
		tries := len(b.g.Events.Since(mark, gate.Kind("session-down")))
		c.mend()
		back := time.Now()
		b.g.WaitUp(t, 4, 20*time.Second)
		b.g.Events.Wait(t, mark, 10*time.Second, func(e gate.Event) bool {
			return e.Kind == "component-back" && strings.HasPrefix(e.Message, what+" back: ")
		})
		if list := b.g.Events.Since(mark, gate.Kind("component-lost")); len(list) != 1 {
			t.Errorf("%s: told %v", c.name, list)
		}
		if tries > 2 {
			t.Errorf("%s: %d attempts to log in were told while there was no link", c.name, tries)
		}
		t.Logf("measured: %s: known after %v, all paths up %v after it was back", c.name, list[0].Time.Sub(at), time.Since(back))
		if log := b.g.Log(); strings.Contains(log, "network interfaces are not seen") {
			t.Fatal("netlink does not work here")
		}
		if got := b.g.Events.Since(mark, gate.Kind("all-paths-down")); len(got) > 0 {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if errs := p.Stop(); len(errs) > 0 {
		t.Errorf("%d requests failed: %v", len(errs), errs[0])
	}
}
