// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"time"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

// pinger is the health check of one session: after a silence it asks, and when
// neither an answer nor any other byte comes, the session is lost. It is guarded
// by conn.mu.
type pinger struct {
	tag  uint32 // of the last NOP-Out; 0 before the first
	open uint32 // NOP-Outs, this one and those before it, without an answer
	at   int64  // lastRx when the last was sent
	sent uint64 // how far the queue was at the last look
	held bool   // the NOP-Out was still in the queue at the last look
	due  time.Time
}

// healthLocked looks at the silence, sends a NOP-Out if it is time, and tells when
// to look again. An error: the target is silent.
func (c *conn) healthLocked(b *backends.Batch, now time.Time, stalled bool) (next time.Time, err error) {
	t := &c.n.cfg.Timeouts
	last := c.lastRx.Load()
	p := &c.ping
	if !p.due.IsZero() && last > p.at {
		p.due = time.Time{}
	}
	if p.due.IsZero() {
		if quiet := c.epoch.Add(time.Duration(last)).Add(t.NOPInterval); quiet.After(now) {
			return quiet, nil
		}
		c.sendPingLocked(b)
		p.at, p.due = last, now.Add(t.NOPTimeout)
		return p.due, nil
	}
	if stalled {
		p.due = now.Add(t.NOPTimeout)
	}
	if p.due.After(now) {
		return p.due, nil
	}
	held, sent := c.queue.UrgentPending() > 0, c.queue.Sent()
	if held && sent != p.sent || !held && p.held {
		// The NOP-Out waits for the end of a PDU that the target goes on taking, or
		// has left since the last look.
		p.held, p.sent = held, sent
		p.due = now.Add(t.NOPTimeout)
		return p.due, nil
	}
	if !c.filling.Load() {
		// What has come may lie in the socket: the reader is at work.
		p.due = now.Add(stallGrace)
		return p.due, nil
	}
	return now, lost(backends.LossSilent, "no answer to a NOP-Out within %v", t.NOPTimeout)
}

// sendPingLocked appends a NOP-Out that wants an answer. It is immediate, so it
// needs no room in the command window. RFC 7143 11.18 (NOP-Out).
func (c *conn) sendPingLocked(b *backends.Batch) {
	p := &c.ping
	p.tag += 1 << slotBits
	p.tag |= nopSlot
	if p.tag == wire.NoTag {
		p.tag = 1<<slotBits | nopSlot
	}
	p.open++
	wire.NOPOut{
		Immediate: true,
		ITT:       wire.InitiatorTaskTag(p.tag),
		TTT:       wire.NoTag,
		CmdSN:     c.win.next,
		ExpStatSN: c.expStatSN,
	}.Encode(c.header())
	c.appendUrgentLocked(0)
	p.sent, p.held = c.queue.Sent(), false
	b.Touch(c.queue)
}

// pong takes the answer to a NOP-Out: false when it answers none.
func (p *pinger) pong(itt uint32) bool {
	if itt&slotMask != nopSlot {
		return false
	}
	newer := (p.tag - itt) >> slotBits
	if newer >= p.open {
		return false
	}
	p.open = newer
	return true
}

// maxPings is how many NOP-Ins that want an answer a target may send in a second.
const maxPings = 1000

// nopIn takes an answer to our NOP-Out, and answers a ping of the target.
// RFC 7143 11.19 (NOP-In).
func (c *conn) nopIn(b *backends.Batch) error {
	p, err := wire.DecodeNOPIn(&c.rx)
	if err != nil {
		return err
	}
	if p.TTT != wire.NoTag && !c.pings.allow(c.now(), maxPings) {
		return lost(backends.LossProtocol, "more than %d NOP-Ins a second", maxPings)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.ITT != wire.NoTag && !c.ping.pong(uint32(p.ITT)) {
		return errNoTask("NOP-In", p.ITT)
	}
	if p.TTT != wire.NoTag {
		wire.NOPOut{
			Immediate: true,
			LUN:       p.LUN,
			ITT:       wire.NoTag,
			TTT:       p.TTT,
			CmdSN:     c.win.next,
			ExpStatSN: c.expStatSN,
		}.Encode(c.header())
		c.appendUrgentLocked(0)
		b.Touch(c.queue)
	}
	c.acknowledgeLocked(b, p.Numbers, p.ITT != wire.NoTag)
	return nil
}

// rateBound counts events in windows of a second.
type rateBound struct {
	since int64 // ns
	n     int
}

// allow counts one event at now (ns) and tells whether it is among the first n of
// its second.
func (r *rateBound) allow(now int64, n int) bool {
	if now-r.since >= int64(time.Second) {
		r.since, r.n = now, 0
	}
	r.n++
	return r.n <= n
}
