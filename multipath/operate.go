// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"errors"
	"fmt"
	"time"

	"pathgate/backends"
)

// Refusals of FailPath and ReinstatePath.
var (
	// ErrDisabled: an administrator has disabled the path; it has to be enabled.
	ErrDisabled = errors.New("the path is disabled")
	// ErrQuarantined: the path leads where it should not; it carries nothing.
	ErrQuarantined = errors.New("the path is quarantined")
)

const (
	failedByHand = "failed by an administrator"
	keptByHand   = failedByHand + ", held until it is reinstated"
)

// pathOf gives the path of that name.
func (m *Manager) pathOf(name string) (*Path, error) {
	for _, d := range m.Devices() {
		if p := d.path(name); p != nil {
			return p, nil
		}
	}
	return nil, fmt.Errorf("path %s: %w", name, ErrNotFound)
}

// FailPath takes a path down as a fault of it would, its session and the other paths
// there left alone: what is in flight is aborted and goes out on other paths at once.
// It comes back by itself, after a proof and the failback delay; with hold only
// after ReinstatePath, or the next start.
func (m *Manager) FailPath(name string, hold bool) error {
	p, err := m.pathOf(name)
	if err != nil {
		return err
	}
	return p.fail(hold)
}

func (p *Path) fail(hold bool) error {
	var b backends.Batch
	out := newOutbox()
	now := time.Now()
	d := p.dev
	d.mu.Lock()
	switch p.health {
	case Disabled:
		d.mu.Unlock()
		return fmt.Errorf("path %s: %w", p.name, ErrDisabled)
	case Quarantined:
		d.mu.Unlock()
		return fmt.Errorf("path %s: %w", p.name, ErrQuarantined)
	case Unknown, Up, Marginal, Down:
	}
	why := failedByHand
	if hold {
		why = keptByHand
	}
	p.kept, p.asked, p.ours = hold, false, true
	d.movingLocked(&b, p, now)
	d.healthLocked(&b, out, p, EventFault, why, now)
	d.evacuateLocked(out, p)
	d.pumpLocked(&b, out, now)
	d.mu.Unlock()
	d.send(&b, out)
	b.Run()
	return nil
}

// movingLocked tells the observer what is in flight on p and is about to move.
func (d *Device) movingLocked(b *backends.Batch, p *Path, now time.Time) {
	if p.moving == 0 {
		p.lostAt, p.movedN = now, 0
	}
	for a := p.first; a != nil; a = a.next {
		t := a.t
		if t == nil || t.downed != nil || !d.mayMoveLocked(a) {
			continue
		}
		t.downed = p
		p.moving++
		p.movedN++
		if d.obs != nil && t.parent == nil {
			d.obs.QueueEvent(b, backends.QueueEvent{Kind: backends.PathDown, Request: t.req})
		}
	}
}

// mayMoveLocked tells whether a's request may go out once more while a's end is not
// known, and has somewhere to go but a's path.
func (d *Device) mayMoveLocked(a *attempt) bool {
	t := a.t
	if t.ending || a.req.Op == backends.CompareAndWrite {
		return false
	}
	return d.usableLocked().Without(a.path.slot)&^t.tried&^d.avoidServerLocked(t) != 0
}

// evacuateLocked has what is in flight on p, which is not used any more, aborted and,
// where another path can take it, sent again. A CompareAndWrite is left to end by
// itself: its client could not be told what became of it.
func (d *Device) evacuateLocked(out *outbox, p *Path) {
	for a := p.first; a != nil; a = a.next {
		t := a.t
		if t == nil || a.req.Op == backends.CompareAndWrite {
			continue
		}
		d.abortLocked(out, a)
		if t.downed != p {
			continue // nowhere to go: it ends here, and waits then
		}
		a.t = nil
		t.live--
		t.result = backends.Result{Class: backends.Transport, Sent: backends.SentSome}
		d.queueLocked(t)
	}
}

// ReinstatePath has a path proved at once, logging in first if it must, and takes it
// into use as up when the proof succeeds: without probation, and with its failures
// forgotten. It does not wait for that: PathInfo.Asked tells when it is over.
func (m *Manager) ReinstatePath(name string) error {
	p, err := m.pathOf(name)
	if err != nil {
		return err
	}
	d := p.dev
	d.mu.Lock()
	if p.health == Disabled {
		d.mu.Unlock()
		return fmt.Errorf("path %s: %w", name, ErrDisabled)
	}
	p.kept, p.asked = false, true
	d.mu.Unlock()
	pt := p.port
	pt.mu.Lock()
	pt.attn[p.lun] = true
	login := !pt.up && !pt.trying
	pt.mu.Unlock()
	if login {
		pt.nexus.Relogin(backends.Route{})
	}
	pt.wake()
	return nil
}

// reinstateLocked ends p's probation after a proof that was asked for.
func (d *Device) reinstateLocked(b *backends.Batch, out *outbox, p *Path, now time.Time) {
	if !p.asked {
		return
	}
	p.asked, p.fails = false, 0
	p.vigil.clear()
	if p.health == Marginal {
		d.healthLocked(b, out, p, EventStable, "reinstated by an administrator", now)
	}
	p.stableAt = time.Time{} // the next loss is the first
}

// answered notes that the proof that was asked for has ended: err is not nil if the
// target gave no answer, and it is tried again.
func (p *Path) answered(err error) {
	if p == nil || errors.Is(err, errLost) {
		return
	}
	p.dev.mu.Lock()
	defer p.dev.mu.Unlock()
	p.asked = false
}
