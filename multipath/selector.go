// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"fmt"
	"math/bits"
	"time"

	"pathgate/backends"
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

// Selector chooses among the paths that are in use. Only those are added: health
// and access are applied before. The caller holds the device's lock, so a
// Selector is not safe for concurrent use, and must neither block nor allocate.
// Paths are named by slot, 0-63. Start and End come in pairs, also for a path
// that was removed in between.
type Selector interface {
	Add(slot int, weight uint32)
	Remove(slot int)
	// Select gives a path that is not in tried, or -1. n is the payload's bytes.
	Select(o *backends.Origin, n uint64, tried PathSet) int
	Start(slot int, n uint64)
	End(slot int, n uint64, elapsed time.Duration)
}

// selectors is the one table of names and constructors.
var selectors = [...]struct {
	name string
	make func() Selector
}{
	{"service-time", func() Selector { return &serviceTime{} }},
	{"round-robin", func() Selector { return &roundRobin{last: -1} }},
}

// NewSelector makes the selector of that name; "" is service-time.
func NewSelector(name string) (Selector, error) {
	if name == "" {
		name = selectors[0].name
	}
	for _, s := range selectors {
		if s.name == name {
			return s.make(), nil
		}
	}
	return nil, fmt.Errorf("path selector %q is not known", name)
}
