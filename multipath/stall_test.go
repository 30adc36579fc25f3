// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// P16: a command that is found to be over its deadline by a timer that fired late is
// given the time that its answer may need in the socket; without a stall it is late.
func TestP16OwnStall(t *testing.T) {
	for _, stalled := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			bd, _, l := oneDisk(t, nil)
			defer bd.stop()
			first := 10 * time.Second
			bd.net.with(func() {
				l.delay = func(*backends.Request) (d time.Duration) {
					d, first = first, 0
					return d
				}
			})
			d := bd.device()
			c := read(d, 0, 4096)
			time.Sleep(7 * time.Second)
			synctest.Wait()
			now := time.Now().Add(1100 * time.Millisecond) // 100 ms over
			planned := now
			if stalled {
				planned = now.Add(-stallAfter - time.Millisecond)
			}
			var b backends.Batch
			d.tick(&b, now, planned)
			b.Run()
			if got := len(bd.events.of(PathSlow)); (got == 0) != stalled {
				t.Errorf("stalled %v: %d paths found slow", stalled, got)
			}
			time.Sleep(1500 * time.Millisecond)
			if got := len(bd.events.of(PathSlow)); got == 0 {
				t.Errorf("stalled %v: the command is never late", stalled)
			}
			mustOK(t, c)
			c.r.Data.Release()
		})
	}
}
