// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"crypto/subtle"
	"strconv"
	"strings"
)

// InitiatorAuthSettings say how an initiator authenticates. The zero value offers AuthMethod=None alone.
type InitiatorAuthSettings struct {
	// CHAP proves us to the target; empty: no CHAP.
	CHAP Credentials
	// Mutual is what the target must prove; empty: it need not. An empty name takes any name. Its secret must differ from
	// that of CHAP, without which it cannot be set.
	Mutual Credentials
	// Algorithms in order of preference; empty: all, the strongest first.
	Algorithms []CHAPAlgorithm
	// AllowNone offers None after CHAP, so that a target may do without. Not with Mutual.
	AllowNone bool
}

// initiatorAuthState is the step that comes next.
//
//	start --Start--> method --AuthMethod=CHAP--> algorithm --CHAP_A,I,C--> response --CHAP_N,R--> done
//	                   |                                                     |
//	                   +---------------AuthMethod=None---> done <--Finish----+ (one-way)
type initiatorAuthState uint8

const (
	initiatorStart     initiatorAuthState = iota // nothing sent
	initiatorMethod                              // AuthMethod sent
	initiatorAlgorithm                           // CHAP_A sent
	initiatorResponse                            // CHAP_N and CHAP_R sent, and a challenge when mutual
	initiatorDone                                // the target is proved, or need not be
)

// InitiatorAuth is the initiator's side of the security negotiation. It takes and gives the keys AuthMethod and CHAP_*;
// all others in a message are the Negotiator's. RFC 7143 12.1.3 (Challenge Handshake Authentication Protocol (CHAP)).
type InitiatorAuth struct {
	set       InitiatorAuthSettings
	state     initiatorAuthState
	algorithm CHAPAlgorithm
	sent      challenge // for the target
}

// NewInitiatorAuth checks the settings. CodeSetting: a secret under 12 or over 255 bytes, one secret for both
// directions, Mutual without CHAP or with AllowNone, an unknown algorithm.
func NewInitiatorAuth(s InitiatorAuthSettings) (*InitiatorAuth, error) {
	var err error
	if s.Algorithms, err = validAlgorithms(s.Algorithms); err != nil {
		return nil, err
	}
	if !s.CHAP.empty() {
		if err := s.CHAP.validate(false); err != nil {
			return nil, err
		}
	}
	if s.Mutual.empty() {
		return &InitiatorAuth{set: s}, nil
	}
	if err := s.Mutual.validate(true); err != nil {
		return nil, err
	}
	switch {
	case s.CHAP.empty() || s.AllowNone:
		return nil, fault(CodeSetting, "mutual CHAP needs CHAP, and does not go with None")
	case s.CHAP.Secret.Equal(s.Mutual.Secret):
		return nil, fault(CodeSetting, "one CHAP secret for both directions")
	}
	return &InitiatorAuth{set: s}, nil
}

// Start returns the keys for the first message of the stage.
func (a *InitiatorAuth) Start() Text {
	method := ValueNone
	switch {
	case a.set.CHAP.empty():
	case a.set.AllowNone:
		method = methodCHAP + "," + ValueNone
	default:
		method = methodCHAP
	}
	a.state = initiatorMethod
	return Text{{KeyAuthMethod, method}}
}

// Ready reports whether we have nothing more to send, so that the T bit may be set in the message that goes out now.
func (a *InitiatorAuth) Ready() bool {
	return a.state >= initiatorResponse || a.state == initiatorMethod && a.set.CHAP.empty()
}

// Receive takes one message of the target and returns the keys for the next one. After an error the connection must be
// closed. CodeAuthentication: the target did not prove itself, or chose what was not offered. CodeMissingParameter,
// CodeNegotiation: the keys are not those of this step.
func (a *InitiatorAuth) Receive(in Text) (Text, error) {
	k := securityKeys(in)
	switch a.state {
	case initiatorMethod:
		return a.receiveMethod(k)
	case initiatorAlgorithm:
		return a.receiveChallenge(k)
	case initiatorResponse:
		return nil, a.receiveProof(k)
	case initiatorStart, initiatorDone:
	}
	return nil, demand(nil, []*string{k.method, k.a, k.i, k.c, k.n, k.r})
}

func (a *InitiatorAuth) receiveMethod(k authKeys) (Text, error) {
	if k.method == nil && a.set.CHAP.empty() { // the target sees no need to answer None
		return nil, demand(nil, []*string{k.a, k.i, k.c, k.n, k.r})
	}
	if err := demand([]*string{k.method}, []*string{k.a, k.i, k.c, k.n, k.r}); err != nil {
		return nil, err
	}
	switch {
	case *k.method == methodCHAP && !a.set.CHAP.empty():
		a.state = initiatorAlgorithm
		return Text{{KeyCHAPA, formatAlgorithms(a.set.Algorithms)}}, nil
	case *k.method == ValueNone && (a.set.CHAP.empty() || a.set.AllowNone):
		a.state = initiatorDone
		return nil, nil
	}
	return nil, fault(CodeAuthentication, "the target accepts no authentication method that was offered")
}

func formatAlgorithms(list []CHAPAlgorithm) string {
	var b strings.Builder
	for i, a := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(int(a)))
	}
	return b.String()
}

func (a *InitiatorAuth) receiveChallenge(k authKeys) (Text, error) {
	if k.a != nil && *k.a == ValueReject {
		return nil, fault(CodeAuthentication, "the target accepts no CHAP algorithm that was offered")
	}
	if err := demand([]*string{k.a, k.i, k.c}, []*string{k.method, k.n, k.r}); err != nil {
		return nil, err
	}
	alg, ok := ParseNumber(*k.a)
	if !ok || !hasAlgorithm(a.set.Algorithms, alg) {
		return nil, fault(CodeAuthentication, "the target chose a CHAP algorithm that was not offered")
	}
	c, err := parseChallenge(*k.i, *k.c)
	if err != nil {
		return nil, err
	}
	a.algorithm = CHAPAlgorithm(alg)
	out := Text{
		{KeyCHAPN, a.set.CHAP.Name},
		{KeyCHAPR, EncodeBinary(a.algorithm.response(c.id, a.set.CHAP.Secret, c.bytes))},
	}
	a.state = initiatorResponse
	if a.set.Mutual.empty() {
		return out, nil
	}
	for a.sent = newChallenge(); subtle.ConstantTimeCompare(a.sent.bytes, c.bytes) == 1; a.sent = newChallenge() {
	}
	a.sent.add(&out)
	return out, nil
}

func (a *InitiatorAuth) receiveProof(k authKeys) error {
	if a.set.Mutual.empty() { // accepted by ending the stage; Finish
		return demand(nil, []*string{k.method, k.a, k.i, k.c, k.n, k.r})
	}
	if err := demand([]*string{k.n, k.r}, []*string{k.method, k.a, k.i, k.c}); err != nil {
		return err
	}
	proved := a.sent.verify(a.algorithm, *k.r, a.set.Mutual.Secret, a.set.CHAP.Secret)
	if !proved || a.set.Mutual.Name != "" && *k.n != a.set.Mutual.Name {
		return fault(CodeAuthentication, "the target did not prove its identity")
	}
	a.state = initiatorDone
	return nil
}

// Retry returns a machine for another login after the target refused ours with status, or nil when that is pointless. It
// is for one known fault: tgtd takes number 7, which is SHA-256, for SHA-1, prefers it to 5, and then refuses the response.
// The machine offers all but SHA-256. The target chose the algorithm anyway, so nothing is weaker than before.
func (a *InitiatorAuth) Retry(status LoginStatus) *InitiatorAuth {
	if a.state != initiatorResponse || a.algorithm != CHAPSHA256 ||
		status != LoginInitiatorError && status != LoginAuthenticationFailure {
		return nil
	}
	again := &InitiatorAuth{set: a.set}
	again.set.Algorithms = nil
	for _, alg := range a.set.Algorithms {
		if alg != CHAPSHA256 {
			again.set.Algorithms = append(again.set.Algorithms, alg)
		}
	}
	if len(again.set.Algorithms) == 0 {
		return nil
	}
	return again
}

// Finish is called when the target ends the stage, after Receive. CodeAuthentication: it is too early for that, such as
// when the target was to prove itself and has not.
func (a *InitiatorAuth) Finish() error {
	switch {
	case a.state == initiatorDone:
	case a.state == initiatorMethod && a.set.CHAP.empty():
	case a.state == initiatorResponse && a.set.Mutual.empty():
	default:
		return fault(CodeAuthentication, "the target ends the security negotiation before it is complete")
	}
	a.state = initiatorDone
	return nil
}
