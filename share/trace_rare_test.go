// SPDX-License-Identifier: Apache-2.0

package share

import (
	"slices"
	"time"
)

// rare are the events that are not commands that come and end.
func (t *trace) rare() []Event {
	switch t.below(22) {
	case 0:
		return t.addOrRemove()
	case 1, 2:
		return t.reconfigure()
	case 3:
		t.version++
		return []Event{{
			Kind: ConfigureGroup, Group: GroupID(t.below(t.groups + 1)),
			GroupEntitlement: t.groupEntitlement(), Version: t.version,
		}}
	case 4:
		t.version++
		s := t.settings()
		t.set = s
		return []Event{{Kind: Configure, Settings: &s, Version: t.version}}
	case 5, 6, 7:
		return []Event{{Kind: Paths, Kappa: oneOf[uint32](&t.traceBytes, refFull, 500_000, 0, 750_000, 333_333, 1)}}
	case 8:
		return t.moveOut(Event{Kind: PathDown}, &t.lost)
	case 9:
		return t.moveIn(Redrive, &t.lost)
	case 10:
		return t.moveOut(Event{Kind: Park, Reason: oneOf(&t.traceBytes, Fence, Busy)}, &t.parked)
	case 11:
		return t.moveIn(Unpark, &t.parked)
	case 12:
		return []Event{{Kind: Commands, Count: int32(t.below(24))}}
	case 13:
		if t.often(64) {
			t.march = 40
		}
		return []Event{{Kind: TaskSetFull}}
	case 14:
		id, _ := t.someFlow()
		return []Event{{Kind: Fast, Flow: id, Units: Unit(t.below(64)), Count: int32(t.below(4))}}
	case 15:
		extra := t.below(8)
		t.units += Unit(extra)
		t.commands += extra
		return []Event{{
			Kind: Window, Units: t.units, Count: int32(t.commands), Completed: Unit(t.below(64)),
			Samples: int32(t.below(20)), Latency: int64(t.word()) * 10_000,
		}}
	case 16:
		return []Event{{Kind: Stall, Until: t.now + Instant(t.below(256))*Instant(time.Millisecond)}}
	case 17, 18:
		return t.abort()
	case 19, 20:
		return t.nonsense()
	}
	id, f := t.someFlow()
	if f == nil {
		return []Event{{Kind: ResetFlow, Flow: 99}}
	}
	return []Event{{Kind: ResetFlow, Flow: id}}
}

// addOrRemove adds a flow, or removes one; not always one that may be.
func (t *trace) addOrRemove() []Event {
	if t.often(128) {
		for id := range FlowID(traceFlows) {
			if t.flows[id] == nil {
				return []Event{t.addFlow(id)}
			}
		}
	}
	id, f := t.someFlow()
	if f == nil {
		return nil
	}
	if len(f.queue) == 0 {
		delete(t.flows, id)
	}
	return []Event{{Kind: RemoveFlow, Flow: id}}
}

func (t *trace) reconfigure() []Event {
	id, f := t.someFlow()
	if f == nil {
		return nil
	}
	t.version++
	e := t.entitlement()
	return []Event{{Kind: ConfigureFlow, Flow: id, Entitlement: &e, Version: t.version}}
}

// nonsense is what must change nothing but the count of faults.
func (t *trace) nonsense() []Event {
	e := t.entitlement()
	no := e
	no.Group = 77
	id, _ := t.someFlow()
	stray := &Cmd{Tag: 1 << 40, Bytes: 4096}
	all := []Event{
		{Kind: 200},
		{Kind: AddFlow, Flow: 50, Entitlement: &no},
		{Kind: AddFlow, Flow: id, Entitlement: &e},
		{Kind: ConfigureFlow, Flow: 51, Entitlement: &e},
		{Kind: ConfigureFlow, Flow: id, Entitlement: &no},
		{Kind: RemoveFlow, Flow: 52},
		{Kind: Fast, Flow: 53, Units: 5},
		{Kind: Submit, Flow: 54, Cmd: stray},
		{Kind: Complete, Cmd: stray},
		{Kind: Park, Cmd: stray, Reason: Busy},
		{Kind: Unpark, Cmd: stray},
		{Kind: Redrive, Cmd: stray},
	}
	if id == NoFlow { // An AddFlow of it would be no nonsense.
		all = all[5:]
	}
	if len(t.inflight) > 0 {
		c := t.inflight[0].cmd
		all = append(all, Event{Kind: Unpark, Cmd: c}, Event{Kind: Redrive, Cmd: c}, Event{Kind: Submit, Flow: id, Cmd: c})
	}
	if len(t.parked) > 0 { // This one is none: the reason is another.
		all = append(all, Event{Kind: Park, Cmd: t.parked[0].cmd, Reason: oneOf(&t.traceBytes, Fence, Busy)})
	}
	return []Event{all[t.below(len(all))]}
}

// moveOut takes commands out of the window.
func (t *trace) moveOut(ev Event, to *[]*traceCmd) (in []Event) {
	for range 1 + t.below(4) {
		if len(t.inflight) == 0 {
			break
		}
		i := t.below(len(t.inflight))
		c := t.inflight[i]
		t.inflight = slices.Delete(t.inflight, i, i+1)
		*to = append(*to, c)
		t.units -= c.cost
		t.commands--
		ev.Cmd = c.cmd
		in = append(in, ev)
	}
	return in
}

// moveIn puts commands back, or ends one where it is.
func (t *trace) moveIn(kind Kind, from *[]*traceCmd) (in []Event) {
	for range 1 + t.below(4) {
		if len(*from) == 0 {
			break
		}
		if t.often(32) {
			in = append(in, t.complete(from, 0))
			continue
		}
		c := (*from)[0]
		*from = (*from)[1:]
		t.inflight = append(t.inflight, c)
		t.units += c.cost
		t.commands++
		in = append(in, Event{Kind: kind, Cmd: c.cmd})
	}
	return in
}

// abort is for a command that waits, or by mistake one that does not.
func (t *trace) abort() []Event {
	_, f := t.someFlow()
	if f == nil {
		return nil
	}
	if n := len(f.queue); n > 0 {
		return []Event{{Kind: Abort, Cmd: f.queue[t.below(min(n, 256))].cmd}}
	}
	if len(t.inflight) > 0 {
		return []Event{{Kind: Abort, Cmd: t.inflight[0].cmd}}
	}
	return nil
}
