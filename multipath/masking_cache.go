// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"context"
	"errors"
	"time"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// lastToCacheLocked tells whether p alone leads to a cache with changes that no flush
// has covered: it has to be flushed over p while that can be done.
func (d *Device) lastToCacheLocked(p *Path) bool {
	s := d.serverOf(p)
	return s.needsFlush() && s.slots == PathSet(0).With(p.slot) && !d.noCache
}

// flushBefore flushes the cache that only p leads to, and tells whether p may go. A
// target that refuses leaves the changes to be lost with p.
func (pt *port) flushBefore(ctx context.Context, q prober, p *Path) bool {
	d := p.dev
	d.mu.Lock()
	s := d.serverOf(p)
	seq := s.written // nothing is sent there any more
	d.mu.Unlock()
	err := q.synchronize(ctx)
	var re backends.ResultError
	if errors.Is(err, errLost) || ctx.Err() != nil || errors.As(err, &re) && re.Result.Class == backends.Busy {
		return false
	}
	if err != nil {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s.flushed = max(s.flushed, seq)
	s.dirty.forget(seq)
	return true
}

// synchronize flushes the whole cache.
func (q prober) synchronize(ctx context.Context) error {
	var cdb [16]byte
	scsi.SynchronizeCache{}.Encode(&cdb)
	_, err := q.exec(ctx, cdb, 0)
	return err
}

// endFlushesLocked ends the flushes that wait for a server that has no path any more:
// what it had is flushed, or lost.
func (d *Device) endFlushesLocked(b *backends.Batch, out *outbox, s *server, now time.Time) {
	for t := d.firstTask; t != nil; {
		next := t.next
		if t.server == s && t.live == 0 {
			res := backends.Done()
			if len(d.debt) > 0 {
				res = flushLostResult(t)
			}
			d.finishLocked(b, out, t, res, now)
		}
		t = next
	}
}
