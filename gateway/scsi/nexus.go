// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"fmt"
	"slices"
	"sync/atomic"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// NexusConfig describes an I_T nexus.
type NexusConfig struct {
	// Initiator is the initiator port: iSCSI name and ISID.
	Initiator scsi.TransportID
	// Port is the relative identifier of the target port.
	Port uint16
	// Connection names the peer for people, as in backends.Origin.
	Connection string
	// Claims is asked before this nexus uses a unit first; nil: it may use all.
	Claims Claims
}

// Claims decides which nexuses may use which units, beside reservations.
type Claims interface {
	// Claim is asked when n is about to use the unit at lun, again until that is granted.
	// It is called with the unit's lock held: it must not wait, and not call this
	// package.
	Claim(n *Nexus, lun scsi.LUN) ClaimResult
}

// ClaimResult is the answer to a claim. What is not granted concerns the commands that
// read, change or reserve the unit; those that only look at it always work.
type ClaimResult uint8

const (
	// ClaimGranted: the nexus may use the unit, until Revoke.
	ClaimGranted ClaimResult = iota + 1
	// ClaimBusy: soon perhaps. The command is answered with BUSY, which initiators repeat.
	ClaimBusy
	// ClaimRefused: somebody else has it. The command is answered with RESERVATION
	// CONFLICT, as if the other one had an exclusive reservation.
	ClaimRefused
)

// Nexus is one I_T nexus: what an iSCSI session is to the device server.
// Begin and Submit belong to one goroutine; the other methods are safe for
// concurrent use with them. Make it with Target.Open.
type Nexus struct {
	t    *Target
	cfg  NexusConfig
	port Port
	// links is replaced, never changed, under Target.mu; ascending by LUN.
	links atomic.Pointer[[]*link]
	// ready and reqs are Submit's scratch.
	ready []*task
	reqs  []*backends.Request
}

// link is one I_T_L nexus.
type link struct {
	n        *Nexus
	u        *Unit
	lun      scsi.LUN
	readOnly bool
	origin   backends.Origin
	grant    *backends.Grant

	// Guarded by u.mu:
	attention attentions
	level     access // the most that reservations let it do
	claimed   bool   // the unit may be used: NexusConfig.Claims
	gone      bool   // no task begins any more
	prevent   bool   // PREVENT ALLOW MEDIUM REMOVAL
	copies    []copyResult
}

// Open makes a nexus to all units of t. Each of them has the unit attention
// 29/00 for it, so that an initiator learns that tasks of an older nexus are
// gone.
func (t *Target) Open(cfg NexusConfig) (*Nexus, error) {
	port, ok := t.port(cfg.Port)
	if !ok {
		return nil, fmt.Errorf("port %d of target %q: %w", cfg.Port, t.cfg.Name, ErrNoPort)
	}
	n := &Nexus{t: t, cfg: cfg, port: port}
	n.links.Store(&[]*link{})
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nexuses[n] = struct{}{}
	for _, m := range t.units {
		n.linkLocked(m)
	}
	return n, nil
}

// Close ends the nexus (I_T nexus loss): its tasks end without an answer, its
// RESERVE is released, persistent reservations stay. No Begin may follow. done
// is called when the tasks have really ended.
func (n *Nexus) Close(b *backends.Batch, done Done) {
	n.t.mu.Lock()
	delete(n.t.nexuses, n)
	links := *n.links.Load()
	n.links.Store(&[]*link{})
	n.t.mu.Unlock()
	endLinks(b, links, done)
}

// linkLocked adds the link to m.
func (n *Nexus) linkLocked(m mapped) {
	l := &link{n: n, u: m.Unit, lun: m.lun, readOnly: m.ReadOnly, origin: m.Origin, claimed: n.cfg.Claims == nil}
	l.origin.Connection = n.cfg.Connection
	l.grant = m.Unit.cfg.Device.Grant(&l.origin)
	old := *n.links.Load()
	i, _ := slices.BinarySearchFunc(old, m.lun, compareLink)
	links := slices.Insert(slices.Clone(old), i, l)
	n.links.Store(&links)
	m.Unit.attach(l)
}

// unlinkLocked takes the link of lun out and gives it; nil: there is none.
func (n *Nexus) unlinkLocked(lun scsi.LUN) *link {
	old := *n.links.Load()
	i, ok := slices.BinarySearchFunc(old, lun, compareLink)
	if !ok {
		return nil
	}
	l := old[i]
	links := slices.Delete(slices.Clone(old), i, i+1)
	n.links.Store(&links)
	return l
}

func compareLink(l *link, lun scsi.LUN) int { return int(l.lun) - int(lun) }

// link gives the link of lun, or nil.
func (n *Nexus) link(lun scsi.LUN) *link {
	links := *n.links.Load()
	if i, ok := slices.BinarySearchFunc(links, lun, compareLink); ok {
		return links[i]
	}
	return nil
}

// tellInventoryLocked tells that the list of units changes.
func (n *Nexus) tellInventoryLocked() { n.tellLocked(scsi.CodeReportedLUNsChanged) }

func (n *Nexus) tellLocked(c scsi.SenseCode) {
	for _, l := range *n.links.Load() {
		l.u.tell(c, func(x *link) bool { return x == l })
	}
}

// Depth is how many commands all units of the nexus take together, as the credits
// of their devices say; 0 without any unit.
func (n *Nexus) Depth() int {
	sum := 0
	for _, l := range *n.links.Load() {
		sum += l.grant.Commands()
	}
	return sum
}
