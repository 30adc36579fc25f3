// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package thrash

import (
	"testing"
	"time"
)

const (
	longFailovers = 1000
	longLimit     = 8 * time.Minute
)

// TestLongThrash is a thousand faults that cost a path in use: P8, H1, H4, H10, H13.
func TestLongThrash(t *testing.T) {
	*sideFlag = max(*sideFlag, 8)
	first := max(*seedFlag, 1000)
	begin := time.Now()
	rep := thrash(t, first, func(_ int, rep *Report) bool {
		return rep.Failovers() >= longFailovers || time.Since(begin) > longLimit
	})
	if n := rep.Failovers(); n < longFailovers {
		t.Errorf("%d failovers in %v, want %d", n, longLimit, longFailovers)
	}
}

// TestLongLinearizable is TestLinearizable with more rounds.
func TestLongLinearizable(t *testing.T) { linearizable(t, 201, 8) }
