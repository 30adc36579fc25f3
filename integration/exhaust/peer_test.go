// SPDX-License-Identifier: Apache-2.0

//go:build integration

package exhaust

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"pathgate/integration/nbdclient"
	wire "pathgate/internal/iscsi"
	"pathgate/internal/scsi"
)

// where is what clients reach.
type where struct {
	Portal string // iSCSI
	NBD    string // address of a TCP listener
}

const (
	attacked = "iqn.2026-11.internal.pathgate:vm1"
	export   = "vm1/root"
)

// peer is an iSCSI initiator that sends what it likes.
type peer struct {
	net.Conn
	params wire.Params
	send   wire.Framing
	recv   wire.Framing
	cmdSN  wire.Serial
	itt    wire.InitiatorTaskTag
}

// encoder is a PDU of package wire.
type encoder interface{ Encode(h *wire.BHS) }

// connect logs in at target as number.
func connect(portal, target string, number uint32) (*peer, error) {
	conn, err := net.DialTimeout("tcp", portal, 30*time.Second)
	if err != nil {
		return nil, err
	}
	p := &peer{Conn: conn, send: wire.LoginFraming(), recv: wire.LoginFraming(), cmdSN: wire.SerialOf(1)}
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if err := p.login(target, number); err != nil {
		_ = conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	return p, nil
}

func (p *peer) login(target string, number uint32) error {
	s := wire.DefaultSettings()
	s.InitiatorName, s.TargetName = "iqn.2026-11.test:exhaust", target
	s.InitialR2T, s.MaxRecvDataSegmentLength, s.MaxBurstLength, s.FirstBurstLength = false, 256<<10, 1<<20, 256<<10
	n, err := wire.NewNegotiator(wire.Initiator, s)
	if err != nil {
		return err
	}
	isid := wire.ISID{0x80}
	binary.BigEndian.PutUint32(isid[2:], number)
	text := n.Offer(wire.OperationalNegotiation)
	for {
		if err := p.put(wire.LoginRequest{
			Transit: true, CurrentStage: wire.OperationalNegotiation, NextStage: wire.FullFeaturePhase, ISID: isid, ITT: 7, CmdSN: p.cmdSN,
		}, text.Append(nil)); err != nil {
			return err
		}
		h, data, err := p.get()
		if err != nil {
			return err
		}
		resp, err := wire.DecodeLoginResponse(&h)
		if err != nil {
			return err
		}
		if resp.Status != wire.LoginSuccess {
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
			p.params, err = n.Finish()
			p.send, p.recv = p.params.SendFraming(), p.params.RecvFraming()
			return err
		}
	}
}

func (p *peer) put(e encoder, data []byte) error {
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
	rest := make([]byte, l.Head()-wire.HeaderLength+l.Body())
	if _, err := io.ReadFull(p, rest); err != nil {
		return h, nil, err
	}
	body := rest[l.Head()-wire.HeaderLength:]
	return h, body[:l.Data], nil
}

// command makes a SCSI Command of LUN 0 that moves the first blocks.
func (p *peer) command(write bool, blocks uint32) wire.SCSICommand {
	p.itt++
	c := wire.SCSICommand{
		Final: true, Attribute: wire.Simple, ITT: p.itt, CmdSN: p.cmdSN,
		Read: !write, Write: write, ExpectedDataTransferLength: blocks * 512,
	}
	p.cmdSN = p.cmdSN.Next()
	var cdb [16]byte
	(scsi.ReadWrite{Write: write, Blocks: blocks}).Encode(&cdb)
	c.CDB = cdb
	return c
}

// settle takes the unit attentions of LUN 0.
func (p *peer) settle() error {
	for range 5 {
		p.itt++
		c := wire.SCSICommand{Final: true, Attribute: wire.Simple, ITT: p.itt, CmdSN: p.cmdSN} // TEST UNIT READY
		p.cmdSN = p.cmdSN.Next()
		if err := p.put(c, nil); err != nil {
			return err
		}
		h, _, err := p.get()
		if err != nil {
			return err
		}
		if r, err := wire.DecodeSCSIResponse(&h); err != nil || r.Status == 0 {
			return err
		}
	}
	return errors.New("the unit does not get ready")
}

// session logs in to the attacked VM and takes the unit attentions.
func session(w where, number uint32) (*peer, error) {
	p, err := connect(w.Portal, attacked, number)
	if err != nil {
		return nil, err
	}
	_ = p.SetDeadline(time.Now().Add(time.Minute))
	if err := p.settle(); err != nil {
		_ = p.Close()
		return nil, err
	}
	_ = p.SetDeadline(time.Time{})
	return p, nil
}

// transmission is an NBD connection to the attacked VM's disk that says what it likes.
func transmission(w where) (*nbdclient.Raw, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := nbdclient.DialRaw(ctx, w.NBD)
	if err != nil {
		return nil, err
	}
	_ = r.Conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := r.Greet(); err != nil {
		_ = r.Close()
		return nil, err
	}
	data := binary.BigEndian.AppendUint32(nil, uint32(len(export)))
	if _, err := r.Ask(nbdclient.OptGo, append(append(data, export...), 0, 0)); err != nil {
		_ = r.Close()
		return nil, err
	}
	_ = r.Conn.SetDeadline(time.Time{})
	return r, nil
}
