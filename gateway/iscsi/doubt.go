// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"errors"
	"sync/atomic"
	"time"

	wire "pathgate/internal/iscsi"
)

// errDoubted ends a session that has commands to run and whose initiator does not say
// that it still uses it.
var errDoubted = errors.New("initiator has another session, and does not answer on this one")

// doubt is what a session knows of later logins by its initiator. An initiator that
// keeps its ISID reinstates its session when it comes back. One that makes a new random
// ISID for each login, as libiscsi and with it QEMU, does not: its old session lives on
// here until the network tells of its end, and what the network brings late would run
// after newer writes of the new session. So a session of the same initiator name at the
// same target, with another random ISID, is in doubt from before the new login is
// answered: what is ready to run there is kept, and a ping is sent, whose answer proves
// that the initiator has not given the session up.
//
// Invariant: a command is submitted only if its session was proved after the last login
// that put it in doubt, or if its submission has ended before that login is answered.
type doubt struct {
	logins atomic.Uint32 // that put the session in doubt
	inside atomic.Bool   // commands are being submitted
	// outside are closed when inside ends in doubt; guarded by session.mu.
	outside []chan struct{}

	// Owned by the connection's goroutine.
	proved uint32 // logins at the last proof
	asked  uint32 // logins at the last ping
	ttt    wire.TargetTransferTag
	since  time.Time // of the last ping
}

// trusted tells whether commands may be submitted, and begins that; submitted ends it.
// If not the initiator is asked.
func (s *session) trusted() bool {
	d := &s.doubt
	d.inside.Store(true)
	n := d.logins.Load()
	if n == d.proved {
		return true
	}
	s.submitted()
	if n != d.asked {
		d.asked, d.since = n, time.Now()
		d.ttt = s.ping()
		s.listen(s.c.srv.cfg.NOPTimeout)
	}
	return false
}

// submitted ends what trusted has begun.
func (s *session) submitted() {
	d := &s.doubt
	d.inside.Store(false)
	if d.logins.Load() == d.proved {
		return
	}
	s.mu.Lock()
	for _, ch := range d.outside {
		close(ch)
	}
	d.outside = nil
	s.mu.Unlock()
}

// prove takes the answer to a ping.
func (s *session) prove(ttt wire.TargetTransferTag) {
	if d := &s.doubt; d.asked != d.proved && ttt == d.ttt {
		d.proved = d.asked
	}
}

// forsaken tells whether commands have waited for a proof for too long.
func (s *session) forsaken() bool {
	d := &s.doubt
	return d.asked != d.proved && len(s.ready) > 0 && time.Since(d.since) >= s.c.srv.cfg.NOPTimeout
}

// suspect puts s in doubt, and gives what is closed when no submission from before is
// under way; nil: none is.
func (s *session) suspect() <-chan struct{} {
	d := &s.doubt
	d.logins.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !d.inside.Load() {
		return nil
	}
	ch := make(chan struct{})
	d.outside = append(d.outside, ch)
	return ch
}

// suspectLocked puts the other sessions of se's initiator in doubt, and gives what has
// to be waited for before the login is answered. Only a random ISID leaves open whether
// its session is one that was left. RFC 7143 11.12.5 (ISID).
func (s *Server) suspectLocked(se *session) (wait []<-chan struct{}) {
	if se.key.isid.Format() != wire.ISIDRandom {
		return nil
	}
	for key, o := range s.sessions {
		if o == se || key.initiator != se.key.initiator || key.target != se.key.target || key.isid.Format() != wire.ISIDRandom {
			continue
		}
		if ch := o.suspect(); ch != nil {
			wait = append(wait, ch)
		}
	}
	return wait
}
