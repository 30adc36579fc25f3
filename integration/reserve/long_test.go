// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package reserve

import "testing"

// TestLongH06PathLosses: keys are right after each of 20 path losses.
func TestLongH06PathLosses(t *testing.T) { newBed(t).pathLosses(t, 20) }
