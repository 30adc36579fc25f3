// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"slices"
	"strconv"
	"time"
)

// limiter bounds how many events of one kind about one object go out in a window. It
// takes the time and reads no clock. Not safe for concurrent use.
//
// An event over the bound replaces the one of its kind that is held. What is held
// goes out at the end of the window, or before another event about the same object,
// so that a reader who follows an object sees its changes in order and never misses
// what it came to in the end. What administrators ask for is never held: each has
// somebody who did it.
type limiter struct {
	burst   int // negative: no limit
	window  time.Duration
	max     int // objects
	objects map[objectKey]*objectLimit
	sweep   time.Time // when a full table is worth going through again
	arrival uint64
}

// objectKey is what an event is about. The overflow key stands for all objects that
// found the table full.
type objectKey struct {
	vm, disk, device, path, session string
	overflow                        bool
}

type objectLimit struct {
	until time.Time
	kinds []kindLimit // few: one for each kind seen in this window
	held  int         // kinds that hold an event
}

type kindLimit struct {
	kind    Kind
	passed  int
	held    int    // events not passed
	newest  Event  // the newest of them
	arrival uint64 // and its place among all
}

// admit lets e out through emit, or holds it. When something is held now, wake tells
// when expire is due.
func (l *limiter) admit(now time.Time, e Event, emit func(Event)) (wake time.Time) {
	if l.burst < 0 {
		emit(e)
		return wake
	}
	o := l.object(now, e, emit)
	if e.Kind == KindOperator {
		o.release(emit)
		emit(e)
		return wake
	}
	i := slices.IndexFunc(o.kinds, func(k kindLimit) bool { return k.kind == e.Kind })
	if i < 0 {
		i = len(o.kinds)
		o.kinds = append(o.kinds, kindLimit{kind: e.Kind})
	}
	k := &o.kinds[i]
	if k.passed < l.burst {
		o.release(emit)
		k.passed++
		emit(e)
		return wake
	}
	if k.held == 0 {
		o.held++
	}
	l.arrival++
	k.held++
	k.newest, k.arrival = e, l.arrival
	return o.until
}

// object finds or makes the entry of e's object, with a window that has not ended.
func (l *limiter) object(now time.Time, e Event, emit func(Event)) *objectLimit {
	key := objectKey{vm: e.VM, disk: e.Disk, device: e.Device, path: e.Path, session: e.Session}
	o := l.objects[key]
	if o == nil && len(l.objects) >= l.max {
		if !now.Before(l.sweep) {
			l.expire(now, emit)
			l.sweep = now.Add(l.window)
		}
		if len(l.objects) >= l.max {
			key = objectKey{overflow: true}
			o = l.objects[key]
		}
	}
	if o == nil {
		o = &objectLimit{until: now.Add(l.window)}
		l.objects[key] = o
	}
	if !now.Before(o.until) {
		o.restart(now.Add(l.window), emit)
	}
	return o
}

// expire lets out what is held in windows that have ended and forgets objects that
// were quiet for one. next tells when it is due again; zero: when admit says so.
func (l *limiter) expire(now time.Time, emit func(Event)) (next time.Time) {
	var due []*objectLimit
	for key, o := range l.objects {
		switch {
		case now.Before(o.until):
			if o.held > 0 && (next.IsZero() || o.until.Before(next)) {
				next = o.until
			}
		case o.held == 0:
			delete(l.objects, key)
		default:
			due = append(due, o)
		}
	}
	// In the order of arrival, not of the map.
	slices.SortFunc(due, func(a, b *objectLimit) int { return cmp.Compare(a.first(), b.first()) })
	for _, o := range due {
		o.restart(now.Add(l.window), emit)
	}
	return next
}

// drain lets out all that is held.
func (l *limiter) drain(emit func(Event)) {
	for _, o := range l.objects {
		o.until = time.Time{}
	}
	l.expire(time.Unix(0, 0), emit)
}

func (o *objectLimit) first() uint64 {
	first := uint64(0)
	for _, k := range o.kinds {
		if k.held > 0 && (first == 0 || k.arrival < first) {
			first = k.arrival
		}
	}
	return first
}

// restart begins a new window, with what was held as its first events.
func (o *objectLimit) restart(until time.Time, emit func(Event)) {
	for i := range o.kinds {
		o.kinds[i].passed = min(1, o.kinds[i].held)
	}
	o.release(emit)
	o.kinds = slices.DeleteFunc(o.kinds, func(k kindLimit) bool { return k.passed == 0 })
	o.until = until
}

// release lets out what is held, oldest first.
func (o *objectLimit) release(emit func(Event)) {
	for ; o.held > 0; o.held-- {
		at := o.first()
		i := slices.IndexFunc(o.kinds, func(k kindLimit) bool { return k.held > 0 && k.arrival == at })
		k := &o.kinds[i]
		e := k.newest
		if k.held > 1 {
			e = e.With("suppressed", strconv.Itoa(k.held-1))
		}
		k.held, k.newest, k.arrival = 0, Event{}, 0
		emit(e)
	}
}
