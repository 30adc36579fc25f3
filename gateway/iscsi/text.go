// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"slices"
	"strings"

	wire "pathgate/internal/iscsi"
)

// textExchange is a text negotiation that has begun: requests and responses that go
// on in further PDUs.
type textExchange struct {
	ttt  wire.TargetTransferTag // NoTag: none has begun
	itt  wire.InitiatorTaskTag
	in   wire.TextAccumulator
	out  []byte // what is left of the answer
	undo *wire.Negotiator
}

// textRequest answers a Text Request. RFC 7143 11.10 (Text Request).
func (s *session) textRequest(p *pdu) error {
	r, err := wire.DecodeTextRequest(&p.bhs)
	if err != nil {
		return err
	}
	x := &s.text
	switch {
	case r.TTT == wire.NoTag:
		s.resetText() // a new one puts an end to one that has begun (11.10.4)
		x.itt = r.ITT
	case r.TTT != x.ttt || r.ITT != x.itt || s.text.ttt == wire.NoTag:
		return s.reject(p, wire.RejectProtocolError)
	}
	segment, err := x.in.Add(p.data, r.Continue)
	if err == nil && !r.Continue {
		err = s.answerText(segment)
	}
	if err != nil {
		s.resetText()
		return s.rejectFor(p, err)
	}
	s.taken(p)
	s.sendText(&r)
	return nil
}

// resetText forgets a negotiation that is not finished.
func (s *session) resetText() {
	if s.text.undo != nil {
		s.neg = s.text.undo
	}
	s.text = textExchange{ttt: wire.NoTag, in: s.text.in}
	s.text.in.Reset()
}

// answerText takes one complete text and makes the answer.
func (s *session) answerText(segment []byte) error {
	if len(segment) == 0 {
		return nil // asks for the rest of the answer
	}
	x := &s.text
	in, err := wire.ParseText(segment)
	if err != nil {
		return err
	}
	if x.undo == nil {
		undo := *s.neg
		x.undo = &undo
		s.neg.BeginSequence()
	}
	out, err := s.neg.Receive(wire.FullFeaturePhase, in)
	if err != nil {
		return err
	}
	x.out = out.Append(x.out)
	if what, ok := in.Get(wire.KeySendTargets); ok {
		x.out = s.sendTargets(what).Append(x.out)
	}
	return nil
}

// sendText sends the next part of the answer; the last one puts into force what was
// negotiated.
func (s *session) sendText(r *wire.TextRequest) {
	x := &s.text
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(x.out), int(s.send.MaxData))
	part := x.out[:n]
	x.out = x.out[n:]
	resp := wire.TextResponse{LUN: r.LUN, ITT: r.ITT, TTT: wire.NoTag, Numbers: s.statusLocked()}
	resp.Continue = len(x.out) > 0
	resp.Final = r.Final && !resp.Continue
	if !resp.Final {
		if x.ttt == wire.NoTag {
			if s.ttt++; s.ttt == wire.NoTag {
				s.ttt++
			}
			x.ttt = s.ttt
		}
		resp.TTT = x.ttt
	}
	var h wire.BHS
	resp.Encode(&h)
	s.sendLocked(&h, part)
	s.batch.Touch(s.c.out)
	if resp.Final {
		s.params.MaxSendDataSegmentLength = s.neg.Params().MaxSendDataSegmentLength
		s.send.MaxData = s.params.MaxSendDataSegmentLength
		x.undo = nil
		s.resetText()
	}
}

// sendTargets answers the SendTargets key. A discovery session may ask for all
// targets or for one; a normal session for its own only. What the initiator may not
// see does not exist. RFC 7143 Appendix C (SendTargets Operation).
func (s *session) sendTargets(what string) wire.Text {
	srv := s.c.srv
	if !s.discovery {
		own := s.params.TargetName
		switch {
		case what == "" || strings.EqualFold(what, own):
			return s.records([]string{own})
		case what == wire.SendTargetsAll:
			return wire.Text{{Key: wire.KeySendTargets, Value: wire.ValueReject}}
		}
		return nil
	}
	names := srv.cfg.Targets.List(&s.c.peer)
	switch {
	case what == wire.SendTargetsAll:
		return s.records(names)
	case what == "":
		return wire.Text{{Key: wire.KeySendTargets, Value: wire.ValueReject}}
	}
	if i := slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(n, what) }); i >= 0 {
		return s.records(names[i : i+1])
	}
	return nil
}

func (s *session) records(names []string) wire.Text {
	addresses := s.c.srv.addresses(s.c.peer.Local)
	records := make([]wire.TargetRecord, len(names))
	for i, n := range names {
		records[i] = wire.TargetRecord{Name: n, Addresses: addresses}
	}
	return wire.SendTargetsText(records)
}
