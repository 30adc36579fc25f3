// SPDX-License-Identifier: Apache-2.0

package scripted

import (
	"errors"
	"fmt"
	"time"

	wire "pathgate/internal/iscsi"
)

// Login is one attempt to log in.
type Login struct {
	Portal    int
	Initiator string
	ISID      wire.ISID
	Discovery bool // a session for SendTargets
	Target    string
}

// LoginAnswer is what becomes of it. The zero value lets it in.
type LoginAnswer struct {
	// Status other than success ends the login; with a redirection, Address is the
	// TargetAddress.
	Status  wire.LoginStatus
	Address string
	// Delay is waited before.
	Delay time.Duration
	// Silent never answers; Reset closes the connection instead.
	Silent, Reset bool
}

// OnLogin has f decide about logins, after their first PDU; nil: all that name this
// target are let in, and others get 0203h. It must not wait.
func (tg *Target) OnLogin(f func(Login) LoginAnswer) {
	tg.mu.Lock()
	defer tg.mu.Unlock()
	tg.onLogin = f
}

var errRefused = errors.New("login refused")

// login plays the login phase.
func (c *conn) login() error {
	set := c.t.set
	set.TargetPortalGroupTag = c.p.Tag
	neg, err := wire.NewNegotiator(wire.Target, set)
	if err != nil {
		return err
	}
	for first := true; ; first = false {
		var h wire.BHS
		data, err := readPDU(c.sock, wire.LoginFraming(), &h)
		if err != nil {
			return err
		}
		if !c.p.gate(c) {
			return errRefused
		}
		req, err := wire.DecodeLoginRequest(&h)
		if err != nil {
			return err
		}
		in, err := wire.ParseText(data)
		if err != nil {
			return err
		}
		if first {
			c.mu.Lock()
			c.expCmdSN = req.CmdSN
			c.mu.Unlock()
			if err := c.admit(req, in); err != nil {
				return err
			}
		}
		out, err := neg.Receive(req.CurrentStage, in)
		if err != nil {
			return c.refuse(req, wire.LoginInitiatorError, "")
		}
		out = append(out, neg.Offer(req.CurrentStage)...)
		if req.CurrentStage == wire.SecurityNegotiation {
			out.Add(wire.KeyAuthMethod, wire.ValueNone)
		}
		resp := wire.LoginResponse{
			Transit: req.Transit, CurrentStage: req.CurrentStage, NextStage: req.NextStage, ISID: req.ISID, ITT: req.ITT,
		}
		last := resp.Transit && resp.NextStage == wire.FullFeaturePhase
		if last {
			if c.params, err = neg.Finish(); err != nil {
				return c.refuse(req, wire.LoginInitiatorError, "")
			}
			resp.TSIH = c.enter(req)
		}
		c.sendF = wire.LoginFraming()
		c.send(resp, out.Append(nil), advance)
		if last {
			c.recvF, c.sendF = c.params.RecvFraming(), c.params.SendFraming()
			return nil
		}
	}
}

// admit asks the script.
func (c *conn) admit(req wire.LoginRequest, in wire.Text) error {
	l := Login{Portal: c.portal, ISID: req.ISID}
	l.Initiator, _ = in.Get(wire.KeyInitiatorName)
	l.Target, _ = in.Get(wire.KeyTargetName)
	kind, _ := in.Get(wire.KeySessionType)
	l.Discovery = kind == wire.DiscoverySession.String()
	var a LoginAnswer
	if !l.Discovery && l.Target != c.t.name {
		a.Status = wire.LoginNotFound
	}
	c.t.mu.Lock()
	f := c.t.onLogin
	c.t.mu.Unlock()
	if f != nil {
		a = f(l)
	}
	c.t.count(c.portal, func(s *Stats) { s.Attempts++ })
	if a.Delay > 0 {
		timer := time.NewTimer(a.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.gone:
			return errRefused
		}
	}
	switch {
	case a.Silent:
		_, _ = readPDU(c.sock, wire.LoginFraming(), new(wire.BHS)) // until the initiator gives up
		return errRefused
	case a.Reset:
		return errRefused
	case a.Status != wire.LoginSuccess:
		return c.refuse(req, a.Status, a.Address)
	}
	return nil
}

// refuse answers with a status and ends the connection, but lets the answer reach
// the initiator.
func (c *conn) refuse(req wire.LoginRequest, status wire.LoginStatus, address string) error {
	var text wire.Text
	if address != "" {
		text.Add(wire.KeyTargetAddress, address)
	}
	c.t.count(c.portal, func(s *Stats) { s.Refused++ })
	var h wire.BHS
	wire.LoginResponse{ISID: req.ISID, ITT: req.ITT, Status: status}.Encode(&h)
	c.raw(wire.LoginFraming().AppendPacket(nil, &h, nil, text.Append(nil)))
	_, _ = readPDU(c.sock, wire.LoginFraming(), new(wire.BHS))
	return errRefused
}

// enter begins the session: an old one of the same nexus ends (session
// reinstatement, RFC 7143 6.3.5).
func (c *conn) enter(req wire.LoginRequest) uint16 {
	c.nexus = fmt.Sprintf("%s,i,%v,t,%d", c.params.InitiatorName, req.ISID, c.p.Tag)
	if c.params.SessionType == wire.NormalSession {
		for _, p := range c.t.portals {
			for _, o := range p.list() {
				if o != c && o.ready() && o.nexus == c.nexus {
					o.end()
				}
			}
		}
		c.t.count(c.portal, func(s *Stats) { s.Logins++ })
	}
	c.born = sequence.Add(1)
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	c.t.tsih++
	return max(c.t.tsih, 1)
}
