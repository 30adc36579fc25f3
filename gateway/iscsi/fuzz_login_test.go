// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"strings"

	wire "pathgate/internal/iscsi"
)

// The bits of the first byte of a program: how it logs in.
const (
	loginCHAP      = 1 << iota // the target demands it
	loginMutual                // the initiator too
	loginHeader                // header digests
	loginData                  // data digests
	loginDiscovery             // a discovery session
	loginR2T                   // nothing without R2T
	loginShort                 // short segments and bursts
	loginWrong                 // a wrong secret
)

// initiation is the initiator's side of a login.
type initiation struct {
	neg   *wire.Negotiator
	auth  *wire.InitiatorAuth
	stage wire.Stage
	heard int // Login Responses that were looked at
}

func (p *player) initiate(how byte) *initiation {
	s := wire.DefaultSettings()
	s.InitiatorName, s.TargetName = testInitiator, testTarget
	s.InitialR2T, s.MaxOutstandingR2T = how&loginR2T != 0, 2
	if how&loginR2T != 0 {
		s.ImmediateData = false
	}
	s.MaxRecvDataSegmentLength, s.MaxBurstLength, s.FirstBurstLength = 8192, 8192, 4096
	if how&loginShort != 0 {
		s.MaxRecvDataSegmentLength, s.MaxBurstLength, s.FirstBurstLength = 600, 1536, 1024
	}
	if how&loginDiscovery != 0 {
		s.SessionType, s.TargetName = wire.DiscoverySession, ""
	}
	if how&loginHeader != 0 {
		s.HeaderDigest = []wire.Digest{wire.DigestCRC32C}
	}
	if how&loginData != 0 {
		s.DataDigest = []wire.Digest{wire.DigestCRC32C}
	}
	var a wire.InitiatorAuthSettings
	if how&loginCHAP != 0 {
		secret := testSecret
		if how&loginWrong != 0 {
			secret += "?"
		}
		a.CHAP = wire.Credentials{Name: testUser, Secret: wire.NewSecret([]byte(secret))}
		if how&loginMutual != 0 {
			a.Mutual = wire.Credentials{Name: ourName, Secret: wire.NewSecret([]byte(ourSecret))}
		}
	}
	n, err := wire.NewNegotiator(wire.Initiator, s)
	if err != nil {
		p.t.Fatal(err)
	}
	auth, err := wire.NewInitiatorAuth(a)
	if err != nil {
		p.t.Fatal(err)
	}
	return &initiation{neg: n, auth: auth, stage: wire.SecurityNegotiation}
}

// login logs in as it is right, and tells whether the target has let the player in.
func (p *player) login(how byte) bool {
	l := p.initiate(how)
	next := append(l.neg.Offer(l.stage), l.auth.Start()...)
	for {
		q := wire.LoginRequest{CurrentStage: l.stage}
		switch {
		case l.stage == wire.OperationalNegotiation:
			q.Transit, q.NextStage = true, wire.FullFeaturePhase
		case l.auth.Ready():
			q.Transit, q.NextStage = true, wire.OperationalNegotiation
		}
		p.loginPDU(nil, 0, q, next.Append(nil))
		said, ok := p.loginSaid(l)
		if !ok || said.Status != wire.LoginSuccess {
			if ok && how&loginWrong == 0 {
				p.t.Errorf("the login is refused: %v", said.Status)
			}
			return false
		}
		if next, ok = p.continued(l, said); !ok {
			return false
		}
		if p.full {
			p.loggedIn()
			if want, err := l.neg.Finish(); err != nil || want.MaxBurstLength != p.params.MaxBurstLength ||
				want.HeaderDigest != p.params.HeaderDigest || want.DataDigest != p.params.DataDigest || want.ImmediateData != p.params.ImmediateData ||
				want.MaxRecvDataSegmentLength != p.params.MaxSendDataSegmentLength || want.InitialR2T != p.params.InitialR2T {
				p.t.Errorf("the target has negotiated %+v, the initiator %+v, %v", p.params, want, err)
			}
			return true
		}
	}
}

// continued takes an answer, and gives what is to be said next.
func (p *player) continued(l *initiation, said loginSaid) (next wire.Text, ok bool) {
	var err error
	if next, err = l.neg.Receive(l.stage, said.text); err == nil && l.stage == wire.SecurityNegotiation {
		var more wire.Text
		more, err = l.auth.Receive(said.text)
		next = append(next, more...)
	}
	if err != nil {
		return nil, false
	}
	if said.Transit && said.NextStage == wire.OperationalNegotiation && l.stage == wire.SecurityNegotiation {
		l.stage = wire.OperationalNegotiation
		if l.auth.Finish() != nil {
			return nil, false
		}
		next = append(next, l.neg.Offer(l.stage)...)
	}
	return next, true
}

// loggedIn goes over to full feature phase.
func (p *player) loggedIn() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.send, p.cmdSN = p.params.RecvFraming(), p.exp
}

// loginPDU sends a Login Request.
func (p *player) loginPDU(m *program, how byte, q wire.LoginRequest, text []byte) {
	q.ISID, q.ITT, q.CID, q.CmdSN = p.isid, 7, 1, p.cmdSN
	var h wire.BHS
	q.Encode(&h)
	b := p.send.AppendPacket(nil, &h, nil, text)
	if how&howMutated != 0 {
		at := int(m.byte()) % len(b)
		b[at] ^= m.byte()
		if at < wire.HeaderLength {
			p.lose()
		}
	}
	p.put(m, how, b)
}

// loginSaid waits for the answer to what was sent last; not ok: the connection has ended.
func (p *player) loginSaid(l *initiation) (said loginSaid, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until(func() bool { return len(p.logins) > l.heard }); len(p.logins) <= l.heard {
		return loginSaid{}, false
	}
	said = p.logins[l.heard]
	l.heard++
	return said, true
}

// What login programs make text of.
var (
	loginKeys = []string{
		wire.KeyInitiatorName, wire.KeySessionType, wire.KeyTargetName, wire.KeyAuthMethod, wire.KeyCHAPA, wire.KeyCHAPN, wire.KeyCHAPR,
		wire.KeyCHAPI, wire.KeyCHAPC, wire.KeyHeaderDigest, wire.KeyDataDigest, wire.KeyMaxConnections, wire.KeyInitialR2T, wire.KeyImmediateData,
		wire.KeyMaxRecvDataSegmentLength, wire.KeyMaxBurstLength, wire.KeyFirstBurstLength, wire.KeyDefaultTime2Wait, wire.KeyDefaultTime2Retain,
		wire.KeyMaxOutstandingR2T, wire.KeyDataPDUInOrder, wire.KeyDataSequenceInOrder, wire.KeyErrorRecoveryLevel, wire.KeyTaskReporting,
		wire.KeyProtocolLevel, wire.KeyNodeArchitecture, wire.KeyIFMarker, wire.KeyOFMarkInt, wire.KeyInitiatorAlias, wire.KeyTargetAddress,
		wire.KeySendTargets, "X-test.key", "",
	}
	loginValues = []string{
		testInitiator, testTarget, "Normal", "Discovery", "None", "CHAP", "CHAP,None", "5,6,7", "7", testUser, "0x00", "0b", "200", "Yes", "No",
		"CRC32C,None", "CRC32C", "0", "1", "2", "512", "8192", "65535", "16777215", "16777216", "0x200", "512~8192", "Reject", "Irrelevant",
		"NotUnderstood", "RFC3720,FastAbort", "All", "", strings.Repeat("a", 223), strings.Repeat("b", 255), "0x" + strings.Repeat("5a", 32),
	}
)

// text makes the keys of a Login Request.
func (m *program) text() wire.Text {
	var t wire.Text
	for n := m.byte() % 8; n > 0; n-- {
		t.Add(loginKeys[int(m.byte())%len(loginKeys)], loginValues[int(m.byte())%len(loginValues)])
	}
	return t
}

// The steps of a program that logs in, in the low three bits of a byte.
const (
	loginHonest = iota // what is right at this point
	loginNamed         // with the names, and keys
	loginKeyed         // with keys
	loginText          // with any text
	loginSplit         // right, in two PDUs
	loginOther         // something else
	loginBytes         // any bytes
	loginAdded         // right, and keys
)

// tryLogin carries out the steps of a login, right and wrong ones, until the target has let
// the player in or has ended the connection.
func (p *player) tryLogin(m *program) {
	l := p.initiate(m.byte())
	next := append(l.neg.Offer(l.stage), l.auth.Start()...)
	for len(*m) > 0 && !p.over() {
		b := m.byte()
		what, how := b&7, b&0xf0
		form := m.byte()
		q := wire.LoginRequest{CurrentStage: l.stage}
		if l.stage == wire.OperationalNegotiation {
			q.Transit, q.NextStage = true, wire.FullFeaturePhase
		} else if l.auth.Ready() {
			q.Transit, q.NextStage = true, wire.OperationalNegotiation
		}
		if form&1 != 0 && what != loginHonest { // stages of its own
			q.CurrentStage, q.NextStage, q.Transit, q.TSIH = wire.Stage(form>>1&3), wire.Stage(form>>3&3), form&0x20 != 0, uint16(form>>6&1)
		}
		text := next.Append(nil)
		switch what {
		case loginNamed:
			text = append(wire.Text{kv(wire.KeyInitiatorName, testInitiator), kv(wire.KeyTargetName, testTarget)}, m.text()...).Append(nil)
		case loginKeyed:
			text = m.text().Append(nil)
		case loginText:
			text = m.take(int(m.byte()))
		case loginSplit:
			at := int(m.byte()) % (len(text) + 1)
			p.loginPDU(m, 0, wire.LoginRequest{Continue: true, CurrentStage: q.CurrentStage}, text[:at])
			p.flush()
			if p.lost {
				continue
			}
			if said, ok := p.loginSaid(l); !ok || said.Status != wire.LoginSuccess {
				return
			} else if len(said.text) != 0 {
				p.t.Errorf("%+v to the first part of a text", said)
			}
			text = text[at:]
		case loginAdded:
			text = m.text().Append(text)
		}
		switch what {
		case loginOther:
			p.lose()
			p.request(m, how|howImmediate, wire.NOPOut{Immediate: true, ITT: p.tag(), TTT: wire.NoTag}, nil, nil)
			p.flush()
		case loginBytes:
			p.raw(m.take(int(form)))
		default:
			p.loginPDU(m, how, q, text)
		}
		if p.lost {
			continue // nobody knows what is answered
		}
		p.flush()
		said, ok := p.loginSaid(l)
		if !ok || said.Status != wire.LoginSuccess {
			return
		}
		if p.full {
			p.loggedIn()
			p.run(*m)
			*m = nil
			return
		}
		if next, ok = p.continued(l, said); !ok {
			next = nil
		}
	}
	p.flush()
}
