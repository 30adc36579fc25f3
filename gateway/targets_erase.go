// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"strings"
	"sync"
)

// saver writes to the store on goroutines of its own, until it is closed.
type saver struct {
	mu     sync.Mutex
	closed bool
	work   sync.WaitGroup
}

// do begins f; after close it does nothing: whoever would be told is gone too.
func (s *saver) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.work.Go(f)
	}
}

// close waits for what was begun.
func (s *saver) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.work.Wait()
}

// erasureKeeper keeps a disk's SANITIZE or FORMAT UNIT in the store, as
// reservationKeeper does reservations.
type erasureKeeper struct {
	ts *targets
	d  *servedDisk
}

// SaveErasure writes to the store.
func (k *erasureKeeper) SaveErasure(data []byte, done func(error)) {
	rec := ErasureRecord{Layout: k.d.Disk.Layout(), Erasure: data}
	k.ts.saves.do(func() {
		err := k.ts.g.store.PutErasure(k.d.VM(), k.d.cfg.Name, rec)
		if err != nil {
			k.ts.g.bus.Publish(Event{
				Kind: KindStoreFailed, Severity: SeverityError, VM: k.d.VM(), Disk: k.d.FullName(),
				Message: "the state of an erasure could not be kept: " + err.Error(),
			})
		}
		done(err)
	})
}

// unfinished gives the erasure of a disk that was under way, or had failed, when the
// gateway stopped; nil: none. It is that of what the disk was made of then: where it is
// made of something else now, nothing of that is erased.
func (ts *targets) unfinished(d *servedDisk) ([]byte, error) {
	rec, err := ts.g.store.Erasure(d.VM(), d.cfg.Name)
	if err != nil || rec.Erasure == nil {
		return nil, err
	}
	if now := d.Disk.Layout(); rec.Layout != now {
		ts.g.log.Warn("the disk is made of something else than when it was being erased, which does not go on",
			"disk", d.FullName(), "was", rec.Layout, "is", now)
		return nil, ts.g.store.PutErasure(d.VM(), d.cfg.Name, ErasureRecord{})
	}
	ts.g.log.Warn("the disk was being erased by an initiator at the last stop, and still is", "disk", d.FullName())
	return rec.Erasure, nil
}

// Layout tells what an attached disk is made of: the identity of each device, or what
// the configuration calls one without, with the range of it.
func (d *Disk) Layout() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var parts []string
	for i := range d.pieces {
		p := &d.pieces[i]
		name, length := p.ref, fmt.Sprint(p.length)
		if p.router != nil {
			if id := p.router.Device().Info().Identity; id != "" {
				name = id
			}
		}
		if p.rest {
			length = "rest"
		}
		parts = append(parts, fmt.Sprintf("%s at %d: %s", name, p.off, length))
	}
	return strings.Join(parts, ", ")
}
