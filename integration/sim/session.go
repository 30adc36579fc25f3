// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"io"
	"slices"

	wire "pathgate/internal/iscsi"
	"pathgate/internal/scsi"
)

// session is one connection at a target. Fields below params are guarded by
// Network.mu, those above belong to its goroutine until it is in full feature phase.
type session struct {
	t      *Target
	c      *conn
	params wire.Params

	full     bool
	isid     wire.ISID
	initname string
	statSN   wire.Serial
	expCmdSN wire.Serial
	tasks    map[wire.InitiatorTaskTag]*task
	ttt      wire.TargetTransferTag
	ended    bool
}

// window is how many commands a session admits.
const window = 64

// settings are small, so that short writes need an R2T, and several.
func settings() wire.Settings {
	set := wire.DefaultSettings()
	set.TargetPortalGroupTag = 1
	set.MaxRecvDataSegmentLength = 1024
	set.FirstBurstLength = 1024
	set.MaxBurstLength = 2048
	return set
}

// run serves the connection until it ends.
func (s *session) run() {
	defer func() {
		s.t.n.mu.Lock()
		s.endLocked(false)
		s.t.n.mu.Unlock()
	}()
	if s.login() != nil {
		return
	}
	recv := s.params.RecvFraming()
	for {
		var h wire.BHS
		data, err := readPDU(s.c, recv, &h)
		if err != nil {
			return
		}
		s.t.n.mu.Lock()
		on := s.takeLocked(&h, data)
		s.t.n.mu.Unlock()
		if !on {
			return
		}
	}
}

func readPDU(r io.Reader, fr wire.Framing, h *wire.BHS) ([]byte, error) {
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return nil, err
	}
	l, err := fr.Lengths(h)
	if err != nil {
		return nil, err
	}
	rest := make([]byte, l.Total()-wire.HeaderLength)
	if _, err := io.ReadFull(r, rest); err != nil {
		return nil, err
	}
	body := rest[l.Head()-wire.HeaderLength:]
	return body[:l.Data], fr.CheckBody(l, body)
}

// endLocked closes the connection at the target's side: what nobody has read dies,
// what runs goes on, what waits for data never will.
func (s *session) endLocked(reset bool) {
	if s.ended {
		return
	}
	s.ended = true
	s.c.closeLocked(reset)
	s.t.conns = slices.DeleteFunc(s.t.conns, func(o *session) bool { return o == s })
	for _, k := range s.tasks {
		if !k.begun {
			k.doneLocked()
		}
	}
	for _, u := range s.t.units {
		delete(u.attn, s)
	}
}

// login plays the login phase, and what a login does to an older connection.
func (s *session) login() error {
	neg, err := wire.NewNegotiator(wire.Target, settings())
	if err != nil {
		return err
	}
	for {
		var h wire.BHS
		data, err := readPDU(s.c, wire.LoginFraming(), &h)
		if err != nil {
			return err
		}
		req, err := wire.DecodeLoginRequest(&h)
		if err != nil {
			return err
		}
		in, err := wire.ParseText(data)
		if err != nil {
			return err
		}
		out, err := neg.Receive(req.CurrentStage, in)
		if err != nil {
			return err
		}
		out = append(out, neg.Offer(req.CurrentStage)...)
		if req.CurrentStage == wire.SecurityNegotiation {
			out.Add(wire.KeyAuthMethod, wire.ValueNone)
		}
		last := req.Transit && req.NextStage == wire.FullFeaturePhase
		if last {
			if s.params, err = neg.Finish(); err != nil {
				return err
			}
			s.reinstate(req.ISID)
		}
		s.t.n.mu.Lock()
		s.answerLoginLocked(req, last, out)
		s.t.n.mu.Unlock()
		if last {
			return nil
		}
	}
}

func (s *session) answerLoginLocked(req wire.LoginRequest, last bool, out wire.Text) {
	s.expCmdSN = req.CmdSN
	resp := wire.LoginResponse{
		Transit: req.Transit, CurrentStage: req.CurrentStage, NextStage: req.NextStage,
		ISID: req.ISID, ITT: req.ITT, Numbers: s.statusLocked(),
	}
	if last {
		s.t.tsih++
		resp.TSIH = s.t.tsih
	}
	var h wire.BHS
	resp.Encode(&h)
	s.putLocked(wire.LoginFraming().AppendPacket(nil, &h, nil, out.Append(nil)))
}

// reinstate takes the place of an older connection of the same initiator port.
func (s *session) reinstate(isid wire.ISID) {
	mu := &s.t.n.mu
	mu.Lock()
	defer mu.Unlock()
	s.isid, s.initname = isid, s.params.InitiatorName
	var left []*task
	for _, old := range slices.Clone(s.t.conns) {
		if old == s || !old.full || old.isid != isid || old.initname != s.initname {
			continue
		}
		for _, k := range old.tasks {
			if k.begun {
				left = append(left, k)
			}
		}
		if s.t.b.KeepsUnread {
			old.full = false // nobody's any more, and read to its end
		} else {
			old.endLocked(false)
		}
	}
	for _, k := range left {
		for s.t.b.LoginWaits && !k.done {
			ch := make(chan struct{})
			k.after = append(k.after, func() { close(ch) })
			mu.Unlock()
			<-ch
			mu.Lock()
		}
	}
	s.full = true
	s.t.n.count.Logins++
	for _, u := range s.t.units {
		u.attn[s] = attention(0)
	}
}

// attention is 6/29.
func attention(qualifier byte) scsi.Sense {
	return scsi.MakeSenseCode(scsi.UnitAttention, 0x29, qualifier).Sense()
}

func (s *session) numbersLocked() wire.Numbers {
	return wire.Numbers{StatSN: s.statSN, ExpCmdSN: s.expCmdSN, MaxCmdSN: s.expCmdSN.Add(window).Prev()}
}

// statusLocked gives the numbers of a PDU that advances StatSN.
func (s *session) statusLocked() wire.Numbers {
	n := s.numbersLocked()
	s.statSN = s.statSN.Next()
	return n
}

func (s *session) sendLocked(p interface{ Encode(*wire.BHS) }, data []byte) {
	var h wire.BHS
	p.Encode(&h)
	s.putLocked(s.params.SendFraming().AppendPacket(nil, &h, nil, data))
}

func (s *session) putLocked(b []byte) {
	if !s.c.closed {
		s.c.out.putLocked(b)
	}
}

// takeLocked carries out one PDU. False: the connection ends.
func (s *session) takeLocked(h *wire.BHS, data []byte) bool {
	if !h.Immediate() && h.Opcode() != wire.OpDataOut {
		s.expCmdSN = h.CmdSN().Next()
	}
	switch h.Opcode() {
	case wire.OpNOPOut:
		if h.ITT() != wire.NoTag {
			s.sendLocked(&wire.NOPIn{ITT: h.ITT(), TTT: wire.NoTag, Numbers: s.statusLocked()}, nil)
		}
	case wire.OpSCSICommand:
		c, err := wire.DecodeSCSICommand(h)
		if err != nil {
			return false
		}
		s.commandLocked(c, data)
	case wire.OpDataOut:
		d, err := wire.DecodeDataOut(h)
		if err != nil {
			return false
		}
		return s.dataLocked(d, data)
	case wire.OpTaskManagementRequest:
		r, err := wire.DecodeTaskManagementRequest(h)
		if err != nil {
			return false
		}
		s.manageLocked(r)
	case wire.OpLogoutRequest:
		s.sendLocked(&wire.LogoutResponse{ITT: h.ITT(), Numbers: s.statusLocked()}, nil)
		return false
	default:
		return false
	}
	return true
}
