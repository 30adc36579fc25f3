// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"context"
	"errors"
	"slices"

	"pathgate/internal/scsi"
)

// dropKeys takes away what p has registered at its LUN, in this login and in earlier
// ones. left tells that something may be there still, since the session is lost; not
// done, that p has to wait.
func (pt *port) dropKeys(ctx context.Context, q prober, p *Path) (left, done bool) {
	d := p.dev
	d.mu.Lock()
	marked, live, gen, last := p.markedGen != 0 || len(p.tokens) > 0, p.live, p.gen, p.token != 0
	barred := false
	for _, o := range d.paths {
		last = last && (o == p || o.token == 0)
		barred = barred || o.preempted
	}
	d.mu.Unlock()
	switch {
	case !marked:
		return false, true
	case barred && last:
		return false, false // only our reservation stops what another session may still send
	case !live:
		return true, true
	}
	if errors.Is(pt.purge(ctx, q, d.gatewayKey(), gen), errLost) {
		return false, false
	}
	d.mu.Lock()
	p.tokens, p.token, p.markedGen = nil, 0, 0
	d.mu.Unlock()
	return false, true
}

// purge removes the keys that gateway has registered through pt. Only a registrant may
// remove another login's key (SPC-4, PERSISTENT RESERVE OUT, PREEMPT), so that of this
// login goes last. Only errLost counts: other targets have nothing to remove.
func (pt *port) purge(ctx context.Context, q prober, gateway uint32, gen uint64) error {
	keys, err := q.keys(ctx)
	if err != nil {
		return err
	}
	keys = slices.DeleteFunc(keys, func(k uint64) bool {
		r := RegistrationKey(k)
		return r.Gateway() != gateway || r.Path() != uint32(pt.nexusNumber)
	})
	if len(keys) == 0 {
		return nil
	}
	own := uint64(makeKey(gateway, pt.m.cfg.Run, pt.nexusNumber, gen))
	if !slices.Contains(keys, own) {
		if err := q.reserveOut(ctx, scsi.RegisterAndIgnore, 0, own); err != nil {
			return err
		}
	}
	for _, k := range keys {
		if k == own {
			continue
		}
		if err := q.reserveOut(ctx, scsi.Preempt, own, k); errors.Is(err, errLost) {
			return err
		}
	}
	return q.reserveOut(ctx, scsi.Register, own, 0)
}

// forgetKeys takes away what is left of us at a LUN whose session was lost before that
// could be done, when its path left.
func (pt *port) forgetKeys(ctx context.Context, lun uint16) {
	pt.mu.Lock()
	gateway, gen := pt.keys[lun], pt.login.Generation
	pt.mu.Unlock()
	if gateway == 0 || errors.Is(pt.purge(ctx, pt.prober(lun), gateway, gen), errLost) {
		return
	}
	pt.mu.Lock()
	delete(pt.keys, lun)
	pt.mu.Unlock()
}
