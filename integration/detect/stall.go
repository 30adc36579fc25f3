// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"fmt"
	"slices"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/shares"
)

// Stalls are how long requests stood still for each of many cuts, by one who knows
// when the machine did: a cut that took too long while the test itself stood still, or
// while requests on other paths took as long, says nothing of the failover. Make it
// with NewStalls.
type Stalls struct {
	bar   time.Duration
	slack time.Duration
	clock *shares.Clock
	kept  []time.Duration
	found []time.Duration // how long after each cut its paths were down
	out   int             // left out
}

// NewStalls begins to watch. bar is what is asked of the 99th percentile, and slack what
// of it is left once the loss is to be found: a request that the cut did not meet, and
// that took as long, was halted by the machine.
func NewStalls(bar, slack time.Duration) *Stalls {
	return &Stalls{bar: bar, slack: slack, clock: shares.NewClock()}
}

// Stop ends the watching.
func (s *Stalls) Stop() { s.clock.Stop() }

// Now is the time of the stalls' clock.
func (s *Stalls) Now() time.Duration { return s.clock.Now() }

// Cut takes one cut: at the time from, at, when its paths were down, and of how many
// requests on them the failover told. It asks p, which has gone on.
func (s *Stalls) Cut(p *gate.Probe, from time.Duration, at, down time.Time, moved int) {
	d, over := p.Longest(at, down, s.slack)
	s.found = append(s.found, down.Sub(at))
	s.Add(from, d, over > moved)
}

// Add takes a cut after which the last request ended after d; others tells that
// requests which the cut did not meet took too long as well.
func (s *Stalls) Add(from, d time.Duration, others bool) {
	if d > s.bar && (others || s.clock.Halted(from, from+d) > 0) {
		s.out++
		return
	}
	s.kept = append(s.kept, d)
}

// Len is how many cuts count.
func (s *Stalls) Len() int { return len(s.kept) }

// Disturbed tells whether the machine stood still so often that a bad result may be its
// doing, and is to be measured again.
func (s *Stalls) Disturbed() bool {
	const most = 0.005 // of the time
	now := s.Now()
	return s.out > 0 || s.clock.Halted(0, now).Seconds() > most*now.Seconds()
}

// Judge gives p50, p99 and the longest, and an error if the bar was not kept, or if
// more than a fifth of the cuts say nothing.
func (s *Stalls) Judge() (string, error) {
	if len(s.kept) == 0 {
		return "", fmt.Errorf("no cut counts, %d left out", s.out)
	}
	list := slices.Sorted(slices.Values(s.kept))
	at := func(percent int) time.Duration { return rank(list, percent) }
	text := fmt.Sprintf("%d cuts: p50 %v, p99 %v, longest %v; %d left out, as the machine stood still",
		len(list), at(50), at(99), list[len(list)-1].Round(100*time.Microsecond), s.out)
	if found := slices.Sorted(slices.Values(s.found)); len(found) > 0 {
		text += fmt.Sprintf("; lost paths were found after p50 %v, p99 %v", rank(found, 50), rank(found, 99))
	}
	switch {
	case s.out*5 > len(list)+s.out:
		return text, fmt.Errorf("%d of %d cuts say nothing", s.out, len(list)+s.out)
	case at(99) > s.bar:
		return text, fmt.Errorf("p99 %v is over %v", at(99), s.bar)
	}
	return text, nil
}

// rank is a percentile of a sorted list, by nearest rank.
func rank(list []time.Duration, percent int) time.Duration {
	return list[(len(list)*percent+99)/100-1].Round(100 * time.Microsecond)
}
