// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// A read that its target neither answers nor aborts keeps its place in the session for
// no longer than anybody waits for it.
func TestReadWithoutEndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		bd.net.with(func() {
			l.delay = func(r *backends.Request) time.Duration {
				if r.Op == backends.Read && r.Length == 8192 {
					return 24 * time.Hour
				}
				return 0
			}
		})
		slow := read(d, 0, 8192)
		time.Sleep(9 * time.Second) // it is late, and goes on elsewhere
		bd.net.with(func() { l.delay = nil })
		slow.wait()
		for range 120 {
			time.Sleep(time.Second)
			mustOK(t, read(d, 0, 4096))
		}
		for _, p := range bd.m.Paths() {
			if p.Inflight != 0 {
				t.Errorf("%s has %d requests in flight after two minutes", p.Name, p.Inflight)
			}
		}
	})
}

// A ghost that is over and waits for the store does not wake the timer again and again.
func TestQuiescedGhostWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, s, l := oneDisk(t, func(c *Config) {
			c.Rule = func(...string) Rule { return Rule{Quiesce: 2 * time.Second, FenceReset: FenceNever} }
		})
		defer bd.stop()
		d := bd.device()
		gate := make(chan struct{})
		bd.store.mu.Lock()
		bd.store.gate = gate
		bd.store.mu.Unlock()
		bd.net.with(func() { l.swallow = func(*backends.Request) bool { return true } })
		first := write(d, 0, 4096, 1)
		bd.net.with(func() { s.loseAll(backends.LossReset); l.swallow = nil })
		mustOK(t, first)
		second := write(d, 0, 4096, 2)
		time.Sleep(10 * time.Second)
		if second.ended() {
			t.Error("it has overtaken a ghost that the store does not know of")
		}
		close(gate)
		mustOK(t, second)
		mustRead(t, d, 0, 4096, 2)
	})
}
