// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pathgate/backends"
)

// Refusals of SwitchGroup.
var (
	// ErrNoGroup: the device has no target port group of that number.
	ErrNoGroup = errors.New("no such port group")
	// ErrGroupDown: no path of the group is up.
	ErrGroupDown = errors.New("no path of the port group is up")
	// ErrImplicit: the group is not active, and the target changes states by itself
	// only.
	ErrImplicit = errors.New("the port group is not active, and the target does not let others choose")
)

// SwitchError tells that the target was asked to make a group active, and it is not.
type SwitchError struct {
	Group uint16
	Why   string
}

// Error implements error.
func (e *SwitchError) Error() string {
	return "group " + name(e.Group) + " is not active: " + e.Why
}

// wish is a person's choice that has not come true yet.
type wish struct {
	group uint16
	done  chan error // takes one
}

// SwitchGroup makes the port group of that number the one in use, by SET TARGET
// PORT GROUPS if it is not active/optimized and the target knows that. It stays so
// until no path of it can be used any more, or the device's failback rule goes back
// to a better one. It waits until that is so, or for ctx; what the target was asked
// for goes on then.
func (d *Device) SwitchGroup(ctx context.Context, group uint16) error {
	w, err := d.switchGroup(group)
	if err != nil || w == nil {
		return err
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// switchGroup begins; nil: it is done.
func (d *Device) switchGroup(group uint16) (*wish, error) {
	var b backends.Batch
	out := newOutbox()
	now := time.Now()
	d.mu.Lock()
	w, err := d.switchGroupLocked(&b, out, group, now)
	d.pumpLocked(&b, out, now)
	d.mu.Unlock()
	d.send(&b, out)
	b.Run()
	return w, err
}

func (d *Device) switchGroupLocked(b *backends.Batch, out *outbox, group uint16, now time.Time) (*wish, error) {
	i := slices.IndexFunc(d.groupStatesLocked(0), func(g groupState) bool { return g.id == group })
	switch {
	case i < 0:
		return nil, fmt.Errorf("group %d of %s: %w", group, d.name, ErrNoGroup)
	case d.states[i].up+d.states[i].probation == 0:
		return nil, fmt.Errorf("group %d of %s: %w", group, d.name, ErrGroupDown)
	}
	g := d.states[i]
	if !g.access.Serves() && !g.explicit {
		return nil, fmt.Errorf("group %d of %s: %w", group, d.name, ErrImplicit)
	}
	d.wishDoneLocked(d.pin, &SwitchError{Group: d.pin, Why: "another group was chosen"})
	d.pin, d.choice.pinned, d.failback = group, g.access.Serves(), failback{}
	d.mover.wish = nil
	var w *wish
	if g.explicit && g.access != Optimized {
		w = &wish{group, make(chan error, 1)}
		d.wish, d.mover.wish = w, &move{group: group, reason: moveAsked, asked: true}
	}
	d.pathsChangedLocked(b, out, now)
	return w, nil
}

// wishDoneLocked ends the wish for group, if there is one.
func (d *Device) wishDoneLocked(group uint16, err error) {
	if w := d.wish; w != nil && w.group == group {
		d.wish = nil
		w.done <- err
	}
}

// wishAheadLocked has a choice count from the moment on that its group serves.
func (d *Device) wishAheadLocked() {
	if w := d.wish; w != nil && !d.choice.pinned {
		if g := d.groupLocked(w.group); g != nil && g.access.Serves() {
			d.choice.pinned = true
		}
	}
}

func name(group uint16) string { return strconv.Itoa(int(group)) }

func names(groups []uint16) string {
	var list []string
	for _, g := range groups {
		list = append(list, name(g))
	}
	return strings.Join(list, " and ")
}

// meet tells whether two lists have something in common.
func meet(a, b []uint16) bool {
	return slices.ContainsFunc(a, func(x uint16) bool { return slices.Contains(b, x) })
}
