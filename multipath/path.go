// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"cmp"
	"fmt"
	"time"

	"pathgate/backends"
)

// Path is one way to a LUN: a session and the LUN's number there.
type Path struct {
	// Never changed. slot and dev are set when the path joins its device.
	name string
	port *port
	lun  uint16
	sess backends.Session
	dev  *Device
	slot int

	// Guarded by dev.mu.
	line      Line // as the selector knows it
	health    Health
	access    Access
	accessAt  time.Time // of its last change
	unread    bool      // it has failed, and its group let no test read pass yet
	reason    string
	changed   time.Time // last change of health
	stableAt  time.Time // marginal: when it is up again, if nothing happens
	live      bool      // the session is logged in
	proved    bool      // in this run: it counts in the nominal capacity
	settled   Access    // access, but for transitions
	stale     bool      // settled is out of date: another path has taken its part
	gen       uint64    // of the last login
	proving   bool      // identity has to be proved again; not used meanwhile
	held      bool      // no new requests: the LUN is being reset
	mask      int       // number of the rule for which it is about to leave; 0: it stays
	facts     facts
	strange   *facts // what it showed when it first contradicted the other paths; else nil
	sized     bool   // its target has announced another capacity
	kept      bool   // failed by an administrator: not proved before it is asked for
	asked     bool   // an administrator waits for a proof, which ends probation
	history   history
	noLUN     bool     // quarantined since there is no logical unit
	unready   bool     // down since the logical unit was not ready
	swapped   string   // quarantined since another logical unit is there: its identity
	okGen     uint64   // login in which it was last proved
	left      bool     // it is no path of the device any more; see leave.go
	markedGen uint64   // login in which the last token was left, or tried to be
	token     uint64   // of that login, 0: none could be left
	tokens    []uint64 // those that the LUN may still have of us
	known     []uint64 // the keys that the LUN had then
	remark    bool     // the token has to be looked after again
	foreign   bool     // others have registrations or a reservation there
	reserved  ReservationState
	preempted bool          // its key was taken away to fence it, and it has not logged in since
	tag       uint16        // target portal group of the last login over its own way
	server    *server       // whose cache it leads to
	fenced    uint64        // attempts of earlier generations cannot run any more
	opens     []GhostRecord // of it in use, as the store has them: the last is that of the last login
	swallow   time.Time     // until then a unit attention is that of our own reset; zero: none is expected
	waits     bool          // marginal, and held there by the failback rule
	streak    uint8         // failures in a row
	fails     uint8         // times down since it was last stable for long, less one; 255: or more
	failedAt  uint64        // offset of the last request that failed by the path's fault
	ours      bool          // its session is lost by our own doing
	cause     string        // what broke beyond the path itself, while it is down; "": nothing
	vigil     vigil
	check     checker

	first, last *attempt // in flight, in the order of sending
	inflight    int
	bytes       uint64 // in flight

	// While it is being failed over: requests that were in flight at the loss
	// and wait to be sent again.
	moving    int
	movedN    int
	lostAt    time.Time
	sweepAt   time.Time // abort what was sent before sweepOf and has no end yet
	sweepOf   time.Time
	reads     uint64
	writes    uint64
	readB     uint64
	writeB    uint64
	errors    uint64
	latency   time.Duration // moving mean over about 16 requests
	latencies uint64
}

// usable tells whether the path may be given requests. Caller holds dev.mu.
func (p *Path) usableLocked() bool {
	return p.health.Carries() && p.live && !p.proving && !p.held && p.mask == 0 && p.access.Serves()
}

// rankUp is above all priorities: a path that is up comes before one on probation.
const rankUp = 1000

// rank orders usable paths into groups; the highest one is used.
func (p *Path) rankLocked() int {
	r := p.priorityLocked()
	if p.health == Up {
		r += rankUp
	}
	return r
}

// PathInfo is a path at one moment, for people.
type PathInfo struct {
	Name     string `json:"name"`
	Device   string `json:"device"`
	Identity string `json:"identity"`
	Adapter  string `json:"adapter"`
	Target   string `json:"target"`
	Portal   string `json:"portal"`
	LUN      uint16 `json:"lun"`
	Health   string `json:"health"`
	Access   string `json:"access"`
	// Group is the number of its target port group, "" where there is none.
	Group     string `json:"group,omitempty"`
	Preferred bool   `json:"preferred,omitempty"`
	// Priority: paths with the highest one are used together. 0: of no use.
	Priority int `json:"priority"`
	// Cause is what broke, if that is more than the path: "adapter vmhba1".
	Cause   string    `json:"cause,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Changed time.Time `json:"changed"`
	// Used: requests go here now.
	Used       bool          `json:"used"`
	Generation uint64        `json:"generation"`
	Inflight   int           `json:"inflight"`
	Pending    uint64        `json:"pending_bytes"`
	Reads      uint64        `json:"reads"`
	Writes     uint64        `json:"writes"`
	ReadBytes  uint64        `json:"read_bytes"`
	WriteBytes uint64        `json:"write_bytes"`
	Errors     uint64        `json:"errors"`
	Latency    time.Duration `json:"latency_ns"`
	Ghosts     int           `json:"ghosts"`
	// Masked is the number of the rule for which it is about to leave; Health then is
	// "masked". 0: it stays.
	Masked int `json:"masked,omitempty"`
	// Kept: failed until it is reinstated. Asked: ReinstatePath has not ended yet.
	Kept  bool `json:"kept,omitempty"`
	Asked bool `json:"asked,omitempty"`
	// Fencing is the FenceLevel.
	Fencing string `json:"fencing"`
	// VMs are those whose requests went here in the last seconds, sorted.
	VMs []string `json:"vms,omitempty"`
}

// reasonLocked is why p is not as it should be; "": it is. For a path on probation
// it has the time until it counts as up, which doubles with each loss.
func (p *Path) reasonLocked(now time.Time) string {
	switch {
	case p.kept:
		return keptByHand
	case !p.live && p.health.Carries():
		return "no session"
	}
	switch {
	case p.cause != "" && p.health == Down:
		return p.cause + ": " + p.reason
	case p.health != Marginal:
		return p.reason
	}
	why, least := p.vigil.reason(&p.dev.rule.Marginal, now)
	if why == "" {
		why = cmp.Or(p.reason, "on probation")
		if p.fails > 0 {
			why = fmt.Sprintf("on probation after %d losses", int(p.fails)+1)
		}
	}
	wait, left := p.waitsLocked(now)
	if left = max(left, least); wait == "" && left > 0 {
		wait = fmt.Sprintf("back in %d s", (left+time.Second-1)/time.Second)
	}
	if wait != "" {
		why += ", " + wait
	}
	return why
}

func (p *Path) infoLocked(now time.Time) PathInfo {
	d := p.dev
	i := PathInfo{
		Name: p.name, Device: d.name, Identity: d.identity.ID, Adapter: p.port.adapter.Name,
		Target: p.port.target, Portal: p.port.portal, LUN: p.lun,
		Health: p.health.String(), Access: p.access.String(), Reason: p.reasonLocked(now), Changed: p.changed,
		Used: d.inUse.Has(p.slot), Generation: p.gen, Inflight: p.inflight, Pending: p.bytes,
		Reads: p.reads, Writes: p.writes, ReadBytes: p.readB, WriteBytes: p.writeB,
		Errors: p.errors, Latency: p.latency, Kept: p.kept, Asked: p.asked,
		Fencing: d.fenceLevelLocked(p).String(), Cause: p.cause,
	}
	i.Priority = p.priorityLocked()
	if g := p.portGroupLocked(); g != nil {
		i.Group, i.Preferred = g.name(), g.preferred
	}
	if p.mask != 0 {
		i.Masked, i.Health, i.Reason = p.mask, maskedHealth, p.maskReasonLocked()
	}
	i.VMs = d.vms.on(p.slot, now)
	for _, g := range d.ghosts {
		if g.path == p.name {
			i.Ghosts++
		}
	}
	return i
}
