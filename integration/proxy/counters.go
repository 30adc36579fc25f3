// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"
)

type cell struct{ atomic.Int64 }

func (c *cell) add(n int) int64 { return c.Add(int64(n)) }

// Effect is what the faults of one kind have done.
type Effect struct {
	// Times is how often: pieces delayed, paced or swallowed, directions held
	// or half-closed, connections reset, dropped or left without an answer, bits
	// flipped, PDUs replayed.
	Times int64 `json:"times"`
	// Bytes is how many bytes were delayed, paced, held, swallowed or replayed;
	// for Corrupt the length of the PDUs that were changed.
	Bytes int64 `json:"bytes"`
	// Released is how many held bytes have been sent on since.
	Released int64 `json:"released,omitempty"`
}

// Flow counts one direction over all connections.
type Flow struct {
	Bytes     int64            `json:"bytes"`     // read from the source
	Forwarded int64            `json:"forwarded"` // written to the destination
	DataBytes int64            `json:"dataBytes"` // of Bytes: data segments of PDUs
	PDUs      map[string]int64 `json:"pdus"`      // headers seen, by Opcode.String
}

// Counters is a snapshot; it belongs to the caller.
type Counters struct {
	Connections int64             `json:"connections"` // accepted so far
	Active      int64             `json:"active"`      // open now
	DialErrors  int64             `json:"dialErrors"`  // target could not be reached
	ToTarget    Flow              `json:"toTarget"`
	ToClient    Flow              `json:"toClient"`
	Faults      map[string]Effect `json:"faults"` // by Kind.String; kinds without effect are absent
}

// Fault returns the effect of one kind, zero if there was none.
func (c Counters) Fault(k Kind) Effect { return c.Faults[k.String()] }

// PDUs returns how many PDUs with opcode o were seen in either direction.
func (c Counters) PDUs(o Opcode) int64 {
	return c.ToTarget.PDUs[o.String()] + c.ToClient.PDUs[o.String()]
}

// String returns c as JSON.
func (c Counters) String() string {
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

type effect struct{ times, bytes, released cell }

func (e *effect) hit(bytes int) {
	e.times.add(1)
	e.bytes.add(bytes)
}

type flow struct {
	read, forwarded, data cell
	pdus                  [64]cell
}

func (f *flow) snapshot() Flow {
	s := Flow{Bytes: f.read.Load(), Forwarded: f.forwarded.Load(), DataBytes: f.data.Load(), PDUs: map[string]int64{}}
	for o := range f.pdus {
		if n := f.pdus[o].Load(); n != 0 {
			s.PDUs[Opcode(o).String()] = n
		}
	}
	return s
}

type counters struct {
	connections, active, dialErrors cell
	flows                           [2]flow // ToTarget, ToClient
	effects                         [kinds]effect
}

// Counters returns what has happened so far.
func (p *Proxy) Counters() Counters {
	c := &p.count
	s := Counters{
		Connections: c.connections.Load(), Active: c.active.Load(), DialErrors: c.dialErrors.Load(),
		ToTarget: c.flows[0].snapshot(), ToClient: c.flows[1].snapshot(), Faults: map[string]Effect{},
	}
	for k := range c.effects {
		e := &c.effects[k]
		if v := (Effect{e.times.Load(), e.bytes.Load(), e.released.Load()}); v != (Effect{}) {
			s.Faults[Kind(k).String()] = v
		}
	}
	return s
}

// Wait returns when ok says yes to the counters, or an error with the last
// counters after timeout.
func (p *Proxy) Wait(ok func(Counters) bool, timeout time.Duration) error {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		c := p.Counters()
		if ok(c) {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return fmt.Errorf("proxy %s: not so within %v: %v", p.Addr(), timeout, c)
		}
	}
}
