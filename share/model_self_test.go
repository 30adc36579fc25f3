// SPDX-License-Identifier: Apache-2.0

package share

import (
	"slices"
	"testing"
	"time"
)

// plainModel is a LUN of 10000 CU/s with one flow.
func plainModel(depth Unit) (*simModel, FlowID) {
	m := accModel(accVariant{}, 10000, depth, nil)
	return m, m.share(1000)
}

// TestModelDevice: the device is idle for b and serves C, first come first
// served.
func TestModelDevice(t *testing.T) {
	m, f := plainModel(1000)
	c := m.client(f, simWork{bytes: 8192})
	c.submit(m, 3)
	m.run(time.Second)
	var got []Instant
	for _, io := range m.log {
		got = append(got, io.done-io.sent)
	}
	// 2 CU at 10000 CU/s one after the other, and 0.2 ms in which the next is served.
	if want := []Instant{400_000, 600_000, 800_000}; !slices.Equal(got, want) {
		t.Errorf("latencies: got %v, want %v", got, want)
	}
	m.closed(f, 64, simWork{})
	m.run(2 * time.Second)
	if got := m.doneUnits(m.at(time.Second), m.at(2*time.Second), m.at(3*time.Second))[f]; got != 10000 {
		t.Errorf("CU in a second: got %g, want 10000", got)
	}
	m.dev.setRate(m.now, 5000)
	m.run(time.Second)
	if got := m.doneUnits(m.at(time.Second), m.at(3*time.Second), m.at(4*time.Second))[f]; got < 4999 || got > 5001 {
		t.Errorf("CU in a second at half the rate: got %g, want 5000", got)
	}
}

// TestModelPaths: half of what is in flight is lost with a path, and comes back
// when it is sent again; no command is lost or sent twice.
func TestModelPaths(t *testing.T) {
	m, f := plainModel(40)
	m.client(f, simWork{}).submit(m, 40)
	m.run(0)
	m.paths(500000, 10000, 50*time.Millisecond)
	m.run(0)
	if got := m.status().InFlight; got != 20 {
		t.Errorf("in flight after the loss: got %d, want 20", got)
	}
	m.run(49 * time.Millisecond)
	if got := m.status().InFlight; got != 0 {
		t.Errorf("in flight while the rest is not sent again: got %d, want 0", got)
	}
	m.run(time.Second)
	done := 0
	for _, io := range m.log {
		if io.done != 0 {
			done++
		}
	}
	if len(m.log) != 40 || done != 40 || m.status().InFlight != 0 {
		t.Errorf("dispatched %d, done %d, in flight %d: want 40, 40, 0", len(m.log), done, m.status().InFlight)
	}
}

// TestModelProcess: a process that stalls, or is called in steps, dispatches at
// no other time.
func TestModelProcess(t *testing.T) {
	m, f := plainModel(40)
	m.stallEvery, m.stallFor = Instant(200*time.Millisecond), Instant(20*time.Millisecond)
	m.closed(f, 64, simWork{})
	m.run(time.Second)
	for _, io := range m.log {
		since := io.sent - simEpoch
		if since >= m.stallEvery && since%m.stallEvery < m.stallFor {
			t.Fatalf("dispatched %v after the start, in a stall", time.Duration(since))
		}
	}
	if got := m.status().Stalls; got != 4 {
		t.Errorf("stalls told: got %d, want 4", got)
	}
	m, f = plainModel(40)
	m.grid = Instant(time.Millisecond)
	m.closed(f, 64, simWork{})
	m.run(time.Second)
	for _, io := range m.log {
		if (io.sent-simEpoch)%m.grid != 0 {
			t.Fatalf("dispatched %v after the start", time.Duration(io.sent-simEpoch))
		}
	}
}

// TestModelRepeats: the same set-up gives the same log, to the nanosecond.
func TestModelRepeats(t *testing.T) {
	run := func() []simIO {
		m, f := plainModel(20)
		m.open(f, 3000, 1, simWork{})
		m.closed(m.share(500), 16, simWork{bytes: 16 << 10})
		m.bursts(m.share(100), 50, 100*time.Millisecond)
		m.run(2 * time.Second)
		return m.log
	}
	a, b := run(), run()
	if len(a) < 1000 || !slices.Equal(a, b) {
		t.Errorf("%d and %d dispatches, or not the same", len(a), len(b))
	}
	// Arrivals of the open loop: never more than one too many in any second.
	var at []Instant
	for _, io := range a {
		if io.flow == 0 {
			at = append(at, io.arrived)
		}
	}
	slices.Sort(at)
	for i := range at {
		if j := i + 3001; j < len(at) && at[j]-at[i] < Instant(time.Second) {
			t.Fatalf("3002 arrivals within %v", time.Duration(at[j]-at[i]))
		}
	}
}
