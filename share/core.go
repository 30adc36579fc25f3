// SPDX-License-Identifier: Apache-2.0

package share

import "errors"

// Core is the scheduler of one LUN. It is a pure value behind a pointer: not
// safe for concurrent use, and it reads no clock. Make it with NewCore.
type Core struct {
	ablation ablation
}

type flow struct{}

// ablation switches parts of the algorithm off, for the negative controls.
type ablation uint16

const (
	noEnterClamp    ablation = 1 << iota // a flow that wakes keeps its old virtual time
	floorsLast                           // floors wait until no reservation is due
	plainAhead                           // reservations may be ahead by H, whatever one command costs
	depthUnscaled                        // a lost path leaves the window as it is
	noPathRecount                        // what was in flight on a lost path stays in the window
	noStallGuard                         // latencies over a stall count
)

// NewCore makes the scheduler of a LUN that has no flows yet. The error has
// every fault of s, each with its key.
func NewCore(s Settings, now Instant) (*Core, error) {
	return nil, errors.ErrUnsupported
}

// Step takes over what has happened, in order, and appends to out the commands
// that go now, at most as many as out has room for. wake is when it must be
// called again, at the latest; 0: not before the next event.
func (c *Core) Step(now Instant, in []Event, out []Dispatch) (dispatched []Dispatch, wake Instant) {
	return out, 0
}

// Returned gives the commands that the last Step gave back without having
// dispatched them (Abort, ResetFlow). Valid until the next Step.
func (c *Core) Returned() []*Cmd { return nil }

// Why tells why the head of f waits now; Seq is 0 when nothing waits.
func (c *Core) Why(f FlowID) Explain { return Explain{} }

// Snapshot fills dst with the state as of the last Step.
func (c *Core) Snapshot(dst *Snapshot) {}

// Explained appends the records after number since to dst, oldest first, as far
// as the ring still has them.
func (c *Core) Explained(dst []Explain, since uint64) []Explain { return dst }

// Fast tells whether commands of f may go past the core while nothing is
// queued: no limits, reservation, group, zero shares, over-use; mode not strict;
// cost model patent. It changes with a plan only: see Plans.
func (c *Core) Fast(f FlowID) bool { return false }

// Plans counts the plans made.
func (c *Core) Plans() uint64 { return 0 }

// Room gives the window in force, in CU, and the bound on commands (0: none);
// depth 0 when no path is usable.
func (c *Core) Room() (depth Unit, commands int) { return 0, 0 }

// CostOf gives what a command would cost, when Fast allows that it passes the
// core (CostPatent).
func (s *Settings) CostOf(bytes uint32) Unit {
	return max(1, (Unit(bytes)+Unit(s.UnitBytes)-1)/Unit(s.UnitBytes))
}
