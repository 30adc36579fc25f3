// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package multipath

import "testing"

// TestLongWireSchedules is TestWireSchedules with ten thousand others.
func TestLongWireSchedules(t *testing.T) { runWire(t, 1_000_000, 10_000) }
