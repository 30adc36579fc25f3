// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"pathgate/gateway"
	"pathgate/gateway/control"
)

// lastEvent gives the number of the newest event.
func (d *demo) lastEvent(ctx context.Context) (uint64, error) {
	one := uint64(1)
	list, err := d.api.Events(ctx, control.EventQuery{Newest: &one})
	if err != nil || len(list) == 0 {
		return 0, err
	}
	return list[0].Seq, nil
}

// demoTelling bounds the wait for what the gateway tells of the cut.
const demoTelling = 500 * time.Millisecond

// demoFault is what was done to the paths.
type demoFault struct {
	at   time.Time
	name string // "the cut"
}

// demoTold is closed bit by bit as the gateway tells of what was done.
type demoTold struct {
	lost  chan struct{} // a path
	moved chan struct{} // the requests of a lost path go over another
	down  chan struct{} // no path is left
}

func newDemoTold() demoTold {
	return demoTold{make(chan struct{}), make(chan struct{}), make(chan struct{})}
}

// tell prints what the gateway says of lost paths, as it comes, and closes what d.told
// has for it. A failover is told only if a request was in flight on that path.
func (d *demo) tell(ctx context.Context, from uint64) {
	lost := sync.OnceFunc(func() { close(d.told.lost) })
	moved := sync.OnceFunc(func() { close(d.told.moved) })
	down := sync.OnceFunc(func() { close(d.told.down) })
	for e, err := range d.api.Follow(ctx, control.EventQuery{From: from + 1}, control.FollowOptions{}) {
		if err != nil {
			return
		}
		text, then := "", func() {}
		switch e.Kind {
		case gateway.KindPathDown.String():
			text = fmt.Sprintf("path %s is lost%s: %s", e.Path, d.since(e), e.Message)
			then = lost
		case gateway.KindFailover.String():
			text = fmt.Sprintf("failover complete%s: %s request(s) that were in flight were sent again, on a living path",
				d.since(e), cmp.Or(attr(e, "requests"), "0"))
			then = moved
		case gateway.KindGhostHeld.String():
			text = fmt.Sprintf("%s write(s) may still run on the lost path: a newer one to the same blocks waits", attr(e, "requests"))
		case gateway.KindFenceDone.String():
			text = fmt.Sprintf("old writes of %s are fenced by %s%s: %s newer write(s) go on",
				e.Path, attr(e, "method"), d.since(e), cmp.Or(attr(e, "held"), "0"))
		case gateway.KindFailback.String():
			text = fmt.Sprintf("path %s has been stable and is in use again", e.Path)
		case gateway.KindAllPathsDown.String():
			text, then = fmt.Sprintf("no path is left%s: requests wait", d.since(e)), down
		case gateway.KindPathsRestored.String():
			text = fmt.Sprintf("there is a path again%s", d.since(e))
		default:
			continue
		}
		d.screen.say(e.Time.Sub(d.begin), text)
		then()
	}
}

// since tells how long before e the last fault was made: " 290µs after the cut".
func (d *demo) since(e control.Event) string {
	f := d.fault.Load()
	if f == nil {
		return ""
	}
	return fmt.Sprintf(" %v after %s", e.Time.Sub(f.at).Round(10*time.Microsecond), f.name)
}

// tellOver waits for the gateway to hold that a VM has had more than its part, and tells
// it behind the failover. That takes a path event and one look at it; a VM that is not
// over in time is not told of.
func (d *demo) tellOver(ctx context.Context, vm string) error {
	ctx, cancel := context.WithTimeout(ctx, demoTelling)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		shares, err := d.api.Shares(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		for i := range shares {
			if s := &shares[i]; s.VM == vm && s.Over {
				at, text := d.elapsed(), overText(s)
				select {
				case <-d.told.moved:
				case <-ctx.Done():
				}
				d.screen.say(at, text)
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// overText tells that a VM is over its entitlement.
func overText(s *control.Share) string {
	text := fmt.Sprintf("%s is over its entitlement: it has used %.0f%% of what is left, and %.0f%% is its part", s.VM, s.UsedPercent, s.EntitledPercent)
	if s.Why != nil && s.Why.Reason == control.ReasonOverEntitlement {
		text += "; its next request waits for that"
	}
	return text
}

// attr gives a detail of an event, or "".
func attr(e control.Event, key string) string {
	for _, a := range e.Attrs {
		if a.Key == key {
			return a.Value
		}
	}
	return ""
}
