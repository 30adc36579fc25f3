// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A logical unit may hang while its target answers for all others. The port asks one
// after the other, so one that does not answer must not keep those behind it from
// being proved or fenced: it comes last, and less often with each time.

// errMute: the logical unit does not answer, and its session lives.
var errMute = errors.New("the logical unit does not answer, and its target does")

// maxMute bounds the doublings of the time between two attempts.
const maxMute = 4

// quiet is the logical units of a port that do not answer. It belongs to the port's
// goroutine.
type quiet struct {
	mute map[uint16]int // proofs in a row without an answer

	// stuck are those whose ghosts a fence was tried for in vain, in the login gen:
	// they wait until the next attempt, and the others are proved meanwhile.
	stuck map[uint16]bool
	gen   uint64
	fails int
	until time.Time
}

// prove finds out what is at lun, and takes the path into use if it is right. The
// error is for control flow: what is wrong is told by events. It is errLost only if
// the session of login gen is over.
func (pt *port) prove(ctx context.Context, lun uint16, gen uint64) error {
	if pt.quiet.stuck[lun] {
		return nil // its old writes are to be fenced first
	}
	err := pt.tryProve(ctx, lun, gen)
	if !errors.Is(err, errLost) {
		delete(pt.quiet.mute, lun)
		return err
	}
	if pt.over(ctx, gen) {
		return errLost
	}
	n := pt.quiet.mute[lun]
	pt.quiet.mute = keep(pt.quiet.mute, lun, min(n+1, maxMute+1))
	p := pt.known()[lun]
	if p == nil {
		return pt.later(lun, errMute, pt.patience(lun, pt.m.cfg.Timers.Probe))
	}
	p.answered(errMute)
	_ = pt.fault(p, errMute)
	return errMute
}

// over tells that the login gen is not the present one any more.
func (pt *port) over(ctx context.Context, gen uint64) bool {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	return ctx.Err() != nil || !pt.up || pt.login.Generation != gen
}

// patience is the time until lun is proved again, where it is every with one that
// answers.
func (pt *port) patience(lun uint16, every time.Duration) time.Duration {
	n := pt.quiet.mute[lun]
	if n == 0 || every <= 0 {
		return every
	}
	return max(every, min(every<<(n-1), pt.m.cfg.Timers.SlowProbe))
}

// inOrder gives luns with those last that did not answer.
func (pt *port) inOrder(luns []uint16) []uint16 {
	slices.SortStableFunc(luns, func(a, b uint16) int { return cmp.Compare(pt.quiet.mute[a], pt.quiet.mute[b]) })
	return luns
}

// knownLUNs gives the LUNs of the port's paths, those last that did not answer.
func (pt *port) knownLUNs() []uint16 {
	return pt.inOrder(slices.Sorted(maps.Keys(pt.known())))
}

// fenceDue tells whether it is time to fence ghosts in the login of s. After an
// attempt in vain others than those that it was for are not made to wait.
func (pt *port) fenceDue(s snapshot, ghosts map[*Device]map[uint16]int) bool {
	q := &pt.quiet
	pt.unstick(ghosts)
	if len(ghosts) == 0 || !s.own || q.gen != s.gen {
		*q = quiet{mute: q.mute}
		return len(ghosts) > 0
	}
	for _, luns := range ghosts {
		for lun := range luns {
			if !q.stuck[lun] {
				return true
			}
		}
	}
	return !time.Now().Before(q.until)
}

// unstick has the LUNs proved at once whose ghosts are gone, by whatever means.
func (pt *port) unstick(ghosts map[*Device]map[uint16]int) {
	for lun := range pt.quiet.stuck {
		held := false
		for _, luns := range ghosts {
			held = held || luns[lun] > 0
		}
		if held {
			continue
		}
		delete(pt.quiet.stuck, lun)
		pt.mu.Lock()
		pt.attn[lun] = true
		pt.mu.Unlock()
	}
}

// fencedInVain notes that the ghosts of these LUNs are not fenced, in the login of s.
func (pt *port) fencedInVain(s snapshot, failed map[uint16]bool) {
	q := &pt.quiet
	if q.gen != s.gen {
		q.fails = 0
	}
	q.gen, q.stuck = s.gen, failed
	q.until = time.Now().Add(pt.m.cfg.Timers.FenceRetry << min(q.fails, maxFenceRounds))
	q.fails++
}

// tells tells whether a failure to fence is news: the first one of a login, and each
// time that there were twice as many.
func (q *quiet) tells(gen uint64) bool {
	return q.gen != gen || q.fails&(q.fails+1) == 0
}

// noAnswer is err, of a question to a LUN, for people.
func (pt *port) noAnswer(ctx context.Context, gen uint64, err error) error {
	if errors.Is(err, errLost) && !pt.over(ctx, gen) {
		return fmt.Errorf("%w", errMute)
	}
	return err
}
