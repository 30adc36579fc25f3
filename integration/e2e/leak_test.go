// SPDX-License-Identifier: Apache-2.0

//go:build integration

package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/nbdclient"
	"pathgate/integration/proxy"
)

// TestNothingGrows: again and again a client comes, writes, a portal's connections
// are reset, the paths come back, the client goes. Neither descriptors nor
// goroutines are more at the end than they were when the gateway had done that once.
func TestNothingGrows(t *testing.T) { nothingGrows(t, 10) }

func nothingGrows(t *testing.T, cycles int) {
	fds, before := leakRun(t, 1)
	fdsAfter, after := leakRun(t, cycles)
	if fdsAfter > fds {
		t.Errorf("%d descriptors after %d cycles, %d after one", fdsAfter, cycles, fds)
	}
	if len(after) > len(before) {
		t.Errorf("%d goroutines after %d cycles, %d after one:\n%s", len(after), cycles, len(before), strings.Join(after, "\n\n"))
	}
	t.Logf("measured: after 1 and %d cycles: %d and %d descriptors, %d and %d goroutines", cycles, fds, fdsAfter, len(before), len(after))
}

// ours are the goroutines that run code of the gateway. The runtime starts some of
// its own when it likes, and the control API has one per connection.
func ours(stacks []string) []string {
	return slices.DeleteFunc(stacks, func(s string) bool {
		return !strings.Contains(s, "pathgate/") || strings.Contains(s, "net/http.")
	})
}

// leakRun does that so many times, and counts what is left at rest.
func leakRun(t *testing.T, cycles int) (fds int, stacks []string) {
	t.Helper()
	b := newBed(t, bedOptions{config: gate.Config{Timeouts: map[string]string{"failback": "10ms"}}})
	for n := range cycles {
		c, err := nbdclient.Connect(t.Context(), nbdclient.Config{Addr: b.g.NBD(), Export: "vm1/root"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.WriteAt(block(byte(n)), int64(n)*mib); err != nil {
			t.Fatal(err)
		}
		i := n % 2
		paths, mark := b.behind(t, i), b.g.Events.Mark()
		if b.proxies[i].ResetConns() == 0 {
			t.Fatal("nothing was reset")
		}
		b.lost(t, mark, paths, 5*time.Second)
		if _, err := c.ReadAt(make([]byte, 4096), 0); err != nil {
			t.Fatal(err)
		}
		b.g.WaitPaths(t, 20*time.Second, func(ps []gate.Path) bool {
			return !slices.ContainsFunc(ps, func(p gate.Path) bool { return p.Health != "up" && p.Health != "marginal" || p.Ghosts > 0 })
		})
		if n%2 == 0 {
			err = c.Disconnect(t.Context())
		} else {
			err = c.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b.g.WaitDisks(t, 5*time.Second, func(ds []gate.Disk) bool { return ds[0].Connections == 0 })
	for i, p := range b.proxies {
		if err := p.Wait(func(c proxy.Counters) bool { return c.Active == 2 }, 5*time.Second); err != nil {
			t.Errorf("portal %d: want 2 connections: %v", i, err)
		}
	}
	// What a request to the control socket needs is gone a moment after it.
	gate.Poll(2*time.Second, func() bool {
		n, err := b.g.FDs()
		if err != nil {
			t.Fatal(err)
		}
		fds, n = n, fds
		return fds == n
	})
	stacks, err := b.g.Goroutines()
	if err != nil {
		t.Fatal(err)
	}
	return fds, ours(stacks)
}
