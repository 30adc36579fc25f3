// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	wire "pathgate/internal/iscsi"
)

const (
	// rivalWindow is the time in which reinstatements from changing addresses count
	// as one quarrel.
	rivalWindow = time.Minute
	// rivalAlarm is how many of them raise the alarm and are refused from then on: two
	// hosts that have one name and ISID would throw each other out without end.
	rivalAlarm = 4
	// maxRivalries bounds what is remembered.
	maxRivalries = 1024
)

// rivalry is what is known of a nexus that is claimed from several addresses.
type rivalry struct {
	count int
	at    time.Time // of the last claim that counted
}

// claimed takes the claim of a nexus whose session lives at old, from next. It tells
// whether the claim is refused. A host that comes back to its own session, from
// the same address, is no rival.
func (r *rivalry) claimed(now time.Time, old, next netip.Addr) (refused bool) {
	if old == next {
		return false
	}
	if now.Sub(r.at) > rivalWindow {
		r.count = 0
	}
	r.at = now
	r.count++
	return r.count > rivalAlarm
}

// claim makes se the only session of its nexus. An older one ends first: claim
// returns when its last task has ended, so that nothing of it can change a disk
// after the new login was answered. RFC 7143 6.3.5 (Session Reinstatement, Closure,
// and Timeout).
func (s *Server) claim(se *session, wait time.Duration) error {
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	judged := false
	for {
		s.mu.Lock()
		old := s.sessions[se.key]
		if old == nil || se.discovery {
			s.registerLocked(se)
			wait := s.suspectLocked(se)
			s.mu.Unlock()
			for _, ch := range wait { // none waits for the network
				<-ch
			}
			return nil
		}
		if !judged {
			judged = true
			if !s.rivalLocked(se, old) {
				s.mu.Unlock()
				se.c.log(slog.LevelWarn, "initiator name and ISID are in use by another host", "other", old.c.peer.Connection)
				if s.cfg.Rival != nil {
					s.cfg.Rival(&se.c.peer, se.key.target, old.c.peer.Connection)
				}
				return refuse(wire.LoginServiceUnavailable, errors.New("name and ISID are in use by another host"))
			}
		}
		s.mu.Unlock()
		old.c.kill(errReinstated)
		select {
		case <-old.ended:
		case <-se.c.killed:
			return se.c.why(errStopped)
		case <-deadline.C:
			return refuse(wire.LoginServiceUnavailable, fmt.Errorf("tasks of the session at %s do not end", old.c.peer.Connection))
		}
	}
}

// rivalLocked tells whether se may end old.
func (s *Server) rivalLocked(se, old *session) bool {
	now := time.Now()
	if len(s.rivalries) >= maxRivalries {
		for k, r := range s.rivalries {
			if now.Sub(r.at) > rivalWindow {
				delete(s.rivalries, k)
			}
		}
		if len(s.rivalries) >= maxRivalries {
			clear(s.rivalries)
		}
	}
	r := s.rivalries[se.key]
	refused := r.claimed(now, old.c.addr, se.c.addr)
	if r.count > 0 {
		s.rivalries[se.key] = r
	}
	return !refused
}

// registerLocked gives se its TSIH and makes it known. There are fewer connections
// than TSIHs.
func (s *Server) registerLocked(se *session) {
	for {
		s.lastTSIH++
		if s.lastTSIH != 0 && s.handles[s.lastTSIH] == nil {
			break
		}
	}
	se.tsih = s.lastTSIH
	s.handles[se.tsih] = se
	if !se.discovery {
		s.sessions[se.key] = se
	}
}

// abandon takes se out: it ended, or its target could not be opened. Whoever waits
// for its nexus may go on.
func (s *Server) abandon(se *session) {
	s.mu.Lock()
	if s.sessions[se.key] == se {
		delete(s.sessions, se.key)
	}
	delete(s.handles, se.tsih)
	s.mu.Unlock()
	close(se.ended)
}
