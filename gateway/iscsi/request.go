// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	wire "pathgate/internal/iscsi"
)

// handlePDU takes the PDU at hand. An error ends the session.
func (s *session) handlePDU() error {
	p := &s.c.rx
	op := p.bhs.Opcode()
	if op != wire.OpDataOut && (op != wire.OpSCSICommand || p.bhs.Immediate() || p.ahsErr != nil) {
		s.chore(p)
	}
	switch {
	case p.ahsErr != nil:
		return s.reject(p, wire.RejectProtocolError)
	case s.discovery && !discoveryMay(op):
		return s.reject(p, wire.RejectProtocolError)
	}
	switch op {
	case wire.OpDataOut:
		return s.dataOut(p)
	case wire.OpSNACK:
		return s.snack(p)
	case wire.OpLoginRequest:
		return s.lateLogin(p)
	case wire.OpNOPOut, wire.OpSCSICommand, wire.OpTaskManagementRequest, wire.OpTextRequest, wire.OpLogoutRequest:
		if p.damaged { // 7.8: discarded, and its CmdSN with it
			return s.reject(p, wire.RejectDataDigest)
		}
		return s.request(p)
	default:
		return s.reject(p, wire.RejectCommandNotSupported)
	}
}

// discoveryMay tells what a discovery session may ask for. RFC 7143 4.3 (iSCSI
// Session Types).
func discoveryMay(op wire.Opcode) bool {
	return op == wire.OpTextRequest || op == wire.OpLogoutRequest
}

// request takes a request that has a CmdSN, in its turn, and then those whose turn
// comes with it: also an immediate request may fill a gap.
func (s *session) request(p *pdu) error {
	where := placeNext
	if !p.bhs.Immediate() {
		s.mu.Lock()
		where = s.win.place(p.bhs.CmdSN())
		s.mu.Unlock()
	}
	var err error
	switch where {
	case placeOutside:
		s.chore(p)
	case placeEarly:
		if s.fenced(p) {
			s.plug(p.bhs.CmdSN())
			break
		}
		err = s.hold(p)
	case placeNext:
		if s.fenced(p) {
			s.taken(p)
		} else {
			err = s.dispatch(p)
		}
		for err == nil && len(s.held) > 0 && s.turn(s.held[0].bhs.CmdSN()) {
			err = s.dispatchHeld()
		}
		s.clearFences()
	}
	return err
}

// turn tells whether it is the turn of sn.
func (s *session) turn(sn wire.Serial) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sn == s.win.exp
}

// dispatchHeld carries out the first request that waits.
func (s *session) dispatchHeld() error {
	h := s.held[0]
	s.held = slices.Delete(s.held, 0, 1)
	_ = s.keepEarly(nil, -h.size)
	defer h.vec.Release()
	return s.dispatch(&h)
}

func compareHeld(h pdu, sn wire.Serial) int { return int(h.bhs.CmdSN().Sub(sn)) }

// hold keeps a request until its turn. A CmdSN that is held already is ignored.
func (s *session) hold(p *pdu) error {
	sn := p.bhs.CmdSN()
	i, found := slices.BinarySearchFunc(s.held, sn, compareHeld)
	if found {
		return nil
	}
	size := len(p.data) + p.vec.Len()
	if err := s.keepEarly(nil, size); err != nil {
		return err
	}
	h := *p
	if p.bhs.Opcode() == wire.OpSCSICommand {
		ok, err := s.accept(&h, taskHeld)
		p.vec = nil // it went with h
		if err != nil || !ok {
			h.vec.Release()
			_ = s.keepEarly(nil, -size)
			return err
		}
	}
	h.data, p.vec = bytes.Clone(p.data), nil
	h.held, h.size = true, size
	s.held = slices.Insert(s.held, i, h)
	return nil
}

// keepEarly counts n more bytes, or fewer when n is negative, that wait for a turn: with
// the request that t waits in when t is not nil. Nobody who sends in order has any; an
// initiator with too many is given up.
func (s *session) keepEarly(t *task, n int) error {
	if s.heldB += n; s.heldB > maxHeldBytes || n > 0 && s.heldB > fewHeldBytes && s.handle.Memory.Overdrawn() {
		s.heldB -= n
		return fmt.Errorf("%w: %d bytes wait for their turn", errProtocol, s.heldB+n)
	}
	s.handle.Memory.Charge(int64(n))
	for i := range s.held {
		if t != nil && s.held[i].task == t {
			s.held[i].size += n
		}
	}
	return nil
}

// dispatch carries out a request whose turn it is.
func (s *session) dispatch(p *pdu) error {
	switch p.bhs.Opcode() {
	case wire.OpSCSICommand:
		return s.command(p)
	case wire.OpNOPOut:
		return s.nopOut(p)
	case wire.OpTaskManagementRequest:
		return s.taskManagement(p)
	case wire.OpTextRequest:
		return s.textRequest(p)
	default:
		return s.logoutRequest(p)
	}
}

// taken counts the request at hand as received.
func (s *session) taken(p *pdu) {
	if p.bhs.Immediate() {
		return
	}
	s.mu.Lock()
	s.win.advance()
	s.win.open()
	s.mu.Unlock()
}

// snack refuses a SNACK: nothing is kept to be sent again at error recovery level 0.
func (s *session) snack(p *pdu) error {
	if _, err := wire.DecodeSNACK(&p.bhs); err != nil {
		return err
	}
	return s.reject(p, wire.RejectProtocolError)
}

// lateLogin ends a session that is sent a Login Request.
func (s *session) lateLogin(p *pdu) error {
	req, err := wire.DecodeLoginRequest(&p.bhs)
	if err != nil {
		return err
	}
	var h wire.BHS
	wire.LoginResponse{ISID: req.ISID, TSIH: req.TSIH, ITT: req.ITT, Status: wire.LoginInvalidDuringLogin}.Encode(&h)
	s.mu.Lock()
	s.sendLocked(&h, nil)
	s.mu.Unlock()
	s.c.settle()
	return fmt.Errorf("%w: login in full feature phase", errProtocol)
}

// logoutRequest ends the session, or refuses to. The answer comes when the tasks
// have ended.
func (s *session) logoutRequest(p *pdu) error {
	req, err := wire.DecodeLogoutRequest(&p.bhs)
	if err != nil {
		return err
	}
	s.taken(p)
	s.logout = &req
	switch {
	case req.Reason == wire.LogoutRecovery:
		s.answerLogout(wire.LogoutRecoveryNotSupported)
	case req.Reason == wire.LogoutCloseConnection && req.CID != s.cid:
		s.answerLogout(wire.LogoutCIDNotFound)
	default:
		s.submit() // what came before it may be answered at once
		return errLoggedOut
	}
	s.logout = nil
	return nil
}

func (s *session) answerLogout(status wire.LogoutStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var h wire.BHS
	wire.LogoutResponse{Status: status, ITT: s.logout.ITT, Numbers: s.statusLocked()}.Encode(&h)
	s.sendLocked(&h, nil)
	s.batch.Touch(s.c.out)
}

// askLogout asks the initiator to log out before the drain ends. It is called on
// any goroutine.
func (s *session) askLogout() {
	s.mu.Lock()
	if !s.begun {
		s.leave = true
		s.mu.Unlock()
		return
	}
	var h wire.BHS
	wire.AsyncMessage{
		Event: wire.AsyncLogoutRequest, Numbers: s.statusLocked(),
		Parameter3: uint16(min(s.c.srv.cfg.DrainTimeout.Seconds(), 65535)),
	}.Encode(&h)
	s.sendLocked(&h, nil)
	s.mu.Unlock()
	s.c.out.Flush()
}

// reject answers a PDU that is not acted upon. Its CmdSN does not count as received.
// RFC 7143 7.3 (Usage of Reject PDU in Recovery).
func (s *session) reject(p *pdu, why wire.RejectReason) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var h wire.BHS
	wire.Reject{Reason: why, DataSegmentLength: wire.HeaderLength, Numbers: s.statusLocked()}.Encode(&h)
	s.sendLocked(&h, p.bhs[:])
	s.batch.Touch(s.c.out)
	return nil
}

// rejectFor answers p with a Reject for err, or gives err when it has no reason:
// then the session ends. Format errors end it, too (7.7 (Format Errors)).
func (s *session) rejectFor(p *pdu, err error) error {
	if e, ok := errors.AsType[*wire.ProtocolError](err); ok && e.Code != wire.CodeFormat && e.Code.RejectReason() != 0 {
		return s.reject(p, e.Code.RejectReason())
	}
	return err
}
