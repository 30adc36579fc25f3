// SPDX-License-Identifier: Apache-2.0

package thrash

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Topology says what the paths of a round lead to.
type Topology uint8

const (
	// OneTarget is one tgtd process with two or three portals, each behind a proxy.
	OneTarget Topology = iota
	// TwoTargets are two tgtd processes on one file with a portal each, behind proxies.
	TwoTargets
	// Links is one tgtd process in a network namespace of its own with a portal on
	// each of two virtual cables, without proxies.
	Links
)

const topologies = int(Links) + 1

// String is the topology in the tables.
func (t Topology) String() string {
	return [...]string{"one-target", "two-targets", "links"}[int(t)%topologies]
}

// Fault is one entry of a plan.
type Fault struct {
	Kind   Kind
	Victim int // portal, target process or path, counted from 0
	// Lasts is how long the fault stays after it took effect, or how late after the
	// last one it comes if it does not stay.
	Lasts time.Duration
	// Also resets the connections of another portal while this one is broken, so
	// that no path lives for a moment; -1: no.
	Also int
}

// Plan is one round.
type Plan struct {
	Seed     uint64
	Topology Topology
	Portals  int
	Adapters int
	Digests  bool
	Selector string
	Faults   []Fault
	// Unfenced runs the program of the negative control, which lets writes overtake
	// old ones of unknown end: the round demands no longer that all is well.
	Unfenced bool
}

// paths is how many paths the gateway has.
func (p *Plan) paths() int {
	if p.Topology == Links {
		return p.Portals // each adapter has a cable of its own
	}
	return p.Portals * p.Adapters
}

// killsGateway tells whether clients lose connections.
func (p *Plan) killsGateway() bool {
	for _, f := range p.Faults {
		if f.Kind == KillGateway {
			return true
		}
	}
	return false
}

// String is the plan on one line.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %v, %d portals, %d paths, digests %v, %s:", p.Seed, p.Topology, p.Portals, p.paths(), p.Digests, p.Selector)
	for _, f := range p.Faults {
		fmt.Fprintf(&b, " %v(%d)", f.Kind, f.Victim)
		if f.Kind.lasts() {
			fmt.Fprintf(&b, "/%v", f.Lasts)
		}
		if f.Also >= 0 {
			fmt.Fprintf(&b, "+reset(%d)", f.Also)
		}
	}
	return b.String()
}

// NewPlan makes the round of a seed with n faults. It depends on nothing else.
func NewPlan(seed uint64, n int) *Plan {
	r := rand.New(rand.NewPCG(seed, 6))
	p := &Plan{
		Seed: seed, Topology: Topology(r.IntN(topologies)), Portals: 2, Adapters: 1 + r.IntN(2),
		Digests: r.IntN(2) == 0, Selector: []string{"service-time", "round-robin"}[r.IntN(2)],
	}
	switch p.Topology {
	case OneTarget:
		p.Portals += r.IntN(2)
	case Links:
		p.Adapters = 2
	case TwoTargets:
	}
	hard, kills := r.IntN(3) == 0, r.IntN(4) == 0
	choice := p.choice(kills)
	for range n {
		f := Fault{Kind: choice[r.IntN(len(choice))], Also: -1}
		f.Victim = r.IntN(p.victims(f.Kind))
		f.Lasts = time.Duration(r.IntN(1500)) * time.Millisecond
		if hard && f.Kind.lasts() && p.Topology != Links && r.IntN(3) == 0 {
			f.Also = r.IntN(p.Portals)
		}
		p.Faults = append(p.Faults, f)
	}
	return p
}

// choice lists the kinds of fault that the round may have; a kind that is there
// twice comes twice as often.
func (p *Plan) choice(kills bool) []Kind {
	list := []Kind{Disable, Fail}
	switch p.Topology {
	case Links:
		list = append(list, LinkDown, LinkDown, LinkDown, CarrierLost, CarrierLost, Stop, Kill)
	case TwoTargets:
		list = append(list, Stop, Stop, Stop, Kill, Kill)
		fallthrough
	case OneTarget:
		list = append(list, Reset, Reset, Drop, HalfClose, BlackHole, Hold, HoldWrite, Refuse, Delay)
		if p.Digests {
			list = append(list, Corrupt, Corrupt)
		}
		if p.Topology == OneTarget {
			list = append(list, Stop, Kill) // no path lives
		}
	}
	if kills {
		list = append(list, KillGateway, KillGateway)
	}
	return list
}

// victims is how many things a fault can hit.
func (p *Plan) victims(k Kind) int {
	switch k {
	case Stop, Kill:
		if p.Topology == TwoTargets {
			return 2
		}
		return 1
	case Disable, Fail:
		return p.paths()
	case KillGateway:
		return 1
	default:
		return p.Portals
	}
}
