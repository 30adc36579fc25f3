// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"math/rand/v2"
	"sync"
)

// OpSet is a set of operations. The zero OpSet has all of them.
type OpSet uint16

// Ops makes a set.
func Ops(list ...Op) (s OpSet) {
	for _, o := range list {
		s |= 1 << o
	}
	return s
}

// Has tells whether o is in the set.
func (s OpSet) Has(o Op) bool { return s == 0 || s&(1<<o) != 0 }

// FaultRule chooses the requests that a fault decorator hits. The zero rule
// chooses all. The conditions hold in the order of the fields: those that do
// not match Ops and Range are not counted for Skip and so on.
type FaultRule struct {
	Ops OpSet
	// Range, in bytes: requests that overlap it. Length 0: everywhere. A Flush
	// has no range and overlaps every one.
	Range Range
	// Skip spares the first requests.
	Skip uint64
	// Every hits each nth one of the rest, the first of them to begin with; 0
	// and 1 hit each.
	Every uint64
	// Probability of a hit, 0 to 1; 0 means 1. It draws on Seed, so that a run
	// that submits in the same order is repeated.
	Probability float64
	Seed        uint64
	// Limit is the most hits; 0: no limit.
	Limit uint64
}

// FaultCounts tells what a fault decorator did.
type FaultCounts struct {
	Seen    uint64 // requests submitted
	Hit     uint64 // chosen by the rule
	Waiting int    // held back now
}

// chooser applies a rule that can be changed at run time.
type chooser struct {
	mu      sync.Mutex
	on      bool
	rule    FaultRule
	rnd     *rand.Rand
	matched uint64
	hits    uint64 // since the rule was set
	counts  FaultCounts
}

// set makes rule hold from now on; nil: no request is hit.
func (c *chooser) set(rule *FaultRule) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on, c.matched, c.hits = rule != nil, 0, 0
	if rule != nil {
		c.rule = *rule
		c.rnd = rand.New(rand.NewPCG(rule.Seed, 0))
	}
}

// hit tells whether r, just submitted, is chosen.
func (c *chooser) hit(r *Request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Seen++
	if !c.on || !c.rule.matches(r) {
		return false
	}
	n := c.matched
	c.matched++
	k := &c.rule
	switch {
	case n < k.Skip,
		k.Every > 1 && (n-k.Skip)%k.Every != 0,
		k.Probability > 0 && c.rnd.Float64() >= k.Probability,
		k.Limit > 0 && c.hits >= k.Limit:
		return false
	}
	c.hits++
	c.counts.Hit++
	return true
}

func (c *chooser) get() FaultCounts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts
}

func (k *FaultRule) matches(r *Request) bool {
	if !k.Ops.Has(r.Op) {
		return false
	}
	return k.Range.Length == 0 || r.Op == Flush ||
		r.Offset < k.Range.Offset+k.Range.Length && k.Range.Offset < r.Offset+r.Length
}
