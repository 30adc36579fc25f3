// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// An idle path goes on being checked after it was out of use for a moment.
func TestCheckerGoesOnAfterProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd := newBed(t)
		s := bd.net.server(iqn, portals(1)...)
		l := s.addLUN(1, newMedium(), naa(1))
		bd.start(func(c *Config) { c.Adapters = c.Adapters[:1] })
		defer bd.stop()
		time.Sleep(time.Minute)
		bd.net.with(func() {
			for _, c := range s.conns { // the next check meets it
				l.attn[c.port] = backends.Sense{Valid: true, Key: 6, ASC: 0x29}
			}
		})
		time.Sleep(time.Minute)
		before := bd.net.count(&l.turs)
		time.Sleep(5 * time.Minute)
		if n := bd.net.count(&l.turs) - before; n < 10 {
			t.Errorf("got %d checks in five minutes without I/O, want one in 20 s", n)
		}
	})
}
