// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"encoding/json"
	"fmt"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// ErasureStore keeps the erasure of one unit that is under way or has failed.
type ErasureStore interface {
	// SaveErasure is as ReservationStore.SaveReservations.
	SaveErasure(data []byte, done func(error))
}

// erasurePlan is what an erasure is to do, and its stored form. After a restart it is
// done from its beginning.
type erasurePlan struct {
	// Overwrite is the pattern of SANITIZE, overwrite. Nil: zeros, unmapped.
	Overwrite *scsi.Overwrite `json:"overwrite,omitempty"`
	// Format: FORMAT UNIT, and not SANITIZE.
	Format bool `json:"format,omitempty"`
	// Exit: EXIT FAILURE MODE ends the state after a failure (AUSE).
	Exit bool `json:"exit,omitempty"`
	// Failed: it has, and is not begun again by itself.
	Failed bool `json:"failed,omitempty"`
}

func (u *Unit) newErasure(p erasurePlan) *erasure {
	e := &erasure{u: u, plan: p, busy: scsi.CodeSanitizeInProgress, failed: scsi.CodeSanitizeFailed}
	if p.Format {
		e.busy, e.failed = scsi.CodeFormatInProgress, scsi.CodeFormatCorrupted
	}
	e.over.Store(p.Failed)
	if g := u.geometry.Load(); p.Overwrite != nil {
		e.overwrite(g, *p.Overwrite)
	} else {
		e.clear(g)
	}
	return e
}

// decodeErasure reads what the store kept; nil: nothing.
func (u *Unit) decodeErasure(data []byte) (*erasure, error) {
	if data == nil {
		return nil, nil
	}
	var p erasurePlan
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("stored erasure: %w", err)
	}
	if o := p.Overwrite; o != nil && (o.Count == 0 || len(o.Pattern) == 0) {
		return nil, fmt.Errorf("stored erasure: %d passes of %d bytes", o.Count, len(o.Pattern))
	}
	return u.newErasure(p), nil
}

// encode gives what the store keeps.
func (p erasurePlan) encode() []byte {
	data, err := json.Marshal(p)
	if err != nil {
		panic("scsi: an erasure cannot be encoded: " + err.Error()) // only numbers and bytes
	}
	return data
}

// keep has the store keep e before anything of it is done; bar waits for that.
func (e *erasure) keep(b *backends.Batch, bar *barrier) {
	store := e.u.cfg.Erasures
	if store == nil {
		e.kept(b, bar, nil)
		return
	}
	store.SaveErasure(e.plan.encode(), func(err error) {
		var b backends.Batch
		e.kept(&b, bar, err)
		b.Run()
	})
}

// kept lets e begin, or has it never been when the store has failed.
func (e *erasure) kept(b *backends.Batch, bar *barrier, err error) {
	u := e.u
	u.mu.Lock()
	t := e.task
	if err != nil {
		u.erasing.Store(e.before)
		u.levelsLocked()
	}
	if err != nil || e.immediate {
		e.task = nil
	}
	u.mu.Unlock()
	switch {
	case t == nil:
	case err != nil:
		t.deny(b, scsi.CodeInternalTargetFailure.Sense())
	case e.immediate:
		t.finish(b, backends.Done())
	}
	bar.down(b)
}

// end has the store forget an erasure that is done, before the unit is used again, or
// remember that it has failed. One that was stopped with its unit goes on with the
// next one.
func (e *erasure) end(b *backends.Batch, res backends.Result) {
	u := e.u
	e.data.Release()
	u.mu.Lock()
	closed := u.closed
	u.mu.Unlock()
	store := u.cfg.Erasures
	if closed && store != nil {
		res = backends.Failed(backends.Aborted)
	}
	if closed || store == nil {
		e.ended(b, res)
		return
	}
	var data []byte
	if !res.OK() {
		e.plan.Failed = true
		data = e.plan.encode()
	}
	store.SaveErasure(data, func(err error) {
		if err != nil { // what is kept would begin anew after the next start
			res = backends.Failed(backends.Transport)
		}
		var b backends.Batch
		e.ended(&b, res)
		b.Run()
	})
}

// exitFailure is SANITIZE, EXIT FAILURE MODE. Without a failure there is nothing
// to do.
func exitFailure(b *backends.Batch, t *task) {
	u := t.l.u
	u.mu.Lock()
	e := u.erasing.Load()
	exits := e == nil || e.over.Load() && e.plan.Exit && !e.leaving
	if exits && e != nil {
		e.leaving = true
	}
	u.mu.Unlock()
	switch {
	case !exits:
		t.deny(b, badField(1, 4))
	case e == nil:
		t.finish(b, backends.Done())
	case u.cfg.Erasures == nil:
		e.left(b, t, nil)
	default:
		u.cfg.Erasures.SaveErasure(nil, func(err error) {
			var b backends.Batch
			e.left(&b, t, err)
			b.Run()
		})
	}
}

// left ends the state after a failure, if the store has forgotten it.
func (e *erasure) left(b *backends.Batch, t *task, err error) {
	u := e.u
	u.mu.Lock()
	e.leaving = false
	if err == nil {
		u.erasing.Store(nil)
		u.levelsLocked()
	}
	u.mu.Unlock()
	if err != nil {
		t.deny(b, scsi.CodeInternalTargetFailure.Sense())
		return
	}
	t.finish(b, backends.Done())
}
