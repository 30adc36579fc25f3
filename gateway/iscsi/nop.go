// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"time"

	"pathgate/internal/buffer"
	wire "pathgate/internal/iscsi"
)

// nopOut answers a ping, or takes the answer to one of ours. RFC 7143 11.18
// (NOP-Out).
func (s *session) nopOut(p *pdu) error {
	r, err := wire.DecodeNOPOut(&p.bhs)
	if err != nil {
		return err
	}
	s.taken(p)
	if r.ITT == wire.NoTag {
		s.prove(r.TTT)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(p.vec.Len(), int(s.send.MaxData))
	var h wire.BHS
	wire.NOPIn{LUN: r.LUN, ITT: r.ITT, TTT: wire.NoTag, Numbers: s.statusLocked()}.Encode(&h)
	var echo buffer.Vec
	echo.AppendRange(p.vec, 0, n)
	s.sendDataLocked(&h, echo, n)
	echo.Release()
	s.batch.Touch(s.c.out)
	return nil
}

// listen bounds the time until silence is called; not positive: it is not.
func (s *session) listen(d time.Duration) {
	var t time.Time
	if d > 0 {
		t = time.Now().Add(d)
	}
	_ = s.c.nc.SetReadDeadline(t)
	s.mu.Lock()
	over := s.over != nil
	s.mu.Unlock()
	if over { // told meanwhile: the deadline that was to wake us is gone
		_ = s.c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// interval is how often the state of a session is looked at; not positive: never.
func (c *Config) interval() time.Duration {
	if c.NOPInterval < 0 {
		return c.DataTimeout
	}
	return c.NOPInterval
}

// overdueLocked tells whether a task waits for data for too long. At error recovery
// level 0 there is nothing that could ask for it again, and no response may come
// before it (RFC 7143 7.8 (Digest Errors), 7.9 (Sequence Errors)): the session ends.
func (s *session) overdueLocked() (overdue bool) {
	limit := s.c.srv.cfg.DataTimeout
	if limit < 0 {
		return false
	}
	now := time.Now()
	s.tasks.each(func(t *task) { overdue = overdue || t.expecting() && now.Sub(t.since) >= limit })
	return overdue
}

// silence is called when the read deadline has passed. It pings an initiator that
// has said nothing since the deadline was set, and gives up one that does not
// answer, or that owes data for too long.
func (s *session) silence() error {
	cfg := &s.c.srv.cfg
	s.mu.Lock()
	over := s.over
	if over == nil && s.overdueLocked() {
		over = errOverdue
	}
	s.mu.Unlock()
	switch {
	case over != nil:
		return over
	case s.forsaken():
		return errDoubted
	case s.heard || cfg.NOPInterval < 0:
		s.pings = pingNone
		s.listen(cfg.interval())
	case s.pings == pingNone && !s.discovery:
		s.pings = pingSent
		s.ping()
		s.listen(cfg.NOPTimeout)
	case s.pings == pingLast:
		return errSilent
	default:
		s.pings = pingLast
		s.listen(lastChance)
	}
	s.heard = false
	return nil
}

// ping sends a NOP-In that wants an answer with the tag it gives. RFC 7143 11.19
// (NOP-In).
func (s *session) ping() wire.TargetTransferTag {
	s.mu.Lock()
	if s.ttt++; s.ttt == wire.NoTag {
		s.ttt++
	}
	ttt := s.ttt
	var h wire.BHS
	wire.NOPIn{ITT: wire.NoTag, TTT: ttt, Numbers: s.numbersLocked()}.Encode(&h)
	s.sendLocked(&h, nil)
	s.mu.Unlock()
	s.c.out.Flush()
	return ttt
}
