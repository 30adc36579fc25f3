// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	wire "pathgate/internal/iscsi"
)

// B23: two hosts that come with one name and ISID in turn: the quarrel ends, the one that
// is in stays in, and it is told.
func TestB23PingPong(t *testing.T) {
	told := make(chan string, 10)
	b := serve(t, Config{Rival: func(p *Peer, target, other string) {
		told <- p.Initiator + " " + target + " " + other
	}}, newSource().add(t, testTarget, memory(t)))
	r := b.dialFrom(t, "127.0.0.1")
	r.login(nil)
	for i := range rivalAlarm {
		next := b.dialFrom(t, []string{"127.0.0.2", "127.0.0.1"}[i%2])
		next.login(nil)
		r.closed()
		r = next
	}
	late := b.dialFrom(t, "127.0.0.2")
	late.loginPDU(wire.OperationalNegotiation, wire.FullFeaturePhase, late.fast())
	late.refusedWith(wire.LoginServiceUnavailable)
	if got := <-told; !strings.HasPrefix(got, testInitiator+" "+testTarget+" iscsi 127.0.0.1:") {
		t.Errorf("told %q", got)
	}
	r.ping()
	again := b.dialFrom(t, "127.0.0.1") // its own host may come back
	again.login(nil)
	r.closed()
	again.ping()
}

// B23: two hosts with one name and ISID do not throw each other out without end.
func TestB23Rivals(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	now := time.Unix(1000, 0)
	var r rivalry
	for i := range 100 { // a host that comes back to its own session
		if r.claimed(now.Add(time.Duration(i)*time.Second), a, a) {
			t.Fatal("refused its own session")
		}
	}
	old, next := a, b
	for i := range rivalAlarm {
		if r.claimed(now, old, next) {
			t.Fatalf("claim %d refused", i)
		}
		old, next = next, old
		now = now.Add(time.Second)
	}
	for range 10 { // the one that has it keeps it, as long as the other tries
		if !r.claimed(now, old, next) {
			t.Fatal("the quarrel goes on")
		}
		now = now.Add(50 * time.Second)
	}
	now = now.Add(2 * time.Minute)
	if r.claimed(now, old, next) {
		t.Error("refused after a time of peace")
	}
}
