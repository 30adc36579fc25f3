// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package iscsi

import "testing"

// TestLongB28Races is TestB28Races with 10^5 commands and functions; the device
// server below has its own 10^6.
func TestLongB28Races(t *testing.T) {
	const logins = 1750 // of 15 requests, as a mean, by each of 4 clients
	raceSessions(t, logins)
}
