// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package shares

import (
	"testing"
	"time"
)

// Row 24 at its full length: 2000 for 63.2 s, then 100.
func TestLongPeak(t *testing.T) { peak(t, time.Minute) }
