// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

// Our side of the negotiation, in bytes. They are the values that open-iscsi
// uses where it differs from the RFC's defaults.
const (
	recvSegment = 256 << 10
	firstBurst  = 256 << 10
	maxBurst    = 16<<20 - 1024
	maxR2T      = 8
)

// maxHops bounds redirections: a target that sends us in a circle costs four
// connections.
const maxHops = 3

var errLoggedOut = errors.New("by agreement")

// isProtocol tells whether err is a breach of the protocol.
func isProtocol(err error) bool {
	var p *wire.ProtocolError
	return errors.As(err, &p)
}

// loginRequest is what a login is made with.
type loginRequest struct {
	cfg    *Config // who we are
	from   *Config // where we dial from
	target string  // "": a discovery session
	portal string
	isid   wire.ISID
	open   bool // without CHAP, whatever is configured
}

// loginOutcome is a connection in full feature phase.
type loginOutcome struct {
	sock      net.Conn
	portal    string // that answered, after redirections
	moved     bool   // one of them for good
	params    wire.Params
	cmdSN     wire.Serial // of the first command
	expStatSN wire.Serial
	numbers   wire.Numbers
}

// login connects and logs in, over redirections. ctx bounds all of it. An error names
// the portal only where a redirection has led to another one.
func (q *loginRequest) login(ctx context.Context) (*loginOutcome, error) {
	portal, moved := q.portal, false
	for hop := 0; ; hop++ {
		out, next, err := q.loginAt(ctx, portal)
		if err != nil && portal != q.portal {
			err = fmt.Errorf("%s: %w", portal, err)
		}
		if err != nil {
			return nil, err
		}
		if next.portal == "" {
			out.moved = moved
			return out, nil
		}
		if hop == maxHops {
			return nil, lost(backends.LossDenied, "%s: redirected more than %d times", portal, maxHops)
		}
		portal, moved = next.portal, moved || next.permanent
	}
}

// loginAt logs in at one portal; a redirection tells where to go.
func (q *loginRequest) loginAt(ctx context.Context, portal string) (out *loginOutcome, to redirection, err error) {
	var auth *wire.InitiatorAuth
	if auth, err = q.auth(); err != nil {
		return nil, redirection{}, err
	}
	for {
		out, to, err = q.attempt(ctx, portal, auth)
		var refused *refusal
		if !errors.As(err, &refused) {
			return out, to, err
		}
		if auth = auth.Retry(refused.status); auth == nil {
			return nil, redirection{}, err
		}
	}
}

func (q *loginRequest) attempt(ctx context.Context, portal string, auth *wire.InitiatorAuth) (*loginOutcome, redirection, error) {
	sock, err := q.from.dial(ctx, portal)
	if err != nil {
		if class := lossClass(err); class != backends.LossReset && class != backends.LossSilent {
			return nil, redirection{}, lost(class, "connect: %w", err)
		}
		return nil, redirection{}, lost(backends.LossConnect, "connect: %w", err)
	}
	// Whatever ends ctx ends the exchange: its deadline, Relogin or Close.
	stop := context.AfterFunc(ctx, func() { _ = sock.SetDeadline(time.Unix(1, 0)) })
	x := &exchange{loginRequest: q, sock: sock, auth: auth, cmdSN: wire.SerialOf(1)}
	to, err := x.run()
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil || to.portal != "" {
		_ = sock.Close()
		return nil, to, classifyLogin(err)
	}
	if q.target == "" {
		// A discovery session ends within the same ctx.
		context.AfterFunc(ctx, func() { _ = sock.SetDeadline(time.Unix(1, 0)) })
	}
	x.out.sock, x.out.portal = sock, portal
	return &x.out, redirection{}, nil
}

// classifyLogin gives an error without a class the class of a connection that
// does not answer.
func classifyLogin(err error) error {
	var l *lossError
	switch {
	case err == nil || errors.As(err, &l):
		return err
	case errors.Is(err, wire.CodeAuthentication), errors.Is(err, wire.CodeSetting):
		return &lossError{backends.LossDenied, err}
	case isProtocol(err):
		return &lossError{backends.LossProtocol, err}
	}
	return &lossError{backends.LossConnect, fmt.Errorf("login: %w", bare(err))}
}

func (q *loginRequest) auth() (*wire.InitiatorAuth, error) {
	var s wire.InitiatorAuthSettings
	if q.cfg.CHAP != nil && !q.open {
		if c := q.cfg.CHAP(q.target); c != nil {
			s.CHAP = wire.Credentials{Name: c.User, Secret: c.Secret}
			s.Algorithms = c.Algorithms
			s.Mutual = wire.Credentials{Name: c.MutualUser, Secret: c.MutualSecret}
		}
	}
	a, err := wire.NewInitiatorAuth(s)
	return a, classifyLogin(err)
}

func (q *loginRequest) settings() wire.Settings {
	s := wire.DefaultSettings()
	s.InitiatorName, s.InitiatorAlias = q.cfg.InitiatorName, q.cfg.Alias
	s.TargetName = q.target
	if q.target == "" {
		s.SessionType = wire.DiscoverySession
	}
	header, data := q.cfg.HeaderDigest, q.cfg.DataDigest
	if q.target == "" { // no data of ours, and tgtd has no digests here
		header, data = min(header, DigestPrefer), min(data, DigestPrefer)
	}
	s.HeaderDigest, s.DataDigest = header.offer(), data.offer()
	s.InitialR2T = false
	s.MaxRecvDataSegmentLength = recvSegment
	s.FirstBurstLength = firstBurst
	s.MaxBurstLength = maxBurst
	s.MaxOutstandingR2T = maxR2T
	s.DefaultTime2Retain = 0 // a lost session is gone: we log in anew
	return s
}

// refusal is a login status other than success.
type refusal struct{ status wire.LoginStatus }

// Error implements error.
func (r *refusal) Error() string { return "login refused: " + r.status.String() }

func refuse(s wire.LoginStatus) error {
	class := backends.LossDenied
	if s.Retryable() {
		class = backends.LossRefused
	}
	return &lossError{class, &refusal{s}}
}

// isAbsent tells whether err is the refusal of a portal that does not know the target.
func isAbsent(err error) bool {
	var r *refusal
	return errors.As(err, &r) && r.status == wire.LoginNotFound
}

// exchange is one login phase on one connection. RFC 7143 6.3 (Login Phase).
type exchange struct {
	*loginRequest
	sock  net.Conn
	auth  *wire.InitiatorAuth
	neg   *wire.Negotiator
	text  wire.TextAccumulator
	cmdSN wire.Serial
	buf   []byte
	out   loginOutcome
}

// loginITT is the tag of every Login Request: one task from first to last.
const loginITT = 1

// run takes the connection to full feature phase, or gives a redirection.
func (x *exchange) run() (to redirection, err error) {
	if x.neg, err = wire.NewNegotiator(wire.Initiator, x.settings()); err != nil {
		return to, err
	}
	req := wire.LoginRequest{
		CurrentStage: wire.SecurityNegotiation,
		ISID:         x.isid,
		ITT:          loginITT,
		CmdSN:        x.cmdSN,
	}
	if x.plain() {
		req.CurrentStage = wire.OperationalNegotiation
	}
	send := x.neg.Offer(req.CurrentStage)
	if req.CurrentStage == wire.SecurityNegotiation {
		send = append(send, x.auth.Start()...)
	}
	for {
		if req.CurrentStage == wire.SecurityNegotiation {
			req.Transit, req.NextStage = x.auth.Ready(), wire.OperationalNegotiation
		} else {
			req.Transit, req.NextStage = true, wire.FullFeaturePhase
		}
		resp, in, err := x.round(&req, send)
		if err != nil {
			return to, err
		}
		if resp.Status.Class() == wire.ClassRedirection {
			return x.redirection(resp.Status, in)
		}
		stage := req.CurrentStage
		send, err = x.take(stage, in)
		if err != nil {
			return to, err
		}
		if !resp.Transit {
			continue
		}
		if stage == wire.SecurityNegotiation {
			if err := x.auth.Finish(); err != nil {
				return to, err
			}
		}
		if resp.NextStage == wire.FullFeaturePhase {
			return to, x.finish(stage, resp)
		}
		req.CurrentStage = resp.NextStage
		send = append(send, x.neg.Offer(req.CurrentStage)...)
	}
}

// plain tells whether the login begins with the operational negotiation: a
// discovery session without credentials does. RFC 7143 6.3 (Login Phase) leaves
// the choice to the initiator, and gotgt reads the session type there only.
func (x *exchange) plain() bool {
	return x.target == "" && (x.open || x.cfg.CHAP == nil || x.cfg.CHAP("") == nil)
}

// take gives the answers to one message of the target.
func (x *exchange) take(stage wire.Stage, in wire.Text) (wire.Text, error) {
	send, err := x.neg.Receive(stage, in)
	if err != nil || stage != wire.SecurityNegotiation {
		return send, err
	}
	more, err := x.auth.Receive(in)
	return append(send, more...), err
}

// finish checks the last response.
func (x *exchange) finish(stage wire.Stage, resp wire.LoginResponse) (err error) {
	if stage != wire.OperationalNegotiation {
		return &wire.ProtocolError{Code: wire.CodeNegotiation, Detail: "the target skips the operational negotiation"}
	}
	if x.out.params, err = x.neg.Finish(); err != nil {
		return err
	}
	// The session handle is not judged: it serves to add connections, of which a
	// session of ours has one, and gotgt gives 0.
	if p := &x.out.params; x.target != "" && (!p.DataPDUInOrder || !p.DataSequenceInOrder) {
		return &wire.ProtocolError{Code: wire.CodeNegotiation, Detail: "data out of order"}
	}
	x.out.cmdSN, x.out.numbers = x.cmdSN, resp.Numbers
	return nil
}

// round sends one logical request and receives the logical response to it.
func (x *exchange) round(req *wire.LoginRequest, send wire.Text) (wire.LoginResponse, wire.Text, error) {
	data := send.Append(nil)
	for transit := req.Transit; ; {
		part := data[:min(len(data), wire.DefaultMaxRecvDataSegmentLength)]
		data = data[len(part):]
		req.Continue = len(data) > 0
		req.Transit = transit && !req.Continue
		resp, more, in, err := x.trip(req, part)
		if err != nil || resp.Status != wire.LoginSuccess {
			return resp, in, err
		}
		if req.Continue {
			continue // its answer is empty
		}
		for more {
			// The rest of the target's text is asked for with empty requests.
			req.Transit = false
			if resp, more, in, err = x.trip(req, nil); err != nil {
				return resp, nil, err
			}
		}
		return resp, in, nil
	}
}

// trip sends one PDU and receives one.
func (x *exchange) trip(req *wire.LoginRequest, data []byte) (resp wire.LoginResponse, more bool, in wire.Text, err error) {
	var h wire.BHS
	req.ExpStatSN = x.out.expStatSN
	req.DataSegmentLength = uint32(len(data))
	req.Encode(&h)
	if _, err = x.sock.Write(wire.LoginFraming().AppendPacket(nil, &h, nil, data)); err != nil {
		return resp, false, nil, err
	}
	body, err := x.receive(&h)
	if err != nil {
		return resp, false, nil, err
	}
	if resp, err = wire.DecodeLoginResponse(&h); err != nil {
		return resp, false, nil, err
	}
	if resp.Status.Class() != wire.ClassSuccess && resp.Status.Class() != wire.ClassRedirection {
		return resp, false, nil, refuse(resp.Status)
	}
	if err := x.plausible(req, &resp); err != nil {
		return resp, false, nil, err
	}
	if resp.Status == wire.LoginSuccess {
		x.out.expStatSN = resp.StatSN.Next()
	}
	segment, err := x.text.Add(body, resp.Continue)
	if err != nil || resp.Continue {
		return resp, resp.Continue, nil, err
	}
	in, err = wire.ParseText(segment)
	return resp, false, in, err
}

// plausible checks a response against the request that it answers. The ISID in it
// is not looked at: gotgt answers with zeros there, and the connection and the
// tag tell well enough what is answered.
func (x *exchange) plausible(req *wire.LoginRequest, resp *wire.LoginResponse) error {
	detail := ""
	switch {
	case resp.ITT != req.ITT:
		detail = "Login Response with another tag"
	case resp.Status.Class() == wire.ClassRedirection:
	case resp.CurrentStage != req.CurrentStage:
		detail = "Login Response of another stage"
	case resp.Transit && !req.Transit:
		detail = "Login Response goes on to a stage that was not asked for"
	case resp.Transit && resp.NextStage > req.NextStage:
		detail = "Login Response goes beyond the stage that was asked for"
	default:
		return nil
	}
	if detail == "" {
		return nil
	}
	return &wire.ProtocolError{Code: wire.CodeNegotiation, Detail: detail}
}

// receive reads one PDU of the login phase. Not one byte more is taken from the
// socket: what follows belongs to the full feature phase.
func (x *exchange) receive(h *wire.BHS) ([]byte, error) {
	if _, err := io.ReadFull(x.sock, h[:]); err != nil {
		return nil, err
	}
	l, err := wire.LoginFraming().Lengths(h)
	if err != nil {
		return nil, err
	}
	if h.Opcode() != wire.OpLoginResponse || l.AHS != 0 {
		return nil, &wire.ProtocolError{Code: wire.CodeOpcode, Detail: h.Opcode().String() + " during login"}
	}
	if cap(x.buf) < l.Body() {
		x.buf = make([]byte, wire.DefaultMaxRecvDataSegmentLength+4)
	}
	body := x.buf[:l.Body()]
	if _, err := io.ReadFull(x.sock, body); err != nil {
		return nil, err
	}
	return body[:l.Data], nil
}
