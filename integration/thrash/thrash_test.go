// SPDX-License-Identifier: Apache-2.0

//go:build integration

package thrash

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pathgate/integration/gate"
)

var (
	seedFlag   = flag.Uint64("seed", 0, "seed of the first round; 0: the test's own, or a random one without end")
	roundsFlag = flag.Int("rounds", -1, "rounds; 0: without end; -1: those of make test")
	faultsFlag = flag.Int("faults", 6, "faults of a round")
	sideFlag   = flag.Int("side", 4, "rounds side by side")
)

func TestMain(m *testing.M) { flag.Parse(); os.Exit(gate.Main(m)) }

// thrash runs rounds side by side, of seeds in a row, until enough says so.
func thrash(t *testing.T, first uint64, enough func(started int, rep *Report) bool) *Report {
	t.Helper()
	var rep Report
	var started atomic.Int64
	var workers sync.WaitGroup
	begin := time.Now()
	for range *sideFlag {
		workers.Go(func() {
			for !t.Failed() {
				n := int(started.Add(1)) - 1
				if enough(n, &rep) {
					return
				}
				seed := first + uint64(n)
				t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { rep.Add(Run(t, NewPlan(seed, *faultsFlag), Stamps())) })
			}
		})
	}
	workers.Wait()
	t.Logf("measured: %v by the clock: %v", time.Since(begin).Round(time.Second), &rep)
	return &rep
}

// TestLinearizable: the same with the clients and the search of package linear.
func TestLinearizable(t *testing.T) { linearizable(t, 101, 2) }

func linearizable(t *testing.T, first uint64, rounds int) {
	var rep Report
	for n := range uint64(rounds) {
		seed := first + n
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { rep.Add(Run(t, NewPlan(seed, *faultsFlag), Linear())) })
	}
	t.Logf("measured: %v", &rep)
}

// TestThrash is the bounded part, and what `make thrash` runs: P8, H1, H4, H10, H13.
func TestThrash(t *testing.T) {
	first, rounds := *seedFlag, *roundsFlag
	if first == 0 {
		first = 1
		if rounds >= 0 {
			first = uint64(rand.Uint32())
		}
	}
	if rounds < 0 {
		rounds = 6
	}
	rep := thrash(t, first, func(n int, _ *Report) bool { return rounds > 0 && n >= rounds })
	if rep.Injected() == 0 || rep.Failovers() == 0 {
		t.Errorf("%d faults, %d failovers: nothing was shown", rep.Injected(), rep.Failovers())
	}
}

// TestThrashWithoutFences is the negative control: of two processes on one file each
// in turn is stopped with writes in its sockets, and the program does not fence. If
// nothing was found, the tests above would prove nothing.
func TestThrashWithoutFences(t *testing.T) {
	for seed := range uint64(5) {
		p := &Plan{Seed: seed, Topology: TwoTargets, Portals: 2, Adapters: 1, Selector: "round-robin", Unfenced: true}
		for i := range 6 {
			p.Faults = append(p.Faults, Fault{Kind: Stop, Victim: i % 2, Lasts: time.Second, Also: -1})
		}
		if rep := Run(t, p, Stamps()); rep.Violations > 0 {
			t.Logf("measured: %d violations in round %d: %v", rep.Violations, seed, rep)
			return
		}
	}
	t.Error("no violation was found")
}
