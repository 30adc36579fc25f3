// SPDX-License-Identifier: Apache-2.0

//go:build integration

package initiators

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"pathgate/integration/gate"
	wire "pathgate/internal/iscsi"
	"pathgate/internal/scsi"
)

const (
	// patience bounds every wait: far more than anything takes.
	patience = 2 * time.Minute
	block    = 512
)

// peer is an initiator that shows each answer as it came, and repeats nothing.
type peer struct {
	net.Conn
	tsih  uint16
	send  wire.Framing
	recv  wire.Framing
	cmdSN wire.Serial
	itt   wire.InitiatorTaskTag
	// answers have come while another one was waited for.
	answers map[wire.InitiatorTaskTag]answer
	data    map[wire.InitiatorTaskTag][]byte
}

// answer is the end of a command.
type answer struct {
	status scsi.Status
	sense  scsi.SenseCode
	data   []byte
}

// isid gives one that is not random: what logs in with it again reinstates its session.
func isid(number byte) wire.ISID { return wire.ISID{0x00, 0x02, 0x3d, 0, 0, number} }

// peerLogin logs in to vm1. A target that asks to come back later is asked again, as
// initiators do.
func peerLogin(portal string, id wire.ISID) (p *peer, err error) {
	retry := gate.Poll(patience, func() bool {
		p, err = loginOnce(portal, id)
		return !errors.Is(err, errLater)
	})
	if !retry {
		return nil, fmt.Errorf("again and again: %w", err)
	}
	return p, err
}

func mustLogin(t *testing.T, portal string, id wire.ISID) *peer {
	t.Helper()
	p, err := peerLogin(portal, id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

var errLater = errors.New("service unavailable")

func loginOnce(portal string, id wire.ISID) (*peer, error) {
	conn, err := net.DialTimeout("tcp", portal, patience)
	if err != nil {
		return nil, err
	}
	p := &peer{
		Conn: conn, send: wire.LoginFraming(), recv: wire.LoginFraming(), cmdSN: wire.SerialOf(1),
		answers: map[wire.InitiatorTaskTag]answer{}, data: map[wire.InitiatorTaskTag][]byte{},
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if err := p.negotiate(id); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return p, nil
}

func (p *peer) negotiate(id wire.ISID) error {
	s := wire.DefaultSettings()
	s.InitiatorName, s.TargetName = "iqn.2026-11.test:peer", prefix+"vm1"
	s.InitialR2T, s.MaxRecvDataSegmentLength, s.MaxBurstLength, s.FirstBurstLength = false, 256<<10, 1<<20, 256<<10
	n, err := wire.NewNegotiator(wire.Initiator, s)
	if err != nil {
		return err
	}
	text := n.Offer(wire.OperationalNegotiation)
	for {
		if err := p.put(wire.LoginRequest{
			Transit: true, CurrentStage: wire.OperationalNegotiation, NextStage: wire.FullFeaturePhase, ISID: id, ITT: 7, CmdSN: p.cmdSN,
		}, text.Append(nil)); err != nil {
			return err
		}
		h, data, err := p.get()
		if err != nil {
			return err
		}
		resp, err := wire.DecodeLoginResponse(&h)
		switch {
		case err != nil:
			return err
		case resp.Status == wire.LoginServiceUnavailable:
			return errLater
		case resp.Status != wire.LoginSuccess:
			return fmt.Errorf("login: %v", resp.Status)
		}
		in, err := wire.ParseText(data)
		if err != nil {
			return err
		}
		if text, err = n.Receive(wire.OperationalNegotiation, in); err != nil {
			return err
		}
		if resp.Transit {
			params, err := n.Finish()
			p.tsih, p.send, p.recv = resp.TSIH, params.SendFraming(), params.RecvFraming()
			return err
		}
	}
}

func (p *peer) put(e interface{ Encode(h *wire.BHS) }, data []byte) error {
	var h wire.BHS
	e.Encode(&h)
	_, err := p.Write(p.send.AppendPacket(nil, &h, nil, data))
	return err
}

func (p *peer) get() (h wire.BHS, data []byte, err error) {
	if _, err := io.ReadFull(p, h[:]); err != nil {
		return h, nil, err
	}
	l, err := p.recv.Lengths(&h)
	if err != nil {
		return h, nil, err
	}
	rest := make([]byte, l.Total()-wire.HeaderLength)
	if _, err := io.ReadFull(p, rest); err != nil {
		return h, nil, err
	}
	return h, rest[l.Head()-wire.HeaderLength:][:l.Data], nil
}

// start sends a command with its data, all of it immediate, and gives its tag; in is
// how much it may read.
func (p *peer) start(t *testing.T, lun scsi.LUN, cdb interface{ Encode(*[16]byte) int }, out []byte, in uint32) wire.InitiatorTaskTag {
	t.Helper()
	p.itt++
	c := wire.SCSICommand{
		Final: true, Attribute: wire.Simple, LUN: wire.LUNField(lun.Field()), ITT: p.itt, CmdSN: p.cmdSN,
		Read: in > 0, Write: len(out) > 0, ExpectedDataTransferLength: max(in, uint32(len(out))),
	}
	p.cmdSN = p.cmdSN.Next()
	cdb.Encode(&c.CDB)
	if err := p.put(c, out); err != nil {
		t.Fatal(err)
	}
	return p.itt
}

// await reads until the answer to itt has come.
func (p *peer) await(t *testing.T, itt wire.InitiatorTaskTag) answer {
	t.Helper()
	_ = p.SetDeadline(time.Now().Add(patience))
	for {
		if a, ok := p.answers[itt]; ok {
			delete(p.answers, itt)
			return a
		}
		if err := p.receive(); err != nil {
			t.Fatal(err)
		}
	}
}

// receive takes one PDU.
func (p *peer) receive() error {
	h, data, err := p.get()
	if err != nil {
		return err
	}
	switch h.Opcode() {
	case wire.OpDataIn:
		d, err := wire.DecodeDataIn(&h)
		if err != nil {
			return err
		}
		p.data[d.ITT] = append(p.data[d.ITT], data...)
		if d.HasStatus {
			p.answers[d.ITT] = answer{status: scsi.Status(d.Status), data: p.data[d.ITT]}
			delete(p.data, d.ITT)
		}
	case wire.OpSCSIResponse:
		r, err := wire.DecodeSCSIResponse(&h)
		if err != nil {
			return err
		}
		a := answer{status: scsi.Status(r.Status)}
		if b, _, err := wire.SplitSense(data); err != nil {
			return err
		} else if len(b) > 0 {
			s, err := scsi.DecodeSense(b)
			if err != nil {
				return err
			}
			a.sense = s.Code()
		}
		p.answers[r.ITT] = a
	case wire.OpNOPIn:
		n, err := wire.DecodeNOPIn(&h)
		if err != nil || n.TTT == wire.NoTag {
			return err
		}
		return p.put(wire.NOPOut{Immediate: true, LUN: n.LUN, ITT: wire.NoTag, TTT: n.TTT, CmdSN: p.cmdSN}, nil)
	default:
		return fmt.Errorf("%v came", h.Opcode())
	}
	return nil
}

// ended reads until the target has ended the connection.
func (p *peer) ended(t *testing.T) {
	t.Helper()
	_ = p.SetDeadline(time.Now().Add(patience))
	for {
		err := p.receive()
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			t.Fatal("the old connection is not ended")
		}
		if err != nil {
			return
		}
	}
}

// exec carries a command without data of ours out.
func (p *peer) exec(t *testing.T, lun scsi.LUN, cdb interface{ Encode(*[16]byte) int }, in uint32) answer {
	t.Helper()
	return p.await(t, p.start(t, lun, cdb, nil, in))
}

// good demands that a command ends with GOOD.
func (p *peer) good(t *testing.T, lun scsi.LUN, cdb interface{ Encode(*[16]byte) int }, in uint32) []byte {
	t.Helper()
	a := p.exec(t, lun, cdb, in)
	if a.status != scsi.StatusGood {
		t.Fatalf("%T of LUN %v: %v, %v", cdb, lun, a.status, a.sense)
	}
	return a.data
}

// write starts a write of out at off.
func (p *peer) write(t *testing.T, lun scsi.LUN, off int, out []byte) wire.InitiatorTaskTag {
	t.Helper()
	return p.start(t, lun, scsi.ReadWrite{Write: true, LBA: uint64(off / block), Blocks: uint32(len(out) / block)}, out, 0)
}

// read reads n bytes at off.
func (p *peer) read(t *testing.T, lun scsi.LUN, off, n int) []byte {
	t.Helper()
	return p.good(t, lun, scsi.ReadWrite{LBA: uint64(off / block), Blocks: uint32(n / block)}, uint32(n))
}

// once demands that the next command on lun ends with a unit attention that ok takes,
// and the one after it does not.
func (p *peer) once(t *testing.T, lun scsi.LUN, ok func(scsi.SenseCode) bool) {
	t.Helper()
	a := p.exec(t, lun, scsi.TestUnitReady{}, 0)
	if a.status != scsi.StatusCheckCondition || !ok(a.sense) {
		t.Errorf("LUN %v: first command: %v, %v", lun, a.status, a.sense)
	}
	p.good(t, lun, scsi.TestUnitReady{}, 0)
}

// lost tells that commands of a session before this one are gone: 29/xx (power on or
// reset) or 47/7F (some commands cleared by iSCSI).
func lost(c scsi.SenseCode) bool {
	return c.Key() == scsi.UnitAttention && (c.ASC() == 0x29 || c.ASC() == 0x47 && c.ASCQ() == 0x7f)
}

// fill gives n bytes of a kind.
func fill(n int, kind byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = kind
	}
	return b
}
