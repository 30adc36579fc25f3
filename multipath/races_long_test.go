// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package multipath

import "testing"

// TestLongH14MillionRaces is TestH14Races with 10^6 requests, half of which are
// aborted while they end and sessions are lost.
func TestLongH14MillionRaces(t *testing.T) {
	const each, rounds = 1250, 100
	for range rounds {
		raceRequests(t, each) // with 8 writers
	}
}
