// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package nbdtools

import (
	"testing"
	"time"
)

// TestLongFIOUnderCuts is TestFIOUnderCuts with more cuts, in another order.
func TestLongFIOUnderCuts(t *testing.T) {
	verifyUnderCuts(t, 15*time.Second, 2, shuffled(3, 2))
}
