// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"cmp"
	"time"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// Methods of GroupSwitch events.
const (
	switchExplicit = "set-target-port-groups" // we asked the target for it
	switchTarget   = "target"                 // it changed states by itself
	switchPaths    = "path-loss"              // the paths of the other are lost
	switchFailback = "failback"               // by the rule
	switchOperator = "operator"               // a person chose it
)

// groupStatesLocked lists the groups for the mover, as they were without the paths
// of gone.
func (d *Device) groupStatesLocked(gone PathSet) []groupState {
	list := d.states[:0]
	for _, g := range d.groups {
		s := groupState{id: g.id, access: g.access, preferred: g.preferred}
		optimizes := g.supported == 0 || g.supported&scsi.SupportsActiveOptimized != 0
		for _, p := range d.paths {
			if p.portGroupLocked() != g {
				continue
			}
			s.total++
			s.used = s.used || d.inUse.Has(p.slot)
			s.explicit = s.explicit || p.facts.explicit && optimizes
			switch {
			case !p.live || gone.Has(p.slot):
			case p.health == Up:
				s.up++
			case p.health == Marginal:
				s.probation++
			}
		}
		list = append(list, s)
	}
	d.states = list
	return list
}

// moveGroupLocked has the target make another group active, if it is time. It has to
// follow every change of paths and groups.
func (d *Device) moveGroupLocked(out *outbox, now time.Time) {
	if len(d.groups) == 0 || d.closed {
		return
	}
	manual := d.rule.Failback.Mode == FailbackManual
	s := d.mover.step(now, d.groupStatesLocked(0), d.usableLocked() != 0, manual, d.timers.GroupSwitch)
	switch {
	case s.done:
		if !d.moved {
			out.event(Event{
				Kind: GroupSwitch, Device: d.name, Method: switchExplicit, Duration: s.took,
				Reason: "group " + name(s.goal.group) + " is active: " + s.goal.reason,
			})
		}
		d.wishDoneLocked(s.goal.group, nil)
	case s.failed:
		d.moveFailedLocked(out, s.goal, "it did not become active in time", now)
	case s.send:
		d.setGroupLocked(out, s.goal, 0, now)
		d.moved = false
	}
	if !s.look.IsZero() {
		d.dueLocked(out, s.look)
	}
}

// moveTries bounds the unit attentions that a SET TARGET PORT GROUPS may meet.
const moveTries = 6

// setGroupLocked sends SET TARGET PORT GROUPS over a path of the group, as the path
// that it is for; the others keep what they have.
func (d *Device) setGroupLocked(out *outbox, goal move, try int, now time.Time) {
	var over *Path
	for _, p := range d.paths {
		if p.asks() && p.facts.group == goal.group && p.facts.explicit && (over == nil || p.health == Up && over.health != Up) {
			over = p
		}
	}
	if over == nil {
		d.mover.answered(now, false, false, 0)
		d.moveFailedLocked(out, goal, "it has no path", now)
		return
	}
	list := scsi.AppendSetPortGroups(nil, []scsi.SetPortGroup{{ID: goal.group, State: scsi.ActiveOptimized}})
	c := &backends.Command{Out: vec(list), Timeout: d.timers.Request}
	scsi.SetPortGroups{ParameterListLength: uint32(len(list))}.Encode(&c.CDB)
	c.Done = func(b *backends.Batch, c *backends.Command) { d.setDone(b, c, goal, over, try) }
	out.exec(over.sess, c)
}

// setDone takes the end of a SET TARGET PORT GROUPS.
func (d *Device) setDone(b *backends.Batch, c *backends.Command, goal move, over *Path, try int) {
	c.Out.Release()
	res := c.Result
	out := newOutbox()
	now := time.Now()
	d.mu.Lock()
	key := scsi.SenseKey(res.Sense.Key)
	moving := res.Sense.Valid && scsi.MakeSenseCode(key, res.Sense.ASC, res.Sense.ASCQ) == scsi.CodeAccessTransition
	switch {
	case res.OK() || moving: // on its way, by us or by somebody else
		limit := transitionTime
		if g := d.groupLocked(goal.group); g != nil {
			limit = cmp.Or(d.transition, limit)
		}
		d.mover.answered(now, true, false, limit)
		d.ask.wait = 0
		d.askLocked(out, over, now)
	case res.Sense.Valid && key == scsi.UnitAttention && try < moveTries:
		d.setGroupLocked(out, goal, try+1, now)
	default:
		d.mover.answered(now, false, res.Class == backends.IllegalRequest || res.Class == backends.Unsupported, 0)
		d.moveFailedLocked(out, goal, res.Err().Error(), now)
		d.askLocked(out, nil, now)
	}
	d.moveGroupLocked(out, now)
	d.watchGroupsLocked(out, now)
	d.pumpLocked(b, out, now)
	d.mu.Unlock()
	d.send(b, out)
}

// moveFailedLocked tells of a move that did not work.
func (d *Device) moveFailedLocked(out *outbox, goal move, why string, now time.Time) {
	out.event(Event{
		Kind: GroupSwitchFailed, Device: d.name, Method: switchExplicit,
		Reason: "group " + name(goal.group) + " is not active: " + why + "; it was wanted since " + goal.reason,
	})
	d.wishDoneLocked(goal.group, &SwitchError{Group: goal.group, Why: why})
	d.dueLocked(out, now)
}

// switchedLocked tells that requests go over other groups than before.
func (d *Device) switchedLocked(out *outbox, was PathSet, by string, now time.Time) {
	if len(d.groups) == 0 {
		return
	}
	if d.inUse == 0 {
		if was != 0 {
			d.groupGone, d.goneBy = now, by
		}
		return
	}
	groups := d.groupsOfLocked(d.inUse)
	before := d.groupsUsed
	d.groupsUsed = groups
	took := time.Duration(0)
	if was == 0 && !d.groupGone.IsZero() {
		took = now.Sub(d.groupGone)
	}
	if len(before) == 0 || len(groups) == 0 || meet(before, groups) {
		return
	}
	method := by
	if was == 0 && by != switchOperator && by != switchFailback {
		method = cmp.Or(d.goneBy, by)
	}
	reason := "group " + names(groups) + " instead of " + names(before)
	if m := &d.mover; m.phase == moverSettling && meet(groups, []uint16{m.goal.group}) {
		method, took, d.moved = switchExplicit, now.Sub(m.since), true
		reason += ": " + m.goal.reason
	}
	out.event(Event{Kind: GroupSwitch, Device: d.name, Method: method, Duration: took, Reason: reason})
}
