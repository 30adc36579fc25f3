// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"math/big"
	"slices"
	"strings"
	"time"
)

// record is all that happened to a selector, for the slow versions of the rules.
type record struct {
	vms    *vmTable
	lines  map[int]Line
	taken  map[int]int // turn
	turn   int
	flight map[int][]flight
	asked  map[int]time.Time
	ends   map[int][]Answer // since the start
	from   map[int]int      // ends of the path when it was added or sampled anew
}

type flight struct {
	n     uint64
	began time.Time
}

// slowRule is a rule in its obvious form. changed is called after each Add (added) and Remove.
type slowRule struct {
	pick    func(q Demand) int
	changed func(added bool)
}

func newRecord(vms *vmTable) *record {
	return &record{
		vms: vms, lines: map[int]Line{}, taken: map[int]int{}, flight: map[int][]flight{},
		asked: map[int]time.Time{}, ends: map[int][]Answer{}, from: map[int]int{},
	}
}

func (r *record) add(l Line) {
	if _, ok := r.lines[l.Slot]; !ok {
		r.from[l.Slot] = len(r.ends[l.Slot])
	}
	r.lines[l.Slot] = l
}

func (r *record) remove(slot int) { delete(r.lines, slot) }

func (r *record) take(slot int, now time.Time) {
	r.turn++
	r.taken[slot], r.asked[slot] = r.turn, now
}

func (r *record) start(slot int, n uint64, now time.Time) {
	r.flight[slot] = append(r.flight[slot], flight{n, now})
}

func (r *record) end(slot, i int, a Answer) {
	r.flight[slot] = slices.Delete(r.flight[slot], i, i+1)
	r.ends[slot] = append(r.ends[slot], a)
}

// left gives the slots that may be taken, lowest first.
func (r *record) left(tried PathSet) (slots []int) {
	for slot := range maxPaths {
		if _, ok := r.lines[slot]; ok && !tried.Has(slot) {
			slots = append(slots, slot)
		}
	}
	return slots
}

func (r *record) weight(slot int) int64 { return int64(r.lines[slot].Weight) }

// least gives the slot of the least cost, of equal ones the first; -1: there is none.
func least(slots []int, cost func(slot int) *big.Rat) int {
	best := -1
	for _, s := range slots {
		if best < 0 || cost(s).Cmp(cost(best)) < 0 {
			best = s
		}
	}
	return best
}

// leastOldest is least, but of equal ones the one that was taken longest ago.
func (r *record) leastOldest(slots []int, cost func(slot int) *big.Rat) int {
	slots = slices.Clone(slots)
	slices.SortStableFunc(slots, func(a, b int) int { return r.taken[a] - r.taken[b] })
	return least(slots, cost)
}

func slowServiceTime(r *record) slowRule {
	return slowRule{pick: func(q Demand) int { return r.byBytes(q, q.Tried) }}
}

func (r *record) byBytes(q Demand, tried PathSet) int {
	return r.leastOldest(r.left(tried), func(slot int) *big.Rat {
		sum := int64(q.Bytes)
		for _, f := range r.flight[slot] {
			sum += int64(f.n) + commandBytes
		}
		return big.NewRat(sum, r.weight(slot))
	})
}

func slowQueueLength(r *record) slowRule {
	return slowRule{pick: func(q Demand) int {
		return r.leastOldest(r.left(q.Tried), func(slot int) *big.Rat {
			return big.NewRat(int64(len(r.flight[slot]))+1, r.weight(slot))
		})
	}}
}

func slowRoundRobin(r *record, ops, bytes uint64) slowRule {
	turn, doneOps, doneBytes := -1, uint64(0), uint64(0)
	return slowRule{pick: func(q Demand) int {
		slots := r.left(q.Tried)
		if len(slots) == 0 {
			return -1
		}
		lowest := int64(1 << 20)
		for _, s := range r.left(0) {
			lowest = min(lowest, r.weight(s))
		}
		over := true
		if slices.Contains(slots, turn) {
			times := uint64(r.weight(turn) / lowest) // powers of two
			over = doneOps >= ops*times || bytes > 0 && doneBytes >= bytes*times
		}
		if over {
			i := slices.IndexFunc(slots, func(s int) bool { return s > turn })
			turn, doneOps, doneBytes = slots[max(i, 0)], 0, 0
		}
		doneOps++
		doneBytes += q.Bytes
		return turn
	}}
}

// mean folds the answers of a path since it was added; known is false without any.
func (r *record) mean(slot int) (mean uint64, known bool) {
	var last time.Time
	for i, a := range r.ends[slot] {
		from := a.Began
		if i > 0 && last.After(from) {
			from = last
		}
		last = a.Ended
		if !a.OK || i < r.from[slot] {
			continue
		}
		took := uint64(max(a.Ended.Sub(from), 1))
		if known {
			took = max(mean-mean/16+took/16, 1)
		}
		mean, known = took, true
	}
	return mean, known
}

func slowLatency(r *record, resample time.Duration) slowRule {
	offered := map[int]bool{}
	guess := map[int]uint64{} // until something is known
	return slowRule{
		changed: func(bool) {
			for slot := range maxPaths {
				_, is := r.lines[slot]
				if is && !offered[slot] {
					best := uint64(0)
					for _, s := range r.left(PathSet(0).With(slot)) {
						if m, ok := r.mean(s); ok && (best == 0 || m < best) {
							best = m
						}
					}
					guess[slot] = max(best, 1)
				}
				offered[slot] = is
			}
		},
		pick: func(q Demand) int {
			slots := r.left(q.Tried)
			for _, s := range slots {
				if len(r.flight[s]) == 0 && q.Now.Sub(r.asked[s]) >= resample {
					if m, ok := r.mean(s); ok {
						guess[s] = m
					}
					r.from[s] = len(r.ends[s])
					return s
				}
			}
			return r.leastOldest(slots, func(slot int) *big.Rat {
				m, known := r.mean(slot)
				if !known {
					m = guess[slot]
				}
				return big.NewRat(int64(m)*int64(len(r.flight[slot])+1), r.weight(slot))
			})
		},
	}
}

// heaviest gives the slot of the highest weight, of equal ones the first.
func (r *record) heaviest(slots []int) int {
	return least(slots, func(slot int) *big.Rat { return big.NewRat(-r.weight(slot), 1) })
}

func slowFixed(r *record, prefix string) slowRule {
	return slowRule{pick: func(q Demand) int {
		slots := r.left(q.Tried)
		preferred := slices.DeleteFunc(slices.Clone(slots), func(s int) bool { return !strings.HasPrefix(r.lines[s].Name, prefix) })
		if len(preferred) > 0 {
			slots = preferred
		}
		return r.heaviest(slots)
	}}
}

func slowMRU(r *record) slowRule {
	stays, gone := -1, true
	return slowRule{
		changed: func(bool) {
			if _, ok := r.lines[stays]; !ok {
				gone = true
			}
		},
		pick: func(q Demand) int {
			if gone {
				stays = r.heaviest(r.left(0))
				gone = stays < 0
			}
			if stays >= 0 && !q.Tried.Has(stays) {
				return stays
			}
			return r.heaviest(r.left(q.Tried))
		},
	}
}

// settled tells whether a plan is to be made: the last change was seen wait ago.
func settled(wait time.Duration) (changed func(), over func(now time.Time) bool) {
	var seen time.Time
	fresh, pending := false, false
	return func() { fresh = true }, func(now time.Time) bool {
		if fresh {
			fresh, pending, seen = false, true, now
			return false
		}
		if pending && now.Sub(seen) >= wait {
			pending = false
			return true
		}
		return false
	}
}

func slowIsolateLow(r *record, below uint8, want int, settle time.Duration) slowRule {
	var few []int
	had := map[int]bool{}
	count := func() int {
		n, w := len(r.lines), want
		if w == 0 {
			w = (n + 3) / 4
		}
		if n > 1 {
			return min(w, n-1)
		}
		return n
	}
	make := func() {
		slots := r.left(0)
		slices.SortFunc(slots, func(a, b int) int {
			if r.weight(a) != r.weight(b) {
				return int(r.weight(a) - r.weight(b))
			}
			return b - a
		})
		few = slots[:count()]
	}
	changed, over := settled(settle)
	return slowRule{
		changed: func(added bool) {
			for slot := range maxPaths {
				_, is := r.lines[slot]
				if !is && had[slot] && (slices.Contains(few, slot) || len(few) > count()) {
					make()
				}
				had[slot] = is
			}
			if len(few) < count() {
				make()
			}
			if added {
				changed()
			}
		},
		pick: func(q Demand) int {
			if over(q.Now) {
				make()
			}
			if q.VM != nil && q.Priority < below {
				confined := q.Tried
				for _, s := range r.left(0) {
					if !slices.Contains(few, s) {
						confined = confined.With(s)
					}
				}
				if s := r.byBytes(q, confined); s >= 0 {
					return s
				}
			}
			return r.byBytes(q, q.Tried)
		},
	}
}

// slowPerVM counts for each question anew who shares what.
func slowPerVM(r *record, settle time.Duration) slowRule {
	home, was := map[string]int{}, map[string]int{}
	var names []string
	// share is what vm would share with others at slot, itself counted: adapter,
	// portal, path, each per weight.
	share := func(vm string, slot int) [3]*big.Rat {
		var out [3]*big.Rat
		for i, same := range []func(a, b Line) bool{
			func(a, b Line) bool { return a.Adapter == b.Adapter },
			func(a, b Line) bool { return a.Portal == b.Portal },
			func(a, b Line) bool { return a.Slot == b.Slot },
		} {
			n, w := int64(1), int64(0)
			for o, h := range home {
				if o != vm && same(r.lines[h], r.lines[slot]) {
					n++
				}
			}
			for s := range r.lines {
				if same(r.lines[s], r.lines[slot]) {
					w = max(w, r.weight(s))
				}
			}
			out[i] = big.NewRat(n, w)
		}
		return out
	}
	less := func(vm string, a, b int) bool {
		x, y := share(vm, a), share(vm, b)
		for i := range x {
			if c := x[i].Cmp(y[i]); c != 0 {
				return c < 0
			}
		}
		return false
	}
	best := func(vm string) int {
		slots := r.left(0)
		b := slots[0]
		for _, s := range slots {
			if less(vm, s, b) {
				b = s
			}
		}
		if w, ok := was[vm]; ok && slices.Contains(slots, w) && !less(vm, b, w) {
			return w
		}
		return b
	}
	even := func() {
		for _, vm := range names {
			if w, ok := was[vm]; ok && slices.Contains(r.left(0), w) && less(vm, w, home[vm]) {
				home[vm] = w
			}
		}
		for moved := true; moved; {
			moved = false
			for _, vm := range names {
				if b := best(vm); less(vm, b, home[vm]) {
					home[vm], moved = b, true
				}
			}
		}
	}
	changed, over := settled(settle)
	return slowRule{
		changed: func(bool) {
			for vm, h := range home {
				if _, ok := r.lines[h]; !ok {
					was[vm] = h
					delete(home, vm)
					names = slices.DeleteFunc(names, func(n string) bool { return n == vm })
				}
			}
			changed()
		},
		pick: func(q Demand) int {
			if over(q.Now) {
				even()
			}
			if q.VM == nil || len(r.lines) == 0 {
				return r.byBytes(q, q.Tried)
			}
			vm := q.VM.name
			if _, ok := home[vm]; !ok {
				home[vm] = best(vm)
				// In the order in which the table has them.
				names = nil
				for _, v := range r.vms.list {
					if _, ok := home[v.name]; ok {
						names = append(names, v.name)
					}
				}
			}
			if !q.Tried.Has(home[vm]) {
				return home[vm]
			}
			return r.byBytes(q, q.Tried)
		},
	}
}
