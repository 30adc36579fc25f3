// SPDX-License-Identifier: Apache-2.0

//go:build integration

package alua

import (
	"testing"

	"pathgate/integration/lio"
)

// useNonOptimized: with use-non-optimized requests go over the optimized and the
// non-optimized group together, without it over the optimized one alone; a standby
// group carries none in either case (RT-6).
func useNonOptimized(t *testing.T, a *array) {
	a.access(t, lio.AccessImplicit)
	a.set(t, lio.ActiveOptimized, lio.ActiveNonOptimized)
	g := a.gateway(t, "{"+queue+", failback: immediate, selector: {name: round-robin, use-non-optimized: true}}", nil)
	l := startLoad(t, g, a.proxies)
	both := func() {
		t.Helper()
		used(t, g, "0", "1")
		a.busy(t, 0, 20)
		a.busy(t, 1, 20)
		for i := range a.proxies { // over both, in the same time
			from := a.data(i)
			a.busy(t, 1-i, 50)
			if n := a.data(i) - from; n < 10*512 {
				t.Errorf("%d bytes of data over group %d", n, i)
			}
		}
	}
	only := func(i int) {
		t.Helper()
		used(t, g, string(rune('0'+i)))
		a.silent(t, g, 1-i)
	}
	both()
	a.set(t, lio.Standby, lio.ActiveNonOptimized)
	only(1)
	a.set(t, lio.ActiveOptimized, lio.ActiveNonOptimized)
	both()
	g.MustCLI(t, "device", "set", "vmhba0:0:0", "--use-non-optimized", "false")
	only(0)
	g.MustCLI(t, "device", "set", "vmhba0:0:0", "--use-non-optimized", "true")
	both()
	l.stop(t)
}
