// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"testing"
	"time"
)

// The doubt about a slow path ends when for long there is nothing to compare it with.
func TestSlowPathAlone(t *testing.T) {
	var m MarginalRule
	m.fill()
	at := time.Unix(1e9, 0)
	v := vigil{doubt: doubtSlow}
	v.begin(at)
	for s := range 60 {
		if v.lonely(&m, at.Add(time.Duration(s)*time.Second)); v.doubt != doubtSlow || v.passed(&m, at) {
			t.Fatalf("after %d s: %v", s, v.doubt)
		}
	}
	if v.lonely(&m, at.Add(time.Minute)); !v.passed(&m, at) {
		t.Error("it is still doubted after a minute alone")
	}
}
