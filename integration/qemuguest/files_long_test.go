// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package qemuguest

import (
	"testing"

	"pathgate/integration/proxy"
)

// TestLongGuestOnNBD: TestGuestUnderPathCuts over the other front-end.
func TestLongGuestOnNBD(t *testing.T) { filesUnderPathCuts(t, "nbd", func(*bed) {}) }

// TestLongGuestBehindBlackHole: the connection of QEMU goes silent while the guest
// writes. QEMU gives it up by its pings, and loses nothing.
func TestLongGuestBehindBlackHole(t *testing.T) {
	s := newStamps(t, options{}, func(b *bed) []string { return b.attach(t, "iscsi") })
	s.front.MustSet(proxy.Fault{Kind: proxy.BlackHole, Conn: 1})
	if err := s.front.Wait(func(c proxy.Counters) bool { return c.Fault(proxy.BlackHole).Bytes > 0 && c.Connections > 1 }, limit); err != nil {
		t.Fatalf("QEMU does not come back: %v", err)
	}
	s.flow(t)
	s.front.Clear()
	s.end(t)
}
