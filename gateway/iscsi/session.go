// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pathgate/backends"
	"pathgate/gateway/scsi"
	"pathgate/internal/buffer"
	wire "pathgate/internal/iscsi"
	"pathgate/internal/netserve"
	spc "pathgate/internal/scsi"
)

const (
	// maxImmediate bounds the immediate requests that are outstanding: they take no
	// place in the command window.
	maxImmediate = 16
	// maxHeldBytes bounds the data of requests that wait for their turn.
	maxHeldBytes = 1 << 20
	// fewHeldBytes are kept for a turn even when memory is short.
	fewHeldBytes = 64 << 10
	// lastChance is how long a silent initiator is listened to once more: this
	// process may have stalled, not the peer.
	lastChance = 100 * time.Millisecond
)

// session is a session in full feature phase, and its one connection. The
// connection's goroutine runs it; commands complete on any.
type session struct {
	c         *conn
	key       nexusKey
	tsih      uint16 // guarded by srv.mu until claimed
	cid       uint16
	discovery bool
	params    wire.Params
	since     time.Time
	handle    Handle
	nexus     *scsi.Nexus   // nil in a discovery session
	ended     chan struct{} // closed when no task is left

	returned  atomic.Pointer[task] // tasks that have been answered
	completed atomic.Uint64

	mu        sync.Mutex
	send      wire.Framing
	statSN    wire.Serial
	win       window
	tasks     table
	accepted  uint64
	waiting   []*function   // done, but tasks that they cover are on their way to their end
	drained   chan struct{} // closed when the device server has no task; nil: nobody waits
	immediate int           // immediate requests outstanding
	ttt       wire.TargetTransferTag
	begun     bool       // the login has been answered
	leave     bool       // the initiator was to be asked to log out before that
	quiet     bool       // nothing is answered any more
	over      error      // the connection's goroutine is to end for this reason
	cut       buffer.Vec // scratch: the data of one Data-In, borrowed
	scratch   []byte
	head      wire.BHS // scratch: a local one would escape to the digests
	sense     []byte   // scratch

	// Owned by the connection's goroutine.
	batch  backends.Batch
	ready  []*scsi.Command // to be submitted
	free   *task
	held   []pdu // wait for their turn, ascending by CmdSN
	heldB  int   // bytes of data in held
	fences []fence
	neg    *wire.Negotiator
	text   textExchange
	logout *wire.LogoutRequest
	heard  bool // bytes came since the deadline was set
	pings  pingState
	chores int            // done since the last fill
	pace   *netserve.Pace // of chores
	doubt  doubt
}

// pingState is what a silent initiator has been given.
type pingState uint8

const (
	pingNone pingState = iota
	pingSent
	pingLast // and no answer; it is listened to once more
)

func newSession(c *conn, p wire.Params) *session {
	s := &session{
		c: c, params: p, since: time.Now(), discovery: p.SessionType == wire.DiscoverySession,
		ended: make(chan struct{}), send: p.SendFraming(),
	}
	s.key = nexusKey{
		initiator: strings.ToLower(p.InitiatorName), isid: c.peer.ISID,
		target: strings.ToLower(p.TargetName), tag: c.peer.PortalGroupTag,
	}
	return s
}

// open has the target opened and the nexus made.
func (s *session) open() error {
	if s.discovery {
		return nil
	}
	h, err := s.c.srv.cfg.Targets.Open(&s.c.peer, s.params.TargetName)
	if err != nil {
		return err
	}
	s.nexus, err = h.Target.Open(scsi.NexusConfig{
		Initiator:  spc.TransportID{Protocol: spc.ProtocolISCSI, Name: s.key.initiator, ISID: s.key.isid, HasISID: true},
		Port:       h.Port,
		Connection: s.c.peer.Connection,
		Claims:     h.Claims,
	})
	if err != nil {
		h.close()
		return fmt.Errorf("open target %s: %w", s.params.TargetName, err)
	}
	s.handle = h
	s.c.out.Count(h.Memory)
	return nil
}

// start begins the numbering of commands.
func (s *session) start(first *wire.LoginRequest) {
	s.cid = first.CID
	s.win.start(first.CmdSN, s.depth())
	s.text.ttt = wire.NoTag
	s.pace = s.c.srv.pace(s.key.target)
}

// begin goes over to full feature phase: the answer to the login is on its way.
func (s *session) begin(l *login) {
	s.mu.Lock()
	s.statSN, s.begun = l.statSN, true
	leave := s.leave
	s.mu.Unlock()
	if leave {
		s.askLogout()
	}
	s.neg = l.neg
	s.c.recv = s.params.RecvFraming()
	s.listen(s.c.srv.cfg.interval())
}

// hasEnded tells that no task is left.
func (s *session) hasEnded() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// depth is how many commands may be outstanding now.
func (s *session) depth() uint32 {
	if s.nexus == nil {
		return uint32(min(s.c.srv.cfg.QueueDepth, maxImmediate))
	}
	return uint32(max(min(s.c.srv.cfg.QueueDepth, s.nexus.Depth()), 1))
}

// run serves the session until it ends, and tells why.
func (s *session) run() error {
	for {
		if err := s.c.receive(s.fill); err != nil {
			return s.c.why(err)
		}
		err := s.handlePDU()
		s.c.release()
		if err != nil {
			return err
		}
	}
}

// fill submits what was decoded, and then waits for bytes.
func (s *session) fill() error {
	s.submit()
	if s.forsaken() {
		return errDoubted
	}
	if err := s.pause(); err != nil {
		return err
	}
	if err := s.rest(); err != nil {
		return err
	}
	depth := s.depth()
	s.mu.Lock()
	s.win.depth = depth
	s.mu.Unlock()
	for {
		err := s.c.in.Fill()
		if err == nil {
			s.heard = true
			return nil
		}
		if !timedOut(err) {
			return err
		}
		if err := s.silence(); err != nil {
			return err
		}
	}
}

// submit hands the device server all commands that have their data, and runs the
// batch.
func (s *session) submit() {
	if len(s.ready) > 0 && s.trusted() {
		s.nexus.Submit(&s.batch, s.ready)
		s.submitted()
		clear(s.ready)
		s.ready = s.ready[:0]
	}
	s.batch.Run()
	s.takeBack()
}

// pause waits while the initiator takes no answers.
func (s *session) pause() error {
	limit := s.c.srv.cfg.MaxPending
	if s.c.out.Pending() <= limit {
		return nil
	}
	return s.c.out.Drain(limit / 2)
}

// finish ends the session: all tasks are aborted, and those that wait for this
// nexus go on when the last one has ended. A logout is answered then; without one
// the connection ends before, since tasks may take their time.
func (s *session) finish(err error) {
	clear(s.ready)
	s.ready = s.ready[:0]
	for i := range s.held {
		s.held[i].vec.Release()
	}
	_ = s.keepEarly(nil, -s.heldB)
	s.mu.Lock()
	s.quiet = true
	s.mu.Unlock()
	done := make(chan struct{})
	if s.nexus != nil {
		if s.handle.Lost != nil {
			s.handle.Lost()
		}
		s.nexus.Close(&s.batch, func(*backends.Batch, backends.Result) { close(done) })
		s.batch.Run()
	} else {
		close(done)
	}
	if s.logout == nil {
		if !errors.Is(err, errProtocol) && !errors.Is(err, errSilent) && !errors.Is(err, errDoubted) {
			s.c.settle()
		}
		_ = s.c.nc.Close()
	}
	<-done
	s.drain()
	s.handle.close()
	s.dropTasks()
	s.c.srv.abandon(s)
	if s.logout != nil {
		s.answerLogout(wire.LogoutSuccess)
		s.c.settle()
	}
}

// drain waits for tasks whose end is just being told, on another goroutine.
func (s *session) drain() {
	s.mu.Lock()
	var drained chan struct{}
	if s.liveLocked() {
		drained = make(chan struct{})
		s.drained = drained
	}
	s.mu.Unlock()
	if drained != nil {
		<-drained
	}
}

// dropTasks gives back the payloads of what the device server does not know.
func (s *session) dropTasks() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tasks.each(func(t *task) { s.freeLocked(&s.batch, t) })
}

// describe tells what s is, for people.
func (s *session) describe() Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Session{
		Peer: s.c.peer, Target: s.key.target, TSIH: s.tsih, Since: s.since, Params: s.params,
		Commands: int(s.win.busy) + s.immediate, Window: int(s.win.depth), Pending: s.c.out.Pending(),
		Completed: s.completed.Load(),
	}
}
