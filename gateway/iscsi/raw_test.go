// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	wire "pathgate/internal/iscsi"
	spc "pathgate/internal/scsi"
)

// raw is an initiator that sends what it is told, right or wrong.
type raw struct {
	tb     testing.TB
	conn   net.Conn
	send   wire.Framing
	recv   wire.Framing
	params wire.Params
	tsih   uint16
	isid   wire.ISID

	itt    wire.InitiatorTaskTag
	cmdSN  wire.Serial // of the next request that is not immediate
	statSN wire.Serial // that the next response has to have
	strict bool        // StatSN is checked
}

// encoder is a PDU of package wire.
type encoder interface{ Encode(h *wire.BHS) }

func newRaw(tb testing.TB, conn net.Conn) *raw {
	tb.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return &raw{
		tb: tb, conn: conn, send: wire.LoginFraming(), recv: wire.LoginFraming(),
		isid: wire.ISID{0x40, 1, 2, 3, 4, 5}, cmdSN: wire.SerialOf(100), itt: 1000,
	}
}

// tag gives a fresh task tag.
func (r *raw) tag() wire.InitiatorTaskTag {
	r.itt++
	return r.itt
}

// next gives the CmdSN of the next request.
func (r *raw) next() wire.Serial {
	sn := r.cmdSN
	r.cmdSN = sn.Next()
	return sn
}

// write sends bytes as they are.
func (r *raw) write(b []byte) {
	r.tb.Helper()
	if _, err := r.conn.Write(b); err != nil {
		r.tb.Fatalf("write: %v", err)
	}
}

// pdu sends a PDU.
func (r *raw) pdu(p encoder, data []byte) {
	r.tb.Helper()
	r.write(r.bytes(p, nil, data))
}

func (r *raw) bytes(p encoder, ahs, data []byte) []byte {
	var h wire.BHS
	p.Encode(&h)
	return r.send.AppendPacket(nil, &h, ahs, data)
}

// read reads one PDU.
func (r *raw) read() (*wire.BHS, []byte, error) {
	head := make([]byte, wire.HeaderLength, 64)
	if _, err := io.ReadFull(r.conn, head); err != nil {
		return nil, nil, err
	}
	l, err := r.recv.Lengths((*wire.BHS)(head))
	if err != nil {
		return nil, nil, err
	}
	whole := append(head, make([]byte, l.Total()-len(head))...)
	if _, err := io.ReadFull(r.conn, whole[wire.HeaderLength:]); err != nil {
		return nil, nil, err
	}
	p, _, _, err := r.recv.Split(whole)
	return p.BHS, p.Data, err
}

// expect reads a PDU of type op, and checks its StatSN.
func (r *raw) expect(op wire.Opcode) (*wire.BHS, []byte) {
	r.tb.Helper()
	h, data, err := r.read()
	if err != nil {
		r.tb.Fatalf("waiting for %v: %v", op, err)
	}
	if h.Opcode() != op {
		r.tb.Fatalf("got %v, want %v (%x)", h.Opcode(), op, *h)
	}
	if r.strict && op != wire.OpDataIn && op != wire.OpR2T && !(op == wire.OpNOPIn && h.ITT() == wire.NoTag) {
		if h.StatSN() != r.statSN {
			r.tb.Errorf("%v has StatSN %v, want %v", op, h.StatSN(), r.statSN)
		}
		r.statSN = h.StatSN().Next()
	}
	return h, data
}

// closed demands that the target ends the connection, and sends nothing before.
func (r *raw) closed() {
	r.tb.Helper()
	h, _, err := r.read()
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		r.tb.Error("the connection is not closed")
	}
	if err == nil {
		r.tb.Errorf("got %v before the end", h.Opcode())
	}
}

// loginPDU sends a Login Request with CSG, T and NSG.
func (r *raw) loginPDU(csg, nsg wire.Stage, text wire.Text) {
	r.tb.Helper()
	r.pdu(wire.LoginRequest{
		Transit: nsg > csg, CurrentStage: csg, NextStage: nsg, ISID: r.isid, TSIH: r.tsih, ITT: 7, CID: 1, CmdSN: r.cmdSN,
	}, text.Append(nil))
}

// loginAnswer reads a Login Response.
func (r *raw) loginAnswer() (wire.LoginResponse, wire.Text) {
	r.tb.Helper()
	h, data, err := r.read()
	if err != nil {
		r.tb.Fatalf("waiting for a Login Response: %v", err)
	}
	p, err := wire.DecodeLoginResponse(h)
	if err != nil {
		r.tb.Fatal(err)
	}
	text, err := wire.ParseText(data)
	if err != nil {
		r.tb.Fatal(err)
	}
	return p, text
}

// fast is the text of a login in one request.
func (r *raw) fast(more ...wire.KeyValue) wire.Text {
	t := wire.Text{
		{Key: wire.KeyInitiatorName, Value: testInitiator},
		{Key: wire.KeySessionType, Value: "Normal"},
		{Key: wire.KeyTargetName, Value: testTarget},
	}
	return append(t, more...)
}

// login logs in with settings. It panics on none of the target's answers, but ends
// the test.
func (r *raw) login(change func(s *wire.Settings)) {
	r.tb.Helper()
	s := wire.DefaultSettings()
	s.InitiatorName, s.TargetName = testInitiator, testTarget
	s.InitialR2T, s.MaxRecvDataSegmentLength, s.MaxBurstLength, s.FirstBurstLength = false, 64<<10, 256<<10, 64<<10
	s.MaxOutstandingR2T = 2
	if change != nil {
		change(&s)
	}
	n, err := wire.NewNegotiator(wire.Initiator, s)
	if err != nil {
		r.tb.Fatal(err)
	}
	r.loginPDU(wire.OperationalNegotiation, wire.FullFeaturePhase, n.Offer(wire.OperationalNegotiation))
	for {
		p, text := r.loginAnswer()
		if p.Status != wire.LoginSuccess {
			r.tb.Fatalf("login: %v", p.Status)
		}
		out, err := n.Receive(wire.OperationalNegotiation, text)
		if err != nil {
			r.tb.Fatal(err)
		}
		if p.Transit {
			r.begin(n, p)
			return
		}
		r.loginPDU(wire.OperationalNegotiation, wire.FullFeaturePhase, out)
	}
}

// begin goes over to full feature phase.
func (r *raw) begin(n *wire.Negotiator, p wire.LoginResponse) {
	r.tb.Helper()
	var err error
	if r.params, err = n.Finish(); err != nil {
		r.tb.Fatal(err)
	}
	if p.TSIH == 0 {
		r.tb.Error("TSIH is 0")
	}
	r.send, r.recv = r.params.SendFraming(), r.params.RecvFraming()
	r.statSN, r.strict = p.StatSN.Next(), true
}

// command makes a SCSI Command for LUN 0.
func (r *raw) command(cdb []byte) wire.SCSICommand {
	c := wire.SCSICommand{Final: true, Attribute: wire.Simple, ITT: r.tag(), CmdSN: r.next()}
	copy(c.CDB[:], cdb)
	return c
}

// scsiRead and scsiWrite make READ(10) and WRITE(10) of n blocks of 512 bytes.
func (r *raw) scsiRead(lba, n int) wire.SCSICommand {
	c := r.command(rw10(spc.OpRead10, lba, n))
	c.Read, c.ExpectedDataTransferLength = true, uint32(n*512)
	return c
}

func (r *raw) scsiWrite(lba, n int) wire.SCSICommand {
	c := r.command(rw10(spc.OpWrite10, lba, n))
	c.Write, c.ExpectedDataTransferLength = true, uint32(n*512)
	return c
}

func rw10(op spc.Opcode, lba, n int) []byte {
	return []byte{byte(op), 0, byte(lba >> 24), byte(lba >> 16), byte(lba >> 8), byte(lba), 0, byte(n >> 8), byte(n)}
}

// status reads the SCSI Response to itt.
func (r *raw) status(itt wire.InitiatorTaskTag) (wire.SCSIResponse, spc.Sense) {
	r.tb.Helper()
	h, data := r.expect(wire.OpSCSIResponse)
	p, err := wire.DecodeSCSIResponse(h)
	if err != nil {
		r.tb.Fatal(err)
	}
	if p.ITT != itt {
		r.tb.Fatalf("response to tag %d, want %d", p.ITT, itt)
	}
	b, _, err := wire.SplitSense(data)
	if err != nil {
		r.tb.Fatal(err)
	}
	if len(b) == 0 {
		return p, spc.Sense{}
	}
	sense, err := spc.DecodeSense(b)
	if err != nil {
		r.tb.Fatal(err)
	}
	return p, sense
}

// good demands GOOD for itt.
func (r *raw) good(itt wire.InitiatorTaskTag) {
	r.tb.Helper()
	if p, sense := r.status(itt); p.Status != 0 {
		r.tb.Fatalf("status %#x, %v; want GOOD", p.Status, sense)
	}
}

// check demands CHECK CONDITION with code.
func (r *raw) check(itt wire.InitiatorTaskTag, code spc.SenseCode) {
	r.tb.Helper()
	if p, sense := r.status(itt); p.Status != uint8(spc.StatusCheckCondition) || !sense.Is(code) {
		r.tb.Errorf("status %#x, %v; want %v", p.Status, sense, code)
	}
}

// attention takes the unit attentions that a new nexus has, by TEST UNIT READY.
func (r *raw) attention() {
	r.tb.Helper()
	for range 4 {
		c := r.command([]byte{0})
		r.pdu(c, nil)
		if p, _ := r.status(c.ITT); p.Status == 0 {
			return
		}
	}
	r.tb.Fatal("unit attentions without end")
}

// readData reads the Data-In PDUs for itt up to the status, which has to be GOOD.
func (r *raw) readData(itt wire.InitiatorTaskTag) (data []byte, pdus []wire.DataIn) {
	r.tb.Helper()
	for {
		h, b, err := r.read()
		if err != nil {
			r.tb.Fatal(err)
		}
		if h.Opcode() != wire.OpDataIn {
			r.tb.Fatalf("got %v, want Data-In", h.Opcode())
		}
		d, err := wire.DecodeDataIn(h)
		if err != nil || d.ITT != itt || int(d.BufferOffset) != len(data) || d.DataSN.Uint32() != uint32(len(pdus)) {
			r.tb.Fatalf("%+v, %v; want tag %d, offset %d, DataSN %d", d, err, itt, len(data), len(pdus))
		}
		data, pdus = append(data, b...), append(pdus, d)
		if d.HasStatus {
			if d.StatSN != r.statSN {
				r.tb.Errorf("StatSN %v, want %v", d.StatSN, r.statSN)
			}
			r.statSN = d.StatSN.Next()
			return data, pdus
		}
	}
}

// r2t reads an R2T for itt.
func (r *raw) r2t(itt wire.InitiatorTaskTag) wire.R2T {
	r.tb.Helper()
	h, _ := r.expect(wire.OpR2T)
	p, err := wire.DecodeR2T(h)
	if err != nil || p.ITT != itt {
		r.tb.Fatalf("%+v, %v; want tag %d", p, err, itt)
	}
	return p
}

// answer sends the data that an R2T asks for, in PDUs of at most n bytes.
func (r *raw) answer(p wire.R2T, all []byte, n int) {
	r.tb.Helper()
	data := all[p.BufferOffset : p.BufferOffset+p.DesiredDataTransferLength]
	for off := 0; off < len(data); off += n {
		end := min(off+n, len(data))
		r.pdu(wire.DataOut{
			Final: end == len(data), LUN: p.LUN, ITT: p.ITT, TTT: p.TTT,
			DataSN: wire.SerialOf(uint32(off / n)), BufferOffset: p.BufferOffset + uint32(off),
		}, data[off:end])
	}
}

// ping demands that the session is alive and in step.
func (r *raw) ping() {
	r.tb.Helper()
	itt := r.tag()
	r.pdu(wire.NOPOut{Immediate: true, ITT: itt, TTT: wire.NoTag, CmdSN: r.cmdSN}, []byte("ping"))
	h, data := r.expect(wire.OpNOPIn)
	if h.ITT() != itt || string(data) != "ping" {
		r.tb.Fatalf("ping came back as %d %q", h.ITT(), data)
	}
}

// reject reads a Reject and demands its reason.
func (r *raw) reject(why wire.RejectReason) {
	r.tb.Helper()
	h, data := r.expect(wire.OpReject)
	p, err := wire.DecodeReject(h)
	if err != nil || p.Reason != why {
		r.tb.Errorf("reject %v, %v; want %v", p.Reason, err, why)
	}
	if _, err := wire.RejectedHeader(data); err != nil {
		r.tb.Error(err)
	}
}
