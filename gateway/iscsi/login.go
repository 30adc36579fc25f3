// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"errors"
	"fmt"
	"strings"
	"time"

	wire "pathgate/internal/iscsi"
	"pathgate/internal/stream"
)

// login is the target's side of the login phase of one connection: a state
// machine that takes Login Requests and gives the answers. It waits for nothing.
// RFC 7143 6.3 (Login Phase).
//
//	first request --> security --(T, proved)--> operational --(T, settled)--> full feature
//	      |               +-----------------(T, NSG 3)---------------------------^
//	      +---(CSG 1, nothing to prove)-----------^
type login struct {
	srv   *Server
	peer  *Peer
	begun bool
	first wire.LoginRequest // what every request has to repeat
	stage wire.Stage
	text  wire.TextAccumulator
	neg   *wire.Negotiator
	auth  *wire.TargetAuth

	statSN   wire.Serial
	maxCmdSN wire.Serial
}

// loginEnd tells that the login may be answered with full feature phase, once the
// session is there.
type loginEnd struct {
	resp   wire.LoginResponse
	text   wire.Text
	params wire.Params
}

// request takes one Login Request with its text. end is not nil when it leads to
// full feature phase. An error is answered with the status of refused, and ends the
// connection.
func (l *login) request(req *wire.LoginRequest, data []byte) (resp wire.LoginResponse, text wire.Text, end *loginEnd, err error) {
	if err := l.consistent(req); err != nil {
		return resp, nil, nil, err
	}
	resp = wire.LoginResponse{CurrentStage: l.stage}
	segment, err := l.text.Add(data, req.Continue)
	if err != nil || req.Continue {
		return resp, nil, nil, err // RFC 7143 6.2: continued text is answered with nothing
	}
	in, err := wire.ParseText(segment)
	if err != nil {
		return resp, nil, nil, err
	}
	text, err = l.receive(req, in)
	if err != nil {
		return resp, nil, nil, err
	}
	if !req.Transit || l.stage == wire.SecurityNegotiation && !l.auth.Done() || l.neg.Pending() {
		return resp, text, nil, nil
	}
	resp.Transit, resp.NextStage = true, req.NextStage
	if req.NextStage == wire.FullFeaturePhase && l.stage == wire.SecurityNegotiation && l.insists() {
		resp.NextStage = wire.OperationalNegotiation // 11.13.3: may be lower than asked for
	}
	if resp.NextStage != wire.FullFeaturePhase {
		l.stage = resp.NextStage
		return resp, text, nil, nil
	}
	p, err := l.neg.Finish()
	if err != nil {
		return resp, nil, nil, err
	}
	return resp, nil, &loginEnd{resp, text, p}, nil
}

// consistent checks a request against the earlier ones.
func (l *login) consistent(req *wire.LoginRequest) error {
	if req.VersionMin > 0 {
		return refuse(wire.LoginUnsupportedVersion, fmt.Errorf("version %d at least", req.VersionMin))
	}
	if !l.begun {
		l.begun, l.first, l.stage, l.maxCmdSN = true, *req, req.CurrentStage, req.CmdSN
		return nil
	}
	f := &l.first
	if req.ISID != f.ISID || req.TSIH != f.TSIH || req.CID != f.CID || req.ITT != f.ITT {
		return refuse(wire.LoginInitiatorError, errors.New("tags or identifiers change during the login"))
	}
	if req.CurrentStage != l.stage {
		return refuse(wire.LoginInitiatorError, fmt.Errorf("current stage is %v, not %v", l.stage, req.CurrentStage))
	}
	return nil
}

// insists tells that there are keys which have to be negotiated.
func (l *login) insists() bool {
	return l.srv.cfg.HeaderDigest == DigestRequire || l.srv.cfg.DataDigest == DigestRequire
}

// receive takes the pairs of one request and gives those of the answer.
func (l *login) receive(req *wire.LoginRequest, in wire.Text) (wire.Text, error) {
	first := l.neg == nil
	if first {
		n, err := wire.NewNegotiator(wire.Target, l.srv.cfg.settings(l.peer.PortalGroupTag))
		if err != nil {
			return nil, err
		}
		l.neg = n
	}
	out, err := l.neg.Receive(l.stage, in)
	if err != nil {
		return nil, err
	}
	if first {
		if err := l.identify(req); err != nil {
			return nil, err
		}
	}
	if l.stage == wire.SecurityNegotiation {
		proof, err := l.auth.Receive(in)
		if err != nil {
			return nil, err
		}
		out = append(out, proof...)
	}
	return append(out, l.neg.Offer(l.stage)...), nil
}

// identify looks at who logs in where, when the first request has told it.
func (l *login) identify(req *wire.LoginRequest) error {
	p := l.neg.Params()
	l.peer.Initiator, l.peer.Alias, l.peer.ISID = p.InitiatorName, p.InitiatorAlias, req.ISID
	if req.TSIH != 0 {
		return l.srv.refuseConnection(l.peer, req.TSIH)
	}
	target := p.TargetName
	if p.SessionType == wire.DiscoverySession {
		target = ""
	}
	set, err := l.srv.cfg.Targets.Authentication(l.peer, target)
	if err != nil {
		return err
	}
	if l.auth, err = wire.NewTargetAuth(set); err != nil {
		return err
	}
	if l.stage == wire.OperationalNegotiation && !l.auth.Done() {
		return refuse(wire.LoginAuthenticationFailure, errors.New("the initiator leaves out the security negotiation"))
	}
	return nil
}

// refuseConnection answers a login to a session that exists: there is one connection
// for each, and none can be replaced at error recovery level 0.
func (s *Server) refuseConnection(p *Peer, tsih uint16) error {
	s.mu.Lock()
	se := s.handles[tsih]
	s.mu.Unlock()
	if se == nil || !strings.EqualFold(se.key.initiator, p.Initiator) || se.key.isid != p.ISID {
		return refuse(wire.LoginSessionDoesNotExist, fmt.Errorf("there is no session %d", tsih))
	}
	return refuse(wire.LoginCantIncludeInSession, errors.New("one connection per session"))
}

// login runs the login phase and gives the session that it led to.
func (c *conn) login() (*session, error) {
	_ = c.nc.SetReadDeadline(c.since.Add(c.srv.cfg.LoginTimeout))
	c.recv = wire.LoginFraming()
	l := &login{srv: c.srv, peer: &c.peer}
	for {
		if err := c.receive(c.fillLogin); err != nil {
			if timedOut(err) {
				err = fmt.Errorf("login takes too long: %w", err)
			}
			return nil, err
		}
		se, err := c.loginRequest(l)
		c.release()
		if se != nil || err != nil {
			return se, err
		}
	}
}

func (c *conn) fillLogin() error {
	c.out.Flush()
	err := c.in.Fill()
	if err != nil {
		return c.why(err)
	}
	return nil
}

// loginRequest answers the PDU at hand. An error ends the connection; it has been
// told the initiator where the RFC wants that.
func (c *conn) loginRequest(l *login) (*session, error) {
	if op := c.rx.bhs.Opcode(); op != wire.OpLoginRequest {
		err := fmt.Errorf("%w: %v before the login", errProtocol, op)
		if l.begun { // 6.3: before the first Login Request, the connection is closed and nothing is said
			c.refuseLogin(l, nil, refuse(wire.LoginInvalidDuringLogin, err))
		}
		return nil, err
	}
	req, err := wire.DecodeLoginRequest(&c.rx.bhs)
	if err == nil && c.rx.ahsErr != nil {
		err = c.rx.ahsErr
	}
	if err != nil {
		c.refuseLogin(l, nil, refused(err))
		return nil, err
	}
	if c.surplus {
		err := refuse(wire.LoginOutOfResources, errors.New("too many connections"))
		c.refuseLogin(l, &req, err)
		return nil, err
	}
	resp, text, end, err := l.request(&req, c.rx.data)
	var se *session
	if end != nil && err == nil {
		se, err = c.open(l, end)
	}
	if err != nil {
		r := refused(err)
		c.refuseLogin(l, &req, r)
		return nil, r
	}
	if se != nil {
		c.srv.loggedIn(c, se)
		end.resp.TSIH, l.maxCmdSN = se.tsih, se.win.max
		resp, text = end.resp, end.text
	}
	c.answerLogin(l, &req, &resp, text)
	if se != nil {
		se.begin(l)
	}
	return se, nil
}

// refuseLogin sends the status of r. req is nil when it could not be decoded.
func (c *conn) refuseLogin(l *login, req *wire.LoginRequest, r error) {
	f := refused(r)
	resp := wire.LoginResponse{Status: f.status}
	if req == nil {
		req = &wire.LoginRequest{ISID: l.first.ISID, ITT: c.rx.bhs.ITT()}
	}
	var text wire.Text
	if f.moved != nil {
		text.Add(wire.KeyTargetAddress, f.moved.String())
	}
	c.answerLogin(l, req, &resp, text)
}

// answerLogin sends a Login Response. All of them are short: a Negotiator bounds
// what it says.
func (c *conn) answerLogin(l *login, req *wire.LoginRequest, resp *wire.LoginResponse, text wire.Text) {
	resp.ISID, resp.ITT = req.ISID, req.ITT
	if resp.TSIH == 0 {
		resp.TSIH = req.TSIH
	}
	resp.Numbers = wire.Numbers{StatSN: l.statSN, ExpCmdSN: l.first.CmdSN, MaxCmdSN: l.maxCmdSN}
	if resp.Status.Class() == wire.ClassSuccess {
		l.statSN = l.statSN.Next()
	}
	var h wire.BHS
	resp.Encode(&h)
	b := wire.LoginFraming().AppendPacket(nil, &h, nil, text.Append(nil))
	_, _ = c.out.Append(&stream.Message{Header: b}) // a lost connection is told by the next read
	c.out.Flush()
}

// open makes the session that a login leads to: it ends an older one of the same
// nexus, and has the target opened.
func (c *conn) open(l *login, end *loginEnd) (*session, error) {
	c.peer.User = l.auth.Name()
	se := newSession(c, end.params)
	if err := c.srv.claim(se, time.Until(c.since.Add(c.srv.cfg.LoginTimeout))); err != nil {
		return nil, err
	}
	if err := se.open(); err != nil {
		c.srv.abandon(se)
		return nil, err
	}
	se.start(&l.first)
	return se, nil
}
