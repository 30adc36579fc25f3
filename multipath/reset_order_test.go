// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// Rule 9: of two resets that wait for the same command tgtd answers only the
// later one. So two paths with ghosts reset their LUN one after the other.
func TestResetsOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		bd.net.with(func() {
			l.delay = func(r *backends.Request) time.Duration {
				if r.Op == backends.Write {
					return 700 * time.Millisecond // a reset waits for it
				}
				return time.Millisecond
			}
		})
		var calls []*call
		for i := range 8 {
			calls = append(calls, write(d, uint64(i)*4096, 4096, 1))
		}
		for portal := range bd.net.portals {
			bd.net.reset(portal, "")
		}
		most := 0
		for range 3000 {
			bd.net.with(func() {
				n := 0
				for _, nexus := range bd.net.nexuses {
					n += len(nexus.tmfs)
				}
				most = max(most, n)
			})
			time.Sleep(time.Millisecond)
		}
		mustOK(t, calls...)
		if n := len(bd.events.of(FenceDone)); n < 2 || most != 1 {
			t.Errorf("%d fences, up to %d resets at a time, want several, one by one", n, most)
		}
	})
}
