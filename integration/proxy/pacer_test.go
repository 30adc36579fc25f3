// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"testing"
	"time"
)

// The rate is that of a clock, not of the writers' timers: who is late does not push
// the others back, and who had nothing to send gets no credit for that.
func TestPacer(t *testing.T) {
	const ms = time.Millisecond
	var p pacer
	begin := time.Unix(1000, 0)
	for _, tt := range []struct {
		name     string
		at, want time.Duration // since begin; 10 bytes take 10 ms
		gone     time.Duration // when it really went; 0: in time
	}{
		{"the first", 1 * ms, 11 * ms, 0},
		{"behind it", 5 * ms, 21 * ms, 0},
		{"after an idle time", 40 * ms, 50 * ms, 57 * ms},
		{"in answer to what went late", 58 * ms, 61 * ms, 0},
		{"idle again", 80 * ms, 90 * ms, 102 * ms},
		{"when lateness is over", 114 * ms, 124 * ms, 224 * ms},
		{"after a halt, of which a part counts", 224 * ms, 184 * ms, 224 * ms},
		{"and the next", 224 * ms, 194 * ms, 0},
	} {
		got := p.reserve(begin.Add(tt.at), 10, 1000)
		if d := got.Sub(begin); d != tt.want {
			t.Errorf("%s: may go at %v, want %v", tt.name, d, tt.want)
		}
		if tt.gone == 0 {
			tt.gone = tt.want
		}
		p.gone(got, begin.Add(tt.gone))
	}
}
