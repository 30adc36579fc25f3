// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"slices"
	"time"
)

// Kind is a kind of fault.
type Kind uint8

// The kinds of fault. "From now on" means until Clear; "once" faults act when
// they are set, or at their Trigger, and leave nothing behind.
const (
	// Delay forwards each piece of data Delay (+- Jitter) after it came, in order.
	Delay Kind = iota
	// Rate forwards at most BytesPerSecond, summed over all connections of a direction,
	// in the order in which they came.
	Rate
	// Hold forwards nothing and keeps what comes, end of stream included; Clear
	// lets it go to the destination, even if the source has died.
	Hold
	// Duplicate records PDUs and replays them, as they were, on each later
	// connection once that is in full feature phase; with SameConn it sends
	// them twice on their own connection.
	Duplicate
	// Reset ends connections with RST on both sides, once.
	Reset
	// HalfClose sends FIN to the destination of its direction, once, and
	// swallows what the source sends afterwards.
	HalfClose
	// Corrupt flips bits: one every MeanBytes on average, or one at its Trigger.
	Corrupt
	// BlackHole swallows bytes, FIN and RST; connections stay open. New
	// connections are accepted and never reach the target. Connections that lost
	// something are reset by Clear.
	BlackHole
	// Drop closes connections (FIN) on both sides, once.
	Drop
	// Refuse answers new connections with ECONNREFUSED; old ones live on.
	Refuse
	// Hang leaves the SYN of new connections unanswered; old ones live on.
	Hang

	kinds
)

var kindNames = [kinds]string{"delay", "rate", "hold", "duplicate", "reset", "half-close", "corrupt", "black-hole", "drop", "refuse", "hang"}

// String returns the name that ParseFault takes.
func (k Kind) String() string {
	if k < kinds {
		return kindNames[k]
	}
	return "unknown"
}

// Direction is a direction of flow. The zero value means both.
type Direction uint8

// Directions.
const (
	Both Direction = iota
	ToTarget
	ToClient
)

// String returns the name that ParseFault takes.
func (d Direction) String() string { return [...]string{"both", "to-target", "to-client"}[d%3] }

// Part is the part of a PDU that Corrupt may change.
type Part uint8

// Parts of a PDU.
const (
	Data   Part = iota // the data segment without padding
	Header             // basic header and additional headers
)

// Fault is one fault. Fields that its Kind does not use are ignored.
type Fault struct {
	Kind Kind
	Dir  Direction
	Conn int // the number of a connection, counted from 1; 0 = all, later ones included

	Delay, Jitter  time.Duration // Delay; Jitter is the most that is added or taken
	BytesPerSecond int64         // Rate; > 0
	MeanBytes      int64         // Corrupt without Trigger; mean distance of flips, > 0
	Part           Part          // Corrupt
	Repair         bool          // Corrupt: make the digest fit the changed bytes
	SameConn       bool          // Duplicate

	// At postpones Hold, Reset, HalfClose, BlackHole and Drop to a place in the
	// stream, and chooses the PDUs of Corrupt and Duplicate. nil = at once, all.
	At *Trigger
}

// Trigger is a place in a stream. Either Bytes is set, or the fields about PDUs
// (Protocol ISCSI only) choose a PDU and a byte in it.
type Trigger struct {
	// Bytes > 0: after so many bytes of the direction, counted per connection
	// from Set or from the connection's begin; acts on each connection.
	Bytes int64

	Opcodes  []Opcode       // any of these; empty = all
	When     func(PDU) bool // nil = all; called by the reader, must not block
	Nth      int            // the Nth PDU that fits, counted over all connections; 0 = the first
	Offset   int            // bytes of the PDU that pass before the fault; beyond the PDU = all
	HalfData bool           // Offset is the header plus half of the data segment
	Repeat   bool           // every PDU from the Nth on, not only the Nth
}

// active is a fault in force.
type active struct {
	Fault
	matched cell // PDUs that fitted the trigger
	cleared chan struct{}
}

func (f *active) on(conn int, dir Direction) bool {
	return (f.Conn == 0 || f.Conn == conn) && (f.Dir == Both || f.Dir == dir)
}

// fires tells whether this PDU is the one that the trigger waits for, and after
// how many of its bytes. It counts, so it is called once per PDU.
func (f *active) fires(p PDU) (offset int, ok bool) {
	t := f.At
	if t.Bytes > 0 || len(t.Opcodes) > 0 && !slices.Contains(t.Opcodes, p.Opcode) || t.When != nil && !t.When(p) {
		return 0, false
	}
	n := f.matched.add(1)
	if want := int64(max(t.Nth, 1)); n != want && !(t.Repeat && n > want) {
		return 0, false
	}
	if t.HalfData {
		return p.headerLen() + p.DataLen/2, true
	}
	return t.Offset, true
}

// state is an immutable snapshot of the faults in force.
type state struct {
	faults  []*active
	changed chan struct{} // closed when another snapshot took its place
}

// find returns the fault of kind k that acts at once on a direction, or nil.
func (s *state) find(k Kind, conn int, dir Direction) *active {
	for _, f := range s.faults {
		if f.Kind == k && f.At == nil && f.on(conn, dir) {
			return f
		}
	}
	return nil
}

// slow tells whether the writer has work on this direction beyond writing.
func (s *state) slow(conn int, dir Direction) bool {
	for _, f := range s.faults {
		switch f.Kind {
		case Delay, Rate, Hold, BlackHole:
			if f.At == nil && f.on(conn, dir) {
				return true
			}
		default: // done by the reader, or acts on connections
		}
	}
	return false
}

// whole tells whether the reader must have complete PDUs in hand.
func (s *state) whole(conn int, dir Direction) bool {
	return slices.ContainsFunc(s.faults, func(f *active) bool {
		return (f.Kind == Corrupt || f.Kind == Duplicate) && f.on(conn, dir)
	})
}
