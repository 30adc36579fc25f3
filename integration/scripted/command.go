// SPDX-License-Identifier: Apache-2.0

package scripted

import (
	"time"

	wire "pathgate/internal/iscsi"
	"pathgate/internal/scsi"
)

// Command is a SCSI command that a rule has taken.
type Command struct {
	wire.SCSICommand // as it came
	Portal           int
	LUN              uint16
	CDB              scsi.CDB

	conn *conn
	unit *Unit // nil: nothing is there
	mute bool

	// Of a write, guarded by conn.mu.
	data     []byte
	solicit  bool // all unsolicited data has come
	wanted   bool // Run was called
	asked    int  // bytes up to the end of the last R2T
	r2tSN    wire.Serial
	answered bool
}

// command takes one from the wire.
func (c *conn) command(p wire.SCSICommand, data []byte) {
	cmd := &Command{SCSICommand: p, Portal: c.portal, CDB: p.CDB, conn: c, unit: c.t.unit(c.portal, field(p.LUN))}
	if lun, err := field(p.LUN).LUN(); err == nil {
		cmd.LUN = uint16(lun)
	}
	c.t.count(c.portal, func(s *Stats) { s.Commands[cmd.CDB.Opcode()]++ })
	cmd.data, cmd.solicit = append([]byte(nil), data...), p.Final
	c.mu.Lock()
	c.tasks[p.ITT] = cmd
	c.mu.Unlock()
	if do, ok := c.t.script(cmd); ok {
		if do != nil {
			do(cmd)
		}
		return
	}
	cmd.Run()
}

// dataOut takes data of a write. What belongs to no command is dropped, as after
// its end.
func (c *conn) dataOut(d wire.DataOut, data []byte) {
	c.mu.Lock()
	cmd := c.tasks[d.ITT]
	if cmd == nil || int(d.BufferOffset) != len(cmd.data) {
		c.mu.Unlock()
		return
	}
	cmd.data = append(cmd.data, data...)
	cmd.solicit = cmd.solicit || d.Final
	c.mu.Unlock()
	cmd.advance()
}

// Run carries the command out as a disk does, and answers: it asks for the data of
// a write first.
func (m *Command) Run() {
	c := m.conn
	c.mu.Lock()
	m.wanted = true
	c.mu.Unlock()
	m.advance()
}

// advance asks for what is missing, or carries the command out.
func (m *Command) advance() {
	c := m.conn
	c.mu.Lock()
	if !m.wanted || !m.solicit || c.tasks[m.ITT] != m {
		c.mu.Unlock()
		return
	}
	need := 0
	if m.Write {
		need = int(m.ExpectedDataTransferLength)
	}
	if len(m.data) >= need {
		data := m.data
		delete(c.tasks, m.ITT)
		c.mu.Unlock()
		m.carryOut(data)
		return
	}
	if len(m.data) < m.asked {
		c.mu.Unlock()
		return // on its way
	}
	c.ttt++
	n := min(need-len(m.data), int(c.params.MaxBurstLength))
	r := wire.R2T{
		LUN: m.SCSICommand.LUN, ITT: m.ITT, TTT: c.ttt, R2TSN: m.r2tSN,
		BufferOffset: uint32(len(m.data)), DesiredDataTransferLength: uint32(n),
	}
	m.asked, m.r2tSN = len(m.data)+n, m.r2tSN.Next()
	c.mu.Unlock()
	c.send(r, nil, carry)
}

// Go runs f on a goroutine of its own, so that the commands behind this one are
// not held back. The target waits for its end.
func (m *Command) Go(f func()) { m.conn.t.wg.Go(f) }

// Wait waits for ch; false: the connection has ended first.
func (m *Command) Wait(ch <-chan time.Time) bool {
	select {
	case <-ch:
		return true
	case <-m.conn.gone:
		return false
	}
}

// end takes the command from the list of those that run; false: it had ended.
func (m *Command) end() bool {
	c := m.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.tasks, m.ITT)
	was := m.answered
	m.answered = true
	return !was && !m.mute
}

// Good ends it with GOOD and no residual, whatever was transferred.
func (m *Command) Good() { m.Status(scsi.StatusGood) }

// Status ends it with a status and no sense data.
func (m *Command) Status(s scsi.Status) {
	if m.end() {
		m.conn.send(wire.SCSIResponse{Status: uint8(s), ITT: m.ITT}, nil, advance)
	}
}

// Check ends it with CHECK CONDITION and fixed sense data.
func (m *Command) Check(code scsi.SenseCode) { m.Sense(code.Sense().AppendFixed(nil)) }

// Sense ends it with CHECK CONDITION and these sense data.
func (m *Command) Sense(data []byte) {
	if m.end() {
		m.conn.send(wire.SCSIResponse{Status: uint8(scsi.StatusCheckCondition), ITT: m.ITT}, wire.AppendSense(nil, data), advance)
	}
}

// Reject ends it with a Reject PDU.
func (m *Command) Reject(why wire.RejectReason) {
	if m.end() {
		var h wire.BHS
		m.Encode(&h)
		m.conn.send(wire.Reject{Reason: why}, h[:], advance)
	}
}

// Send sends any PDU in its session, with the session's numbers: status PDUs take a
// StatSN.
func (m *Command) Send(p PDU, data []byte) {
	n := advance
	switch v := p.(type) {
	case wire.DataIn:
		if !v.HasStatus {
			n = carry
		}
	case wire.R2T:
		n = carry
	}
	m.conn.send(p, data, n)
}

// SendAs sends any PDU with the numbers that it has.
func (m *Command) SendAs(p PDU, data []byte) { m.conn.send(p, data, own) }

// Numbers gives those that a PDU would have now.
func (m *Command) Numbers() wire.Numbers {
	c := m.conn
	c.t.mu.Lock()
	window := c.t.window
	c.t.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	return wire.Numbers{StatSN: c.statSN, ExpCmdSN: c.expCmdSN, MaxCmdSN: c.expCmdSN.Add(window).Prev()}
}

// JumpStatSN moves the session's StatSN by n.
func (m *Command) JumpStatSN(n uint32) {
	m.conn.mu.Lock()
	defer m.conn.mu.Unlock()
	m.conn.statSN = m.conn.statSN.Add(n)
}

// Answer sends the data of a read in as many Data-In PDUs as needed, the last with
// GOOD and the residual that is true.
func (m *Command) Answer(p []byte) {
	want := int(m.ExpectedDataTransferLength)
	if !m.Read {
		want = 0
	}
	var left wire.Residual
	switch {
	case len(p) < want:
		left = wire.Residual{Underflow: true, Count: uint32(want - len(p))}
	case len(p) > want:
		left = wire.Residual{Overflow: true, Count: uint32(len(p) - want)}
		p = p[:want]
	}
	if !m.end() {
		return
	}
	if len(p) == 0 {
		m.conn.send(wire.SCSIResponse{ITT: m.ITT, Residual: left}, nil, advance)
		return
	}
	m.sendData(p, left)
}

func (m *Command) sendData(p []byte, left wire.Residual) {
	c := m.conn
	c.t.count(c.portal, func(s *Stats) { s.ReadBytes += uint64(len(p)) })
	d := wire.DataIn{ITT: m.ITT, TTT: wire.NoTag}
	for {
		n := min(len(p), int(c.params.MaxSendDataSegmentLength))
		d.Final, d.HasStatus = n == len(p), n == len(p)
		kind := carry
		if d.HasStatus {
			kind, d.Residual = advance, left
		}
		c.send(d, p[:n], kind)
		if p = p[n:]; len(p) == 0 {
			return
		}
		d.DataSN = d.DataSN.Next()
		d.BufferOffset += uint32(n)
	}
}

// Corrupt sends a PDU with a bit of its header or of its data flipped after the
// digests were made.
func (m *Command) Corrupt(p PDU, data []byte, header bool) {
	var h wire.BHS
	p.Encode(&h)
	n := m.Numbers()
	h.SetCommandWindow(n.ExpCmdSN, n.MaxCmdSN)
	b := m.conn.sendF.AppendPacket(nil, &h, nil, data)
	at := 20 // of the target transfer tag, or residual
	if !header {
		at = wire.HeaderLength
		if m.conn.sendF.HeaderDigest {
			at += wire.DigestLength
		}
		at += len(data) / 2
	}
	b[at] ^= 0x10
	m.conn.raw(b)
}
