// SPDX-License-Identifier: Apache-2.0

package netserve

import (
	"net"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func TestPace(t *testing.T) {
	p := Pace{Rate: 100, Burst: 10}
	now := time.Unix(1000, 0)
	for i, tt := range []struct {
		after time.Duration
		n     float64
		want  time.Duration
	}{
		{0, 10, 0},
		{0, 1, 10 * time.Millisecond},
		{5 * time.Millisecond, 0, 5 * time.Millisecond},
		{5 * time.Millisecond, 50, 500 * time.Millisecond},
		{time.Hour, 10, 0},
		{10 * time.Millisecond, 1, 0},
	} {
		now = now.Add(tt.after)
		if got := p.Take(now, tt.n); got != tt.want {
			t.Errorf("step %d: wait %v, want %v", i, got, tt.want)
		}
	}
}

// A debt has a bound, and who asks in vain takes nothing.
func TestPaceJoin(t *testing.T) {
	p := Pace{Rate: 10, Burst: 2}
	now := time.Unix(1000, 0)
	type answer struct {
		wait time.Duration
		ok   bool
	}
	for i, want := range []answer{{0, true}, {0, true}, {100 * time.Millisecond, true}, {200 * time.Millisecond, true}, {0, false}, {0, false}} {
		if wait, ok := p.Join(now, 1, 200*time.Millisecond); (answer{wait, ok}) != want {
			t.Errorf("step %d: %v, %v", i, wait, ok)
		}
	}
	if wait, ok := p.Join(now.Add(300*time.Millisecond), 1, 0); wait != 0 || !ok {
		t.Errorf("later: %v, %v", wait, ok)
	}
}

func TestPaces(t *testing.T) {
	p := NewPaces(1, 4, 1000, 3*maxPeers)
	now := time.Unix(1000, 0)
	join := func(peer string) bool {
		_, ok := p.Join(now, peer, time.Second)
		return ok
	}
	for range 100 {
		join("many")
	}
	if join("many") || !join("few") {
		t.Error("one peer uses up what is another's")
	}
	for i := range 10 * maxPeers {
		now = now.Add(time.Millisecond)
		join(strconv.Itoa(i))
	}
	if n := len(p.own); n > maxPeers {
		t.Errorf("%d peers are remembered", n)
	}
	now = now.Add(time.Hour)
	for i := range maxPeers {
		if peer := "later " + strconv.Itoa(i); !join(peer) || p.own[peer] == nil {
			t.Fatalf("%s has no pace of its own, an hour after the others", peer)
		}
	}
	p = NewPaces(1, 4, 1, 10)
	n := 0
	for i := range 100 {
		if join(strconv.Itoa(i)) {
			n++
		}
	}
	if n != 11 {
		t.Errorf("%d of all at once, want 10 and one that waits for a second", n)
	}
}

// P15, B67: connections that come faster than they are worth wait for each other.
func TestB67AcceptPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const all = acceptBurst + 3*acceptRate
		begun := time.Now()
		started := 0
		ln := &failing{errs: make([]error, all)}
		_ = Accept(t.Context(), ln, func(nc net.Conn) {
			started++
			_ = nc.Close()
		}, func(err error, _ time.Duration) { t.Error(err) })
		if got := time.Since(begun); started != all || got < 2900*time.Millisecond || got > 3100*time.Millisecond {
			t.Errorf("%d connections in %v", started, got)
		}
	})
}
