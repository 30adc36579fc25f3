// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package scsi

import "testing"

// TestLongB28MillionRaces is TestB28Races with 10^6 commands.
func TestLongB28MillionRaces(t *testing.T) {
	const sessions = 11200 // of 30 commands, by each of 3 clients
	raceUnits(t, sessions)
}
