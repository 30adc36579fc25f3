// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"time"

	"pathgate/internal/netserve"
)

// A chore is what a PDU costs that neither has a place in the command window nor was
// asked for: a ping, an immediate command, text, a PDU that is refused or ignored. The
// initiator could send them as fast as it can, at our cost and that of the others.
const (
	// choreRate is how many chores per second all sessions of a target have done, beyond
	// choreBurst: a thousand sessions that ping every second need less.
	choreRate  = 4000
	choreBurst = 8000
	// choreBytes of data are one chore more.
	choreBytes = 4 << 10
)

// chore counts the PDU at hand.
func (s *session) chore(p *pdu) { s.chores += 1 + (len(p.data)+p.vec.Len())/choreBytes }

// rest waits when the sessions of the target have had too many chores done.
func (s *session) rest() error {
	if s.chores == 0 {
		return nil
	}
	wait := s.pace.Take(time.Now(), float64(s.chores))
	if s.chores = 0; wait <= 0 {
		return nil
	}
	select {
	case <-s.c.killed:
		return s.c.why(errStopped)
	case <-time.After(wait):
		return nil
	}
}

// pace gives what the sessions of a target share.
func (s *Server) pace(target string) *netserve.Pace {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.paces[target]
	if p == nil {
		p = &netserve.Pace{Rate: choreRate, Burst: choreBurst}
		s.paces[target] = p
	}
	return p
}
