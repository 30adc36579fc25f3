// SPDX-License-Identifier: Apache-2.0

package netserve

import (
	"net"
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
