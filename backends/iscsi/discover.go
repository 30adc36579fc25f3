// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

const (
	// maxDiscovery bounds the text of a SendTargets answer, in bytes.
	maxDiscovery = 1 << 20
	// maxRecords bounds the targets and addresses in it.
	maxRecords = 4096
)

// Discover implements backends.Connector. Advertised portals are given when they
// are the one that was asked or in the allowed networks. A target that has none
// of those is at the portal that was asked, with an unknown group tag.
func (k *Connector) Discover(ctx context.Context, portal string) ([]backends.TargetPortal, error) {
	ctx, cancel := context.WithTimeout(ctx, k.cfg.Timeouts.Login)
	defer cancel()
	isid, err := k.cfg.ISID("", 0, portal)
	if err != nil {
		return nil, fmt.Errorf("discovery at %s: %w", portal, err)
	}
	// Targets authenticate discovery apart from their sessions, if at all, and LIO
	// takes up CHAP where it is offered, although it has no account to check it with.
	// So None is tried first. Names that a false target makes up are of no use to it:
	// the session itself proves both sides.
	q := loginRequest{cfg: &k.cfg, from: &k.cfg, portal: portal, isid: isid, open: true}
	out, err := q.login(ctx)
	if r, ok := errors.AsType[*refusal](err); ok && r.status == wire.LoginAuthenticationFailure && k.cfg.CHAP != nil {
		q.open = false
		out, err = q.login(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("discovery at %s: %w", portal, err)
	}
	defer func() { _ = out.sock.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = out.sock.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	d := discovery{out: out, text: wire.TextAccumulator{Limit: maxDiscovery}}
	records, err := d.sendTargets()
	if err != nil {
		return nil, fmt.Errorf("discovery at %s: %w", portal, err)
	}
	d.logout()
	return k.cfg.usable(records, portal), nil
}

// usable turns records into the portals that may be used.
func (c *Config) usable(records []wire.TargetRecord, asked string) []backends.TargetPortal {
	var list []backends.TargetPortal
	seen := map[backends.TargetPortal]bool{}
	add := func(p backends.TargetPortal) {
		if !seen[p] {
			seen[p] = true
			list = append(list, p)
		}
	}
	for _, r := range records {
		found := false
		for _, a := range r.Addresses {
			ap, ok := addrPort(a)
			switch {
			case !ok:
			case samePortal(asked, ap):
				add(backends.TargetPortal{Target: r.Name, Portal: asked, GroupTag: a.PortalGroupTag})
				found = true
			case c.allowed(ap.Addr()):
				add(backends.TargetPortal{Target: r.Name, Portal: ap.String(), GroupTag: a.PortalGroupTag})
				found = true
			}
		}
		if !found {
			add(backends.TargetPortal{Target: r.Name, Portal: asked})
		}
	}
	return list
}

// discovery is a discovery session in full feature phase.
type discovery struct {
	out  *loginOutcome
	text wire.TextAccumulator
}

const discoveryITT = 2

// sendTargets asks for all targets. RFC 7143 Appendix C (SendTargets Operation).
func (d *discovery) sendTargets() ([]wire.TargetRecord, error) {
	ask := wire.Text{{Key: wire.KeySendTargets, Value: wire.SendTargetsAll}}.Append(nil)
	req := wire.TextRequest{Final: true, ITT: discoveryITT, TTT: wire.NoTag}
	for {
		resp, data, err := d.trip(&req, ask)
		if err != nil {
			return nil, err
		}
		segment, err := d.text.Add(data, !resp.Final)
		if err != nil {
			return nil, err
		}
		if resp.Final {
			return wire.ParseSendTargets(segment, maxRecords)
		}
		ask, req.TTT, req.LUN = nil, resp.TTT, resp.LUN
	}
}

// trip sends one Text Request and gives the answer; what else a target may say
// meanwhile is passed over.
func (d *discovery) trip(req *wire.TextRequest, data []byte) (wire.TextResponse, []byte, error) {
	var h wire.BHS
	req.CmdSN, req.ExpStatSN = d.out.cmdSN, d.out.expStatSN
	d.out.cmdSN = d.out.cmdSN.Next()
	req.Encode(&h)
	if err := d.send(&h, data); err != nil {
		return wire.TextResponse{}, nil, err
	}
	for range 16 {
		body, err := d.receive(&h)
		if err != nil {
			return wire.TextResponse{}, nil, err
		}
		if op := h.Opcode(); op == wire.OpNOPIn || op == wire.OpAsyncMessage {
			continue
		}
		resp, err := wire.DecodeTextResponse(&h)
		if err == nil && resp.ITT != req.ITT {
			err = errNoTask("Text Response", resp.ITT)
		}
		d.out.expStatSN = resp.StatSN.Next()
		return resp, body, err
	}
	return wire.TextResponse{}, nil, lost(backends.LossProtocol, "no answer to SendTargets")
}

func (d *discovery) send(h *wire.BHS, data []byte) error {
	_, err := d.out.sock.Write(d.out.params.SendFraming().AppendPacket(nil, h, nil, data))
	return err
}

// receive reads one PDU into h and gives its data.
func (d *discovery) receive(h *wire.BHS) ([]byte, error) {
	f := d.out.params.RecvFraming()
	var head [wire.HeaderLength + wire.DigestLength]byte
	if _, err := io.ReadFull(d.out.sock, head[:wire.HeaderLength]); err != nil {
		return nil, err
	}
	*h = wire.BHS(head[:])
	l, err := f.Lengths(h)
	if err != nil {
		return nil, err
	}
	if l.AHS != 0 {
		return nil, lost(backends.LossProtocol, "%v with an additional header segment", h.Opcode())
	}
	if _, err := io.ReadFull(d.out.sock, head[wire.HeaderLength:l.Head()]); err != nil {
		return nil, err
	}
	if err := f.CheckHead(head[:l.Head()]); err != nil {
		return nil, err
	}
	body := make([]byte, l.Body()) // at most our own MaxRecvDataSegmentLength
	if _, err := io.ReadFull(d.out.sock, body); err != nil {
		return nil, err
	}
	return body[:l.Data], f.CheckBody(l, body)
}

// logout ends the session politely; whether that works does not matter.
func (d *discovery) logout() {
	var h wire.BHS
	wire.LogoutRequest{
		Immediate: true,
		Reason:    wire.LogoutCloseSession,
		ITT:       discoveryITT + 1,
		CmdSN:     d.out.cmdSN,
		ExpStatSN: d.out.expStatSN,
	}.Encode(&h)
	if d.send(&h, nil) == nil {
		_, _ = d.receive(&h)
	}
}
