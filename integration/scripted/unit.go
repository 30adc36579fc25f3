// SPDX-License-Identifier: Apache-2.0

package scripted

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pathgate/internal/scsi"
)

// Unit is a logical unit. Fields are read when a command asks for them. A unit
// that is mapped already is changed by Set.
type Unit struct {
	// Medium has the bytes; never nil.
	Medium *Medium
	// Vendor, Product and Revision are those of INQUIRY, Serial that of page 80; ""
	// refuses that page.
	Vendor, Product, Revision, Serial string
	// Designators are the unit's on page 83; those of the port are added. Page83
	// replaces the whole page, header included; it may be nonsense.
	Designators []scsi.Designator
	Page83      []byte
	// Block is the logical block size in bytes, Size what READ CAPACITY tells, in
	// bytes: commands beyond it end with 5/21/00.
	Block uint32
	Size  uint64
	// WriteCache is WCE, FUA is DPOFUA, ReadOnly is WP; Thin offers UNMAP.
	WriteCache, FUA, ReadOnly, Thin bool
	// Groups are the target port groups, TPGS the kind of access control: 0 none,
	// scsi.ALUAImplicit and scsi.ALUAExplicit. Transition is the implicit
	// transition time that is told; 0: none.
	Groups     []scsi.PortGroup
	TPGS       uint8
	Transition time.Duration
	// AttentionAtLogin raises 6/29/00 for each new session, as tgtd does.
	AttentionAtLogin bool
	// NoReservations refuses PERSISTENT RESERVE IN and OUT.
	NoReservations bool

	mu       sync.Mutex
	events   []unitEvent
	reserved reservations
	syncs    int
}

// unitEvent is a unit attention that was raised.
type unitEvent struct {
	seq  uint64
	code scsi.SenseCode
	to   func(c *conn) bool
}

// sequence orders events and logins of all targets.
var sequence atomic.Uint64

// units counts them, so that each has an identity of its own.
var units atomic.Uint64

// NewUnit makes a disk of size bytes with 512-byte blocks, a volatile write cache
// and a strong identity that no other has.
func NewUnit(size int) *Unit { return NewUnitOn(NewMedium(size)) }

// NewUnitOn makes such a disk on m.
func NewUnitOn(m *Medium) *Unit {
	n := units.Add(1)
	return &Unit{
		Medium: m, Vendor: "SCRIPTED", Product: "DISK", Revision: "1", Serial: "unit-" + scsi.LUN(n).String(),
		Designators: []scsi.Designator{scsi.NAARegistered(0x001405, 0x5c, n)},
		Block:       512, Size: uint64(len(m.b)), WriteCache: true, FUA: true,
	}
}

// Twin makes a unit that says the same of itself and is on the same medium: what
// one logical unit looks like behind another port that does not know what this one
// was told since.
func (u *Unit) Twin() *Unit {
	u.mu.Lock()
	defer u.mu.Unlock()
	return &Unit{
		Medium: u.Medium, Vendor: u.Vendor, Product: u.Product, Revision: u.Revision, Serial: u.Serial,
		Designators: slices.Clone(u.Designators), Page83: slices.Clone(u.Page83), Block: u.Block, Size: u.Size,
		WriteCache: u.WriteCache, FUA: u.FUA, ReadOnly: u.ReadOnly, Thin: u.Thin,
		Groups: slices.Clone(u.Groups), TPGS: u.TPGS, Transition: u.Transition,
		AttentionAtLogin: u.AttentionAtLogin, NoReservations: u.NoReservations,
	}
}

// Set changes what the unit says, while it is in use. Nobody is told: see Raise.
func (u *Unit) Set(change func(u *Unit)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	change(u)
}

// Syncs counts SYNCHRONIZE CACHE.
func (u *Unit) Syncs() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.syncs
}

// Raise has each session that is logged in told code, a unit attention, with its
// next command; portals limits it to those.
func (u *Unit) Raise(code scsi.SenseCode, portals ...int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.raiseLocked(code, func(c *conn) bool { return len(portals) == 0 || slices.Contains(portals, c.portal) })
}

func (u *Unit) raiseLocked(code scsi.SenseCode, to func(*conn) bool) {
	u.events = append(u.events, unitEvent{sequence.Add(1), code, to})
}

// Resize sets the size that READ CAPACITY tells, in bytes, lets the medium grow to
// it, and raises 6/2A/09.
func (u *Unit) Resize(size uint64) {
	u.Medium.Grow(int(size))
	u.mu.Lock()
	defer u.mu.Unlock()
	u.Size = size
	u.raiseLocked(scsi.CodeCapacityChanged, func(*conn) bool { return true })
}

// SetAccess gives a port group another state and raises 6/2A/06, as a target does
// that changes it by itself.
func (u *Unit) SetAccess(group uint16, state scsi.AccessState) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.setAccessLocked(group, state, scsi.StatusByImplicitChange, nil)
}

// setAccessLocked changes it; the session that asked is not told.
func (u *Unit) setAccessLocked(group uint16, state scsi.AccessState, why uint8, asked *conn) bool {
	i := slices.IndexFunc(u.Groups, func(g scsi.PortGroup) bool { return g.ID == group })
	if i < 0 {
		return false
	}
	u.Groups[i].State, u.Groups[i].Status = state, why
	u.raiseLocked(scsi.CodeAccessStateChanged, func(c *conn) bool { return c != asked })
	return true
}

// access is the state of the group that a portal belongs to.
func (u *Unit) access(group uint16) scsi.AccessState {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.accessLocked(group)
}

func (u *Unit) accessLocked(group uint16) scsi.AccessState {
	for _, g := range u.Groups {
		if g.ID == group && u.TPGS != 0 {
			return g.State
		}
	}
	return scsi.ActiveOptimized
}

// attention takes the next unit attention that c has not been told; 0: none.
func (u *Unit) attention(c *conn) scsi.SenseCode {
	c.mu.Lock()
	defer c.mu.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	seen, met := c.seen[u]
	if !met {
		seen = c.born
		if u.AttentionAtLogin {
			c.seen[u] = seen
			return scsi.CodeResetOccurred
		}
	}
	for _, e := range u.events {
		if e.seq > seen {
			seen = e.seq
			c.seen[u] = seen
			if e.to(c) {
				return e.code
			}
		}
	}
	c.seen[u] = seen
	return scsi.CodeNone
}
