// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"fmt"
	"time"
)

// MarginalRule is when a path that works is put on probation, and what ends that. A zero
// field takes its default; the names follow multipath-tools' marginal_path_*.
type MarginalRule struct {
	// Losses within Window make a path flapping: it is not used while another one is,
	// until it has passed a recheck. At most MaxLosses; default 4, negative: never,
	// and the failback delay does not grow with the losses either.
	Losses int
	// Faults within Window make a path unreliable, though none of them took it down: so
	// many requests failed on it, and on a path like it less than a quarter as many. It
	// has to pass a recheck as a flapping one has. At most MaxFaults; default 20,
	// negative: never.
	Faults int
	// Window of Losses and Faults, 2 min.
	Window time.Duration
	// Recheck is for how long the test reads of a flapping path have to go well: 60 s.
	Recheck time.Duration
	// Interval is the time between test reads: 500 ms.
	Interval time.Duration
	// Errors is how many of 1000 test reads may fail in a recheck; default 10,
	// negative: none.
	Errors int
	// Factor is by how much a path's latency has to exceed its siblings' for it to be
	// slow: 4. Negative: none is ever.
	Factor int
	// Floor is the least difference of latencies that counts: 5 ms.
	Floor time.Duration
}

// MaxLosses is the most losses that a MarginalRule counts.
const MaxLosses = 16

// MaxFaults is the most failed requests that a MarginalRule counts.
const MaxFaults = 100

// fill puts defaults in the place of zeros.
func (m *MarginalRule) fill() {
	def := MarginalRule{
		Losses: 4, Faults: 20, Window: 2 * time.Minute, Recheck: time.Minute, Interval: 500 * time.Millisecond,
		Errors: 10, Factor: 4, Floor: 5 * time.Millisecond,
	}
	for _, f := range [...]struct{ have, def *int }{{&m.Losses, &def.Losses}, {&m.Faults, &def.Faults}, {&m.Errors, &def.Errors}, {&m.Factor, &def.Factor}} {
		if *f.have == 0 {
			*f.have = *f.def
		}
	}
	for _, f := range [...]struct{ have, def *time.Duration }{
		{&m.Window, &def.Window}, {&m.Recheck, &def.Recheck}, {&m.Interval, &def.Interval}, {&m.Floor, &def.Floor},
	} {
		if *f.have == 0 {
			*f.have = *f.def
		}
	}
}

// doubt is what a path on probation has to show before it counts as up, beside the
// failback delay.
type doubt uint8

const (
	// noDoubt: nothing.
	noDoubt doubt = iota
	// doubtFlapping: it was lost too often. Its test reads have to go well for
	// MarginalRule.Recheck.
	doubtFlapping
	// doubtUnreliable: too many requests failed on it. As for a flapping one.
	doubtUnreliable
	// doubtSlow: it was slower than its siblings. Its test reads have to be as fast
	// as those of one that is up.
	doubtSlow
)

// vigil is what is watched of one path: its losses, its failed requests, its latency, and the test reads
// of a path in doubt. It is a core: it takes the time and does nothing by itself.
type vigil struct {
	doubt  doubt
	losses [MaxLosses]time.Time // a ring
	lost   int                  // ever, in losses
	recent int                  // within the window at the last loss
	faults faults

	since  time.Time // of the recheck, or of the doubt
	reads  int       // test reads in it
	errors int       // of them failed
	mean   time.Duration
	others time.Duration // likewise of the sibling that it is compared with
	known  bool          // others is set
	alone  time.Time     // since then no sibling is there; zero: one is
	tested int           // test reads in mean

	slowFor int // judgements in a row
	lat     latencies
}

// lose notes a loss and tells whether the path is flapping by m.
func (v *vigil) lose(m *MarginalRule, now time.Time) bool {
	if m.Losses < 0 {
		return false
	}
	v.losses[v.lost%MaxLosses] = now
	v.lost++
	v.recent = 0
	for i := range min(v.lost, MaxLosses) {
		if now.Sub(v.losses[i]) <= m.Window {
			v.recent++
		}
	}
	if v.recent >= min(m.Losses, MaxLosses) {
		v.doubt = doubtFlapping
	}
	return v.doubt == doubtFlapping
}

// begin starts a recheck.
func (v *vigil) begin(now time.Time) {
	v.since, v.reads, v.errors, v.tested, v.mean, v.known, v.alone = now, 0, 0, 0, 0, false, time.Time{}
}

// test takes a test read that took d, or failed.
func (v *vigil) test(ok bool, d time.Duration) {
	v.reads++
	if !ok {
		v.errors++
		return
	}
	v.tested++
	v.mean = nextMean(v.mean, d, v.tested)
}

// meanOver is over how many test reads the mean moves.
const meanOver = 8

// nextMean moves a mean of n values by the newest.
func nextMean(mean, d time.Duration, n int) time.Duration {
	return mean + (d-mean)/time.Duration(min(n, meanOver))
}

// lonely ends the doubt of a path that was found slow when for a whole recheck there
// was none that it could be compared with: it is no slower than what there is.
func (v *vigil) lonely(m *MarginalRule, now time.Time) {
	if v.alone.IsZero() {
		v.alone = now
	}
	if now.Sub(v.alone) >= m.Recheck {
		v.doubt = noDoubt
	}
}

// passed tells whether nothing speaks against the path any more at now. A recheck
// that failed begins again.
func (v *vigil) passed(m *MarginalRule, now time.Time) bool {
	switch v.doubt {
	case doubtFlapping, doubtUnreliable:
		if now.Sub(v.since) < m.Recheck {
			return false
		}
		if v.reads == 0 || v.errors*1000 > max(m.Errors, 0)*v.reads {
			v.begin(now)
			return false
		}
		return true
	case doubtSlow:
		return v.tested >= meanOver && v.known && v.mean <= 2*v.others+m.Floor/2
	case noDoubt:
	}
	return true
}

// clear ends the doubt. Losses and faults before it do not count again.
func (v *vigil) clear() {
	v.doubt, v.lost, v.recent, v.slowFor = noDoubt, 0, 0, 0
	v.lat, v.faults.n = latencies{}, 0
}

// reason is the doubt for people, and how long it lasts at least; "": there is none.
func (v *vigil) reason(m *MarginalRule, now time.Time) (why string, left time.Duration) {
	switch v.doubt {
	case doubtFlapping, doubtUnreliable:
		why = fmt.Sprintf("flapping: %d losses in %v", v.recent, m.Window)
		if v.doubt == doubtUnreliable {
			why = v.faults.reason(m)
		}
		if v.errors > 0 {
			why += fmt.Sprintf(", %d of %d test reads failed", v.errors, v.reads)
		}
		return why, m.Recheck - now.Sub(v.since)
	case doubtSlow:
		why = "slower than its siblings"
		if v.tested > 0 {
			why += fmt.Sprintf(": a test read takes %v", shortTime(v.mean))
			if v.known {
				why += fmt.Sprintf(", theirs %v", shortTime(v.others))
			}
		}
	case noDoubt:
	}
	return why, 0
}

// shortTime rounds to about three digits.
func shortTime(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for unit*1000 <= d {
		unit *= 10
	}
	return d.Round(unit)
}
