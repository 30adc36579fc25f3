// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Against the obvious: a list of ranges in order of arrival.
func TestOrderOracle(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 2))
	type entry struct {
		c        *change
		off, end uint64
	}
	var (
		o    orderTable
		list []entry
	)
	blockers := func(i int) (n int) {
		for _, e := range list[:i] {
			if e.off < list[i].end && list[i].off < e.end {
				n++
			}
		}
		return n
	}
	check := func(step int) {
		for i, e := range list {
			if want := blockers(i); e.c.blockers != want {
				t.Fatalf("step %d: entry %d [%d,%d) has %d blockers, want %d", step, i, e.off, e.end, e.c.blockers, want)
			}
			if (o.blocker(e.c) != nil) != (e.c.blockers > 0) {
				t.Fatalf("step %d: entry %d: blocker is wrong", step, i)
			}
		}
		if o.n != len(list) {
			t.Fatalf("step %d: %d entries, want %d", step, o.n, len(list))
		}
	}
	for step := range 20000 {
		if len(list) < 40 && r.IntN(2) == 0 || len(list) == 0 {
			off := uint64(r.IntN(64)) << (granuleBits - 3)
			n := uint64(1+r.IntN(8)) << (granuleBits - 4)
			if r.IntN(16) == 0 {
				n <<= 6 // a wide one
			}
			if r.IntN(32) == 0 {
				list = slices.Insert(list, 0, entry{o.addGhost(off, off+n), off, off + n})
			} else {
				list = append(list, entry{o.add(off, off+n, nil), off, off + n})
			}
			check(step)
			continue
		}
		i := r.IntN(len(list))
		was := map[*change]bool{}
		for _, e := range list {
			was[e.c] = e.c.blockers > 0
		}
		var freed []*change
		gone := list[i].c
		list = slices.Delete(list, i, i+1)
		o.drop(gone, func(c *change) { freed = append(freed, c) })
		var want []*change
		for j, e := range list {
			if was[e.c] && blockers(j) == 0 {
				want = append(want, e.c)
			}
		}
		if !slices.Equal(freed, want) {
			t.Fatalf("step %d: freed %d, want %d", step, len(freed), len(want))
		}
		check(step)
	}
	for len(list) > 0 {
		o.drop(list[0].c, func(*change) {})
		list = list[1:]
	}
	if o.first != nil || o.last != nil || o.wide != 0 || o.filter != [buckets]uint32{} {
		t.Error("the empty table is not empty")
	}
}

func TestOrderHolds(t *testing.T) {
	var o orderTable
	a := o.add(0, 4096, nil)
	a.holds++
	b := o.add(0, 512, nil)
	n := 0
	o.drop(a, func(*change) { n++ })
	if n != 0 || b.blockers != 1 {
		t.Error("let go with a hold left")
	}
	o.drop(a, func(*change) { n++ })
	if n != 1 || b.blockers != 0 {
		t.Error("not let go")
	}
}

func TestOrderDoesNotAllocate(t *testing.T) {
	var o orderTable
	nothing := func(*change) {}
	if n := testing.AllocsPerRun(100, func() {
		a, b := o.add(0, 4096, nil), o.add(2048, 8192, nil)
		o.drop(a, nothing)
		o.drop(b, nothing)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkOrder(b *testing.B) {
	var o orderTable
	for i := range 128 {
		o.add(uint64(i)<<24, uint64(i)<<24+4096, nil)
	}
	nothing := func(*change) {}
	b.ReportAllocs()
	for i := range b.N {
		off := uint64(i%4096) * 4096 << 8
		o.drop(o.add(off+8192, off+12288, nil), nothing)
	}
}
