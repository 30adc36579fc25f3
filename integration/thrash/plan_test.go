// SPDX-License-Identifier: Apache-2.0

package thrash

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/integration/nbdclient"
)

// A seed names a round: the same one each time, and not that of its neighbour.
func TestPlanRepeats(t *testing.T) {
	all := map[string]bool{}
	for seed := range uint64(200) {
		a, b := NewPlan(seed, 6).String(), NewPlan(seed, 6).String()
		if a != b {
			t.Fatalf("got %s, then %s", a, b)
		}
		all[strings.SplitN(a, ":", 2)[1]] = true
	}
	if len(all) != 200 {
		t.Errorf("%d different rounds of 200", len(all))
	}
}

// Plans use all there is, and hit only what is there.
func TestPlansCoverAll(t *testing.T) {
	var seen [kinds]int
	shapes := map[Topology]bool{}
	also := 0
	for seed := range uint64(500) {
		p := NewPlan(seed, 6)
		shapes[p.Topology] = true
		for _, f := range p.Faults {
			seen[f.Kind]++
			if f.Victim < 0 || f.Victim >= p.victims(f.Kind) {
				t.Errorf("%v: victim %d of %d", p, f.Victim, p.victims(f.Kind))
			}
			if f.Also >= 0 {
				also++
			}
			links := f.Kind == LinkDown || f.Kind == CarrierLost
			if proxied := len(f.Kind.faults()) > 0 || f.Kind == Delay; links && p.Topology != Links || proxied && p.Topology == Links {
				t.Errorf("%v cannot be made", p)
			}
			if f.Kind == Corrupt && !p.Digests {
				t.Errorf("%v: nothing finds a flipped bit", p)
			}
		}
	}
	for k, n := range seen {
		if n == 0 {
			t.Errorf("%v never comes", Kind(k))
		}
	}
	if len(shapes) != topologies || also == 0 {
		t.Errorf("topologies %v, %d faults of two portals at once", shapes, also)
	}
}

func TestMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(true)
		old := m.begin()
		time.Sleep(time.Second)
		m.strike()
		m.end(m.begin(), nil)
		time.Sleep(300 * time.Millisecond)
		m.end(old, nil) // waited 1.3 s, of which 300 ms are the fault's
		stuck := m.begin()
		time.Sleep(200 * time.Millisecond)
		if wait, gap := m.settled(); wait != 300*time.Millisecond || gap != 300*time.Millisecond {
			t.Errorf("got %v, %v, want 300ms each", wait, gap)
		}
		m.end(stuck, fmt.Errorf("write: %w", nbdclient.ErrClosed))
		m.end(m.begin(), errors.New("EIO"))
		if c := m.counts(); c.done != 2 || c.cut != 1 || c.failed != 1 || c.why.Error() != "EIO" {
			t.Errorf("got %+v", c)
		}
	})
}

func TestReport(t *testing.T) {
	var all Report
	for seed := range uint64(3) {
		r := &Report{Seeds: []uint64{seed}, Requests: 10, Fences: 2}
		r.Kinds[Reset] = Tally{Injected: 1, Lost: 1, Stalls: []Stall{{time.Duration(seed+1) * time.Millisecond, time.Millisecond}}}
		r.Kinds[Delay] = Tally{Injected: 1}
		all.Add(r)
	}
	got := all.String()
	for _, want := range []string{
		"6 faults injected : 0 violations", "3 faults cost a path", "seeds 0 to 2", "2ms/3ms/3ms", "6 fences", "30 requests",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "black-hole") {
		t.Errorf("a kind that never came is told:\n%s", got)
	}
}
