// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"time"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
	"pathgate/internal/scsi"
	"pathgate/internal/stream"
)

// asyncNote tells the handler of an Async Message as deferred work.
type asyncNote struct {
	n  *nexus
	ev backends.AsyncEvent
}

// RunBatch implements backends.Runner.
func (a asyncNote) RunBatch(b *backends.Batch) { a.n.handler.Async(b, a.n, a.ev) }

// async takes an Async Message. RFC 7143 11.9 (Asynchronous Message).
func (c *conn) async(b *backends.Batch, data []byte) error {
	p, err := wire.DecodeAsyncMessage(&c.rx)
	if err != nil {
		return err
	}
	sense, _, err := wire.SplitSense(data)
	if err != nil && p.Event == wire.AsyncSCSI {
		return err
	}
	if p.Event == wire.AsyncSCSI {
		c.asyncSense(b, p.LUN, sense) // takes nexus.mu, which comes before conn.mu
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	within := time.Duration(p.Parameter3) * time.Second
	switch p.Event {
	case wire.AsyncLogoutRequest:
		c.askedToLeaveLocked(b, backends.AsyncLogout, within)
	case wire.AsyncNegotiate:
		c.askedToLeaveLocked(b, backends.AsyncRenegotiate, within)
	case wire.AsyncConnectionDrop, wire.AsyncSessionDrop:
		return lost(backends.LossLogout, "the target has dropped the session: %v", p.Event)
	case wire.AsyncTaskTermination:
		if lun, err := scsi.LUNField(p.LUN).LUN(); err == nil && c.n.cfg.lunAllowed(uint16(lun)) {
			b.Defer(asyncNote{c.n, backends.AsyncEvent{Kind: backends.AsyncTasksEnded, LUN: uint16(lun)}})
		}
	default:
		// Vendor events and unassigned ones are ignored.
	}
	c.acknowledgeLocked(b, p.Numbers, true)
	return nil
}

// asyncSense passes sense data on that no command asked for, if it is about a LUN
// that is in use here.
func (c *conn) asyncSense(b *backends.Batch, field wire.LUNField, raw []byte) {
	lun, err := scsi.LUNField(field).LUN()
	if err != nil {
		return
	}
	s := c.n.known(uint16(lun))
	sense, err := scsi.DecodeSense(raw)
	if s == nil || err != nil {
		return
	}
	b.Defer(attention{s, shortSense(sense)})
}

// leaving is a logout that is due, or was sent. Guarded by conn.mu.
type leaving struct {
	at    time.Time // when to log out by ourselves; zero: not asked to
	sent  bool
	due   time.Time          // when the answer to the logout has to be there
	class backends.LossClass // of the session's end
}

// leaveMargin is how long before the target's limit we log out by ourselves, if
// the handler has not had us leave.
const leaveMargin = 500 * time.Millisecond

func (c *conn) askedToLeaveLocked(b *backends.Batch, kind backends.AsyncKind, within time.Duration) {
	b.Defer(asyncNote{c.n, backends.AsyncEvent{Kind: kind, Within: within}})
	if c.leave.at.IsZero() {
		c.leave.at = time.Now().Add(max(within-leaveMargin, 0))
		c.wakeWatch()
	}
}

// sendLogoutLocked asks the target to end the session; its answer, or none within
// FenceLogin, ends it with the class. No new request is sent after it, so that
// nothing is in doubt that was submitted later. RFC 7143 11.14 (Logout Request).
func (c *conn) sendLogoutLocked(b *backends.Batch, class backends.LossClass) {
	if c.leave.sent {
		c.leave.class = class
		return
	}
	t := c.tasks.get()
	if t == nil {
		return
	}
	t.kind = kindLogout
	c.leave.sent, c.leave.class = true, class
	c.leave.due = c.deadline(c.n.cfg.Timeouts.FenceLogin)
	c.room.Store(0)
	wire.LogoutRequest{
		Immediate: true,
		Reason:    wire.LogoutCloseSession,
		ITT:       wire.InitiatorTaskTag(t.itt),
		CmdSN:     c.win.next,
		ExpStatSN: c.expStatSN,
	}.Encode(c.header())
	c.appendLocked(nil, 0, 0, stream.NoTag)
	b.Touch(c.queue)
	c.wakeWatch()
}

// logoutResponse ends the session in order. RFC 7143 11.15 (Logout Response).
func (c *conn) logoutResponse() error {
	p, err := wire.DecodeLogoutResponse(&c.rx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.tasks.find(p.ITT); t == nil || t.kind != kindLogout {
		return errNoTask("Logout Response", p.ITT)
	}
	if p.Status != wire.LogoutSuccess {
		return lost(c.leave.class, "logged out: %v", p.Status)
	}
	return lost(c.leave.class, "logged out: %w", errLoggedOut)
}

// reject takes a Reject. RFC 7143 11.17 (Reject); what becomes of each reason is
// HAZARDS section 5.
func (c *conn) reject(b *backends.Batch, data []byte) error {
	p, err := wire.DecodeReject(&c.rx)
	if err != nil {
		return err
	}
	h, err := wire.RejectedHeader(data)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	itt := h.ITT()
	t := c.tasks.find(itt)
	switch p.Reason {
	case wire.RejectDataDigest:
		// The target ends the task with a status of its own.
		if t == nil || !t.write {
			return errNoTask("Reject", itt)
		}
	case wire.RejectTooManyImmediate:
		switch {
		case h.Opcode() == wire.OpNOPOut:
			c.ping.pong(uint32(itt))
		case t != nil && t.kind == kindTMF:
			endTMF(b, t.tmf, backends.TMRefused)
			c.dropLocked(t)
		case t != nil && t.kind == kindLate && t.isTMF:
			c.unentombLocked(t)
		default:
			return errNoTask("Reject", itt)
		}
	case wire.RejectWaitingForLogout:
		return lost(backends.LossLogout, "%v rejected: %v", h.Opcode(), p.Reason)
	default:
		return lost(backends.LossProtocol, "%v rejected: %v", h.Opcode(), p.Reason)
	}
	c.acknowledgeLocked(b, p.Numbers, true)
	return nil
}
