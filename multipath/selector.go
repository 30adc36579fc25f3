// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"math/bits"
	"time"
)

// maxPaths is the most paths of one device: a PathSet is one word.
const maxPaths = 64

// PathSet is a set of paths of one device, as bits by slot.
type PathSet uint64

// Has tells whether slot is in the set.
func (s PathSet) Has(slot int) bool { return s&(1<<slot) != 0 }

// With is the set and slot.
func (s PathSet) With(slot int) PathSet { return s | 1<<slot }

// Without is the set less slot.
func (s PathSet) Without(slot int) PathSet { return s &^ (1 << slot) }

// Len counts the set.
func (s PathSet) Len() int { return bits.OnesCount64(uint64(s)) }

// first gives the lowest slot; s is not empty.
func (s PathSet) first() int { return bits.TrailingZeros64(uint64(s)) }

// last gives the highest slot; s is not empty.
func (s PathSet) last() int { return bits.Len64(uint64(s)) - 1 }

// Selector chooses among the paths that are in use. Only those are added: health
// and access are applied before. The caller holds the device's lock, so a
// Selector is not safe for concurrent use, and must neither block nor allocate.
// Paths are named by slot, 0-63. Start and End come in pairs, also for a path
// that was removed in between, and for one that is not added at all.
type Selector interface {
	// Add offers a path. Of one that is offered already, what is known has changed.
	Add(l Line)
	Remove(slot int)
	// Select gives a path that is not in q.Tried, or -1 if none is left.
	Select(q Demand) int
	Start(slot int, n uint64)
	End(slot int, n uint64, a Answer)
}

// Line is what a selector is told of a path.
type Line struct {
	Slot int
	// Weight is how much the path carries against the others, 1-maxWeight.
	Weight uint32
	// Name is the path's, Adapter and Portal are what it shares with others.
	Name, Adapter, Portal string
}

// Demand is a request that wants a path.
type Demand struct {
	Now time.Time
	// VM is whose request it is, with its priority now; nil: nobody's.
	VM       *VM
	Priority uint8
	Bytes    uint64  // payload
	Tried    PathSet // not these
}

// Answer is the end of a request on a path.
type Answer struct {
	Began, Ended time.Time
	OK           bool
}

// offered is what selectors know of the paths that they choose among, and when
// they took them last.
type offered struct {
	set    PathSet
	turn   uint64
	taken  [maxPaths]uint64 // turn
	weight [maxPaths]uint64
}

func (o *offered) Add(l Line) {
	o.set = o.set.With(l.Slot)
	o.weight[l.Slot] = uint64(max(l.Weight, 1))
}

func (o *offered) Remove(slot int) { o.set = o.set.Without(slot) }

// take notes that a path was chosen, if one was.
func (o *offered) take(slot int) int {
	if slot >= 0 {
		o.turn++
		o.taken[slot] = o.turn
	}
	return slot
}

// heavier tells whether a comes before b where one path is used and not all: of
// the higher weight, of equal ones the lower slot.
func (o *offered) heavier(a, b int) bool {
	if o.weight[a] != o.weight[b] {
		return o.weight[a] > o.weight[b]
	}
	return a < b
}
