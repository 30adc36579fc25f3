// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"math/rand/v2"
	"testing"
)

func TestSelectorNames(t *testing.T) {
	for _, c := range []struct {
		name string
		ok   bool
	}{{"", true}, {"service-time", true}, {"round-robin", true}, {"best", false}} {
		if _, err := NewSelector(c.name); (err == nil) != c.ok {
			t.Errorf("NewSelector(%q): %v", c.name, err)
		}
	}
}

func TestRoundRobin(t *testing.T) {
	s, _ := NewSelector("round-robin")
	for _, c := range []struct {
		add, remove int
		tried       PathSet
		want        int
	}{
		{-1, -1, 0, -1},
		{5, -1, 0, 5},
		{5, -1, 0, 5},
		{0, -1, 0, 0},
		{63, -1, 0, 5},
		{-1, -1, 0, 63},
		{-1, -1, 0, 0},
		{-1, -1, 1 << 5, 63},
		{-1, 63, 0, 0},
		{-1, -1, 1<<0 | 1<<5, -1},
	} {
		if c.add >= 0 {
			s.Add(c.add, 1)
		}
		if c.remove >= 0 {
			s.Remove(c.remove)
		}
		if got := s.Select(nil, 0, c.tried); got != c.want {
			t.Errorf("%+v: got %d", c, got)
		}
	}
}

// slowTime is the rule of service-time in its obvious form.
type slowTime struct {
	weight, taken map[int]float64
	pending       map[int][]uint64
	turn          float64
}

func (s *slowTime) pick(n uint64, tried PathSet) int {
	best, least := -1, 0.0
	for slot := range maxPaths {
		w, ok := s.weight[slot]
		if !ok || tried.Has(slot) {
			continue
		}
		sum := n
		for _, p := range s.pending[slot] {
			sum += p + commandBytes
		}
		load := float64(sum) / w
		if best < 0 || load < least || load == least && s.taken[slot] < s.taken[best] {
			best, least = slot, load
		}
	}
	if best >= 0 {
		s.turn++
		s.taken[best] = s.turn
	}
	return best
}

func TestServiceTimeOracle(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	fast, _ := NewSelector("service-time")
	slow := &slowTime{weight: map[int]float64{}, taken: map[int]float64{}, pending: map[int][]uint64{}}
	for i := range 20000 {
		slot := r.IntN(6)
		switch r.IntN(8) {
		case 0:
			w := 1 << r.IntN(4) // so that the quotients are exact
			fast.Add(slot, uint32(w))
			slow.weight[slot] = float64(w)
		case 1:
			fast.Remove(slot)
			delete(slow.weight, slot)
		case 2, 3:
			if p := slow.pending[slot]; len(p) > 0 {
				fast.End(slot, p[0], 0)
				slow.pending[slot] = p[1:]
			}
		default:
			n := uint64(r.IntN(8)) * 4096
			tried := PathSet(r.Uint64() & r.Uint64() & 63)
			got, want := fast.Select(nil, n, tried), slow.pick(n, tried)
			if got != want {
				t.Fatalf("step %d: got %d, want %d", i, got, want)
			}
			if got >= 0 {
				fast.Start(got, n)
				slow.pending[got] = append(slow.pending[got], n)
			}
		}
	}
}

func TestSelectorsDoNotAllocate(t *testing.T) {
	for _, row := range selectors {
		s := row.make()
		for i := range 8 {
			s.Add(i, 1)
		}
		if n := testing.AllocsPerRun(100, func() {
			p := s.Select(nil, 4096, 1)
			s.Start(p, 4096)
			s.End(p, 4096, 0)
		}); n != 0 {
			t.Errorf("%s: %v allocations", row.name, n)
		}
	}
}
