// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"testing"
	"time"
)

// The rate is that of a clock, not of the writers' timers: who is late a little does
// not push the others back, who had nothing to send for long gets no credit.
func TestPacer(t *testing.T) {
	var p pacer
	begin := time.Unix(1000, 0)
	for _, tt := range []struct {
		name      string
		now, want time.Duration // since begin
	}{
		{"the first", 0, 10 * time.Millisecond},
		{"behind it", 0, 20 * time.Millisecond},
		{"in time", 20 * time.Millisecond, 30 * time.Millisecond},
		{"late", 37 * time.Millisecond, 40 * time.Millisecond},
		{"late by the most that counts", 90 * time.Millisecond, 50 * time.Millisecond},
		{"in between", 91 * time.Millisecond, 60 * time.Millisecond},
		{"idle", 111 * time.Millisecond, 121 * time.Millisecond},
	} {
		if got := p.reserve(begin.Add(tt.now), 10, 1000).Sub(begin); got != tt.want {
			t.Errorf("%s: may go at %v, want %v", tt.name, got, tt.want)
		}
	}
}
