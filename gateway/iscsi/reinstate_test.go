// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"net/netip"
	"testing"
	"time"
)

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
