// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	wire "pathgate/internal/iscsi"
	spc "pathgate/internal/scsi"
)

// program is the input of a fuzzer, which a player carries out byte by byte.
type program []byte

func (m *program) byte() byte {
	if len(*m) == 0 {
		return 0
	}
	b := (*m)[0]
	*m = (*m)[1:]
	return b
}

// take gives up to n bytes.
func (m *program) take(n int) []byte {
	n = min(n, len(*m))
	b := (*m)[:n:n]
	*m = (*m)[n:]
	return b
}

// The steps of a program in full feature phase, in the low four bits of a byte. What
// follows is read by the step.
const (
	stepRead = iota
	stepWrite
	stepDataOut
	stepCDB
	stepManage
	stepPing
	stepText
	stepLogout
	stepSNACK
	stepDisk
	stepSync
	stepNumber
	stepRaw
	stepPong
	stepOther
	stepAHS
)

// The high four bits say how its PDUs are sent.
const (
	howBack      = 0x80 // with what follows, in one write
	howImmediate = 0x40 // as immediate requests
	howMutated   = 0x20 // with one byte of the header changed: which, and how, follows
	howCut       = 0x10 // in two writes: where follows
)

// run carries out m in full feature phase.
func (p *player) run(m program) {
	for len(m) > 0 && !p.over() {
		b := m.byte()
		p.step(&m, b&15, b&0xf0)
	}
	p.flush()
}

// over tells whether the target has ended the connection.
func (p *player) over() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

func (p *player) step(m *program, what, how byte) {
	switch what {
	case stepRead:
		lba, n := int(m.byte()), int(m.byte())
		c := p.command(rw10(spc.OpRead10, lba*8, n&63), lba&1)
		c.Read, c.ExpectedDataTransferLength = true, uint32(max(n&63*512+int(int8(m.byte())), 0))
		p.request(m, how, c, nil, nil)
	case stepWrite:
		p.write(m, how)
	case stepDataOut:
		p.dataOut(m, how, m.byte())
	case stepCDB:
		flags := m.byte()
		c := p.command(nil, int(flags>>6))
		copy(c.CDB[:], m.take(1+int(flags&15)))
		c.Read, c.Write, c.ExpectedDataTransferLength = flags&0x10 != 0, flags&0x20 != 0, uint32(m.byte())*64
		c.Attribute = wire.TaskAttribute(m.byte() % 6)
		p.request(m, how, c, nil, nil)
	case stepManage:
		p.manage(m, how)
	case stepPing:
		p.request(m, how, wire.NOPOut{Immediate: how&howImmediate != 0, ITT: p.tag(), TTT: wire.NoTag}, nil, make([]byte, int(m.byte())*8))
	case stepText:
		p.textStep(m, how)
	case stepLogout:
		p.request(m, how, wire.LogoutRequest{
			Immediate: how&howImmediate != 0, Reason: wire.LogoutReason(m.byte() % 4), ITT: p.tag(), CID: uint16(m.byte() % 3),
		}, nil, nil)
		p.loose = true
	case stepSNACK:
		p.loose = true
		p.request(m, how, wire.SNACK{Type: wire.SNACKType(m.byte() % 4), ITT: wire.NoTag, Tag: wire.NoTag}, nil, nil)
	case stepDisk:
		p.hold(m.byte())
	case stepSync:
		p.sync()
	case stepNumber:
		if b := m.byte(); b&1 == 0 {
			p.cmdSN = p.cmdSN.Add(uint32(b>>1) % 4) // a gap
		} else {
			p.cmdSN, p.loose = p.cmdSN.Add(-uint32(b>>1)%4), true // again
		}
	case stepRaw:
		p.raw(m.take(int(m.byte())))
	case stepPong:
		p.mu.Lock()
		ttt := p.pinged
		p.mu.Unlock()
		p.request(m, how|howImmediate, wire.NOPOut{Immediate: true, ITT: wire.NoTag, TTT: ttt}, nil, nil)
	case stepOther:
		p.other(m, how)
	case stepAHS:
		p.additional(m, how)
	}
}

// tag gives a fresh task tag.
func (p *player) tag() wire.InitiatorTaskTag {
	p.itt++
	return p.itt
}

func (p *player) command(cdb []byte, lun int) wire.SCSICommand {
	c := wire.SCSICommand{Final: true, Attribute: wire.Simple, ITT: p.tag(), LUN: wire.LUNField{0, byte(lun & 3)}}
	copy(c.CDB[:], cdb)
	return c
}

// request sends a PDU, with the CmdSN that it has to have. A request that the command
// window has no place for is not sent.
func (p *player) request(m *program, how byte, q encoder, ahs, data []byte) {
	var h wire.BHS
	q.Encode(&h)
	op := h.Opcode()
	if how&howImmediate != 0 && op != wire.OpDataOut && op != wire.OpSNACK {
		h[0] |= 0x40
	}
	numbered := op != wire.OpDataOut && op != wire.OpSNACK
	if numbered {
		h.SetCmdSN(p.cmdSN)
	}
	if numbered && !h.Immediate() {
		p.mu.Lock()
		shut := p.max.Less(p.cmdSN)
		p.mu.Unlock()
		if shut {
			return
		}
		p.cmdSN = p.cmdSN.Next()
	}
	data = data[:min(len(data), int(p.send.MaxData))]
	b := p.send.AppendPacket(nil, &h, ahs, data)
	if how&howMutated != 0 {
		at, with := int(m.byte())%wire.HeaderLength, m.byte()
		h[at] ^= with
		b[at] = h[at]
		p.loose = true
		if at >= 4 && at < 8 && with != 0 {
			p.lose()
		} else if p.send.HeaderDigest && with&1 == 0 { // or the digest is wrong
			end := wire.HeaderLength + len(ahs)
			wire.CRC32C(0).Update(b[:end]).Put(b[end : end+4])
		}
	}
	p.register(&h)
	p.put(m, how, b)
}

// register takes down what h asks for.
func (p *player) register(h *wire.BHS) {
	op := h.Opcode()
	if op == wire.OpDataOut || op == wire.OpSNACK || h.ITT() == wire.NoTag && op == wire.OpNOPOut {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.tags[h.ITT()]
	if a == nil {
		a = &asked{}
		p.tags[h.ITT()] = a
	}
	a.sent++
	a.cmdSN, a.lun, a.scsi = h.CmdSN(), h.LUN(), op == wire.OpSCSICommand
	if c, err := wire.DecodeSCSICommand(h); err == nil {
		a.limit = c.ExpectedDataTransferLength
	}
}

// lose gives up telling what the target takes for requests.
func (p *player) lose() {
	p.mu.Lock()
	p.lost, p.loose = true, true
	p.mu.Unlock()
}

// put writes b, or keeps it back.
func (p *player) put(m *program, how byte, b []byte) {
	p.back = append(p.back, b...)
	if how&howBack != 0 && len(p.back) < 64<<10 {
		return
	}
	if how&howCut != 0 {
		at := (int(m.byte())<<8 | int(m.byte())) % (len(p.back) + 1)
		_, _ = p.conn.Write(p.back[:at])
		p.back = p.back[at:]
	}
	p.flush()
}

// flush writes what was kept back. It fails when the target has closed.
func (p *player) flush() {
	if len(p.back) > 0 {
		_, _ = p.conn.Write(p.back)
	}
	p.back = nil
}

func (p *player) raw(b []byte) {
	p.lose()
	p.back = append(p.back, b...)
	p.flush()
}

// sync waits until the target has answered a ping, and with it all that came before.
func (p *player) sync() {
	if p.flush(); p.lost {
		return
	}
	itt := p.tag()
	p.request(nil, howImmediate, wire.NOPOut{Immediate: true, ITT: itt, TTT: wire.NoTag}, nil, nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until(func() bool { return p.tags[itt].answered > 0 })
}

// write sends a WRITE(10): its place, its blocks, how many bytes of immediate data, and
// how many PDUs of unsolicited data.
func (p *player) write(m *program, how byte) {
	lba, n, form := int(m.byte()), int(m.byte()&63), m.byte()
	c := p.command(rw10(spc.OpWrite10, lba*8, n), lba&1)
	c.Write, c.ExpectedDataTransferLength = true, uint32(n*512)
	first := int(min(p.params.FirstBurstLength, c.ExpectedDataTransferLength))
	now := 0
	if p.params.ImmediateData {
		now = min(first, int(p.send.MaxData), int(form&15)*512)
	}
	pdus := int(form >> 4 & 3)
	c.Final = p.params.InitialR2T || pdus == 0 || now == first
	sn := p.cmdSN
	if p.request(m, how, c, nil, noise(uint64(lba), now)); c.Final || sn == p.cmdSN && how&howImmediate == 0 {
		return
	}
	size := (first - now + pdus - 1) / pdus
	size = max(min(size, int(p.send.MaxData)), 1)
	for i, off := 0, now; off < first; i, off = i+1, off+size {
		end := min(off+size, first)
		p.request(m, how&howBack, wire.DataOut{
			Final: end == first, ITT: c.ITT, TTT: wire.NoTag, DataSN: wire.SerialOf(uint32(i)), BufferOffset: uint32(off),
		}, nil, make([]byte, end-off))
	}
}

// dataOut answers the oldest R2T: in order, or in one of the wrong ways.
func (p *player) dataOut(m *program, how, form byte) {
	if p.flush(); !p.lost {
		p.sync()
	}
	p.mu.Lock()
	if len(p.r2ts) == 0 {
		p.mu.Unlock()
		return
	}
	r := p.r2ts[0]
	p.r2ts = p.r2ts[1:]
	p.mu.Unlock()
	d := wire.DataOut{LUN: r.LUN, ITT: r.ITT, TTT: r.TTT}
	size := max(min(int(p.send.MaxData), 8192>>(form&3)), 1)
	total := int(r.DesiredDataTransferLength)
	skew := 0
	switch form >> 2 & 7 {
	case 1: // too little
		total, p.loose = total/2, true
	case 2: // to another place
		skew, p.loose = 4, true
	case 3:
		d.TTT++
		p.loose = true
	case 4: // too much
		total, p.loose = total+512, true
	case 5:
		d.DataSN, p.loose = wire.SerialOf(1), true
	case 6:
		d.LUN[1]++
		p.loose = true
	}
	for off := 0; off < total; off += size {
		end := min(off+size, total)
		d.Final = end == total && (form&0x20 == 0 || !p.loose)
		d.BufferOffset = r.BufferOffset + uint32(off+skew)
		p.request(m, how, d, nil, make([]byte, end-off))
		d.DataSN = d.DataSN.Next()
	}
}

// manage sends a task management function, for one of the last tasks.
func (p *player) manage(m *program, how byte) {
	f, back := wire.TaskFunction(m.byte()%14), wire.InitiatorTaskTag(m.byte()%8)
	q := wire.TaskManagementRequest{Immediate: how&howImmediate != 0, Function: f, ITT: p.tag(), ReferencedTaskTag: wire.NoTag}
	p.mu.Lock()
	if a := p.tags[q.ITT-1-back]; f.NamesTask() && a != nil {
		q.ReferencedTaskTag, q.RefCmdSN, q.LUN = q.ITT-1-back, a.cmdSN, a.lun
	}
	for _, a := range p.tags {
		a.silent = a.silent || a.scsi
	}
	p.mu.Unlock()
	if f == wire.TargetColdReset {
		p.loose = true
	}
	p.request(m, how, q, nil, nil)
}

// texts are what is asked for in full feature phase.
var texts = []string{
	"SendTargets=All\x00", "SendTargets=\x00", "SendTargets=" + testTarget + "\x00", "MaxRecvDataSegmentLength=512\x00",
	"MaxRecvDataSegmentLength=65536\x00", "X-what=ever\x00", "HeaderDigest=None\x00", "InitiatorAlias=me\x00SendTargets=\x00", "=", "",
}

// textStep sends a Text Request: what, and how much of it goes on in the next one.
func (p *player) textStep(m *program, how byte) {
	what, form := texts[int(m.byte())%len(texts)], m.byte()
	q := wire.TextRequest{Immediate: how&howImmediate != 0, Final: form&1 == 0, ITT: p.tag(), TTT: wire.NoTag}
	p.mu.Lock()
	if form&2 != 0 && p.text != wire.NoTag {
		q.TTT, q.ITT = p.text, q.ITT-1
		p.itt--
	}
	p.most = max(p.most, 65536) // it may have taken that
	p.mu.Unlock()
	data := []byte(what)
	if form&4 != 0 {
		q.Final, q.Continue, data = false, true, data[:len(data)/2]
	}
	p.loose = p.loose || form != 0
	p.request(m, how, q, nil, data)
}

// hold has the disk keep what it gets, or end it.
func (p *player) hold(b byte) {
	switch b % 3 {
	case 0:
		p.disk.Hold(nil)
	case 1:
		p.disk.ReleaseNext(int(b >> 2))
	default:
		p.disk.Release()
	}
}

// other sends what nobody may send now.
func (p *player) other(m *program, how byte) {
	p.loose = true
	var q encoder = wire.LoginRequest{Transit: true, CurrentStage: wire.OperationalNegotiation, NextStage: wire.FullFeaturePhase, ISID: p.isid, ITT: p.tag()}
	switch m.byte() % 3 {
	case 1:
		q = wire.DataOut{Final: true, ITT: p.itt, TTT: 77}
	case 2:
		q = wire.Reject{Reason: wire.RejectProtocolError}
		p.lose()
	}
	p.request(m, how, q, nil, nil)
}

// additional sends a command with additional header segments.
func (p *player) additional(m *program, how byte) {
	form := m.byte()
	c := p.command([]byte{0x7f, 0, 0, 0, 0, 0, 0, 24}, 0)
	a := wire.CommandAHS{HasBidiRead: form&1 != 0, BidiRead: 512}
	if form&2 != 0 {
		a.ExtendedCDB = make([]byte, 16)
	}
	c.CDB[9] = m.byte()
	ahs := a.Append(nil)
	if form&4 != 0 && len(ahs) > 0 {
		ahs[int(m.byte())%len(ahs)] ^= m.byte()
	}
	c.TotalAHSLength = len(ahs)
	p.loose = p.loose || form&5 != 0 // read data of the other direction has a length of its own
	if form&1 != 0 {
		p.lose()
	}
	p.request(m, how, c, ahs, nil)
}

// finish brings everything that was begun to its end, logs out, and demands an answer to
// each request.
func (p *player) finish() {
	p.disk.Release()
	p.sync()
	for !p.loose && !p.over() {
		p.mu.Lock()
		owed, gap := len(p.r2ts) > 0, p.exp.Less(p.cmdSN)
		exp := p.exp
		p.mu.Unlock()
		switch {
		case owed:
			p.dataOut(nil, 0, 0)
			continue
		case gap:
			end := p.cmdSN
			p.cmdSN = exp
			p.request(nil, 0, wire.NOPOut{ITT: p.tag(), TTT: wire.NoTag}, nil, nil)
			p.cmdSN = end
			p.sync()
			continue
		}
		p.mu.Lock()
		p.until(func() bool { return len(p.r2ts) > 0 || p.exp.Less(p.cmdSN) || p.settled() })
		settled := p.settled()
		p.mu.Unlock()
		if !settled { // the disk has just ended what was held
			continue
		}
		p.request(nil, howImmediate, wire.LogoutRequest{Immediate: true, ITT: p.tag()}, nil, nil)
		p.mu.Lock()
		p.until(func() bool { return false })
		for itt, a := range p.tags {
			if a.answered != a.sent && !a.silent {
				p.t.Errorf("%d answers to %d requests with tag %d: %+v", a.answered, a.sent, itt, *a)
			}
		}
		p.mu.Unlock()
	}
}

// settled tells that nothing waits for an answer that has to come. Called with mu.
func (p *player) settled() bool {
	for _, a := range p.tags {
		if a.answered < a.sent && !a.silent {
			return false
		}
	}
	return true
}
