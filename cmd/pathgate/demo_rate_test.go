// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestRateIsExact: three that always want the link get its rate together, to the
// chunk, in each second and however late they wake up.
func TestRateIsExact(t *testing.T) {
	const perSecond, seconds = 1_000_000, 20
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	l := newRate(perSecond)
	begin := time.Unix(1000, 0)
	var wakes [3]time.Time // when each comes for its next chunk
	for i := range wakes {
		wakes[i] = begin
	}
	var passed [seconds]int
	for {
		who := 0
		for i := range wakes {
			if wakes[i].Before(wakes[who]) {
				who = i
			}
		}
		now := wakes[who]
		n := 1 + random.IntN(l.chunk())
		across := l.take(now, n)
		if across.Before(now.Add(-rateSlack)) {
			t.Fatalf("at %v a chunk is across at %v, earlier than the slack allows", now, across)
		}
		second := int(across.Sub(begin) / time.Second)
		if second >= seconds {
			break
		}
		if across.After(begin) {
			passed[second] += n
		}
		// Later than the chunks of the two others take: the link lies idle between.
		wakes[who] = across.Add(time.Duration(random.IntN(int(20 * time.Millisecond))))
		if wakes[who].Before(now) {
			wakes[who] = now
		}
	}
	for i, n := range passed {
		if off := n - perSecond; off < -l.chunk() || off > l.chunk() {
			t.Errorf("second %d: %d bytes, want %d within a chunk of %d", i, n, perSecond, l.chunk())
		}
	}
}

// TestRateForgetsIdleTime: a link that nobody wanted for a minute gives its slack, no
// more.
func TestRateForgetsIdleTime(t *testing.T) {
	l := newRate(1000)
	now := time.Unix(1000, 0)
	first := l.take(now, 1000)
	if want := now.Add(time.Second - rateSlack); !first.Equal(want) {
		t.Errorf("the first second's bytes are across at %v, want %v", first, want)
	}
	now = now.Add(time.Minute)
	if got, want := l.take(now, 1000), now.Add(time.Second-rateSlack); !got.Equal(want) {
		t.Errorf("after a minute: %v, want %v", got, want)
	}
	if got, want := l.take(now, 500), now.Add(1500*time.Millisecond-rateSlack); !got.Equal(want) {
		t.Errorf("who comes at the same time is across at %v, want behind the other: %v", got, want)
	}
}

// TestRateChunk: as much as passes in rateChunk, at least a byte.
func TestRateChunk(t *testing.T) {
	for perSecond, want := range map[int64]int{1: 1, 1000: 5, 1 << 20: 5242, 1 << 40: rateChunkMost} {
		if got := newRate(perSecond).chunk(); got != want {
			t.Errorf("%d/s: chunks of %d bytes, want %d", perSecond, got, want)
		}
	}
}
