// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"crypto/subtle"
	"strconv"
	"strings"
)

// TargetAuthSettings say how a target authenticates an initiator whose InitiatorName is already known.
type TargetAuthSettings struct {
	// Lookup returns the secret of a CHAP name, if that name may log in under the InitiatorName at hand. Nil: no CHAP.
	Lookup func(name string) (Secret, bool)
	// Required refuses AuthMethod=None, and a login without security negotiation.
	Required bool
	// CHAP proves us to an initiator that asks for it; empty: such an initiator is refused.
	CHAP Credentials
	// Own gives, in place of CHAP, what proves us to an initiator with this CHAP name. Nil: CHAP holds for all.
	Own func(name string) Credentials
	// Algorithms that we accept; empty: all. The initiator's order of preference decides (6.2.1).
	Algorithms []CHAPAlgorithm
}

// targetAuthState is the step that comes next.
//
//	start --AuthMethod=CHAP--> algorithm --CHAP_A--> challenge --CHAP_N,R[,I,C]--> done
//	  +------AuthMethod=None---------------------------------------------------> done
type targetAuthState uint8

const (
	targetStart     targetAuthState = iota // no AuthMethod received
	targetAlgorithm                        // CHAP chosen
	targetChallenge                        // challenge sent
	targetDone                             // the initiator is proved, or need not be
)

// TargetAuth is the target's side of the security negotiation. It takes and gives the keys AuthMethod and CHAP_*; all
// others in a message are the Negotiator's. RFC 7143 12.1.3 (Challenge Handshake Authentication Protocol (CHAP)).
type TargetAuth struct {
	set       TargetAuthSettings
	state     targetAuthState
	algorithm CHAPAlgorithm
	sent      challenge
	name      string
}

// NewTargetAuth checks the settings. CodeSetting: Required without Lookup, a secret under 12 or over 255 bytes, an
// unknown algorithm.
func NewTargetAuth(s TargetAuthSettings) (*TargetAuth, error) {
	var err error
	if s.Algorithms, err = validAlgorithms(s.Algorithms); err != nil {
		return nil, err
	}
	if s.Required && s.Lookup == nil {
		return nil, fault(CodeSetting, "authentication is required but no name is known")
	}
	if !s.CHAP.empty() {
		if err := s.CHAP.validate(false); err != nil {
			return nil, err
		}
	}
	return &TargetAuth{set: s}, nil
}

// Done reports whether the stage may end, or be left out: the initiator is proved, or need not be.
func (a *TargetAuth) Done() bool {
	return a.state == targetDone || a.state == targetStart && !a.set.Required
}

// Name returns the CHAP name that was proved; empty without CHAP.
func (a *TargetAuth) Name() string {
	if a.state != targetDone {
		return ""
	}
	return a.name
}

// Receive takes one message of the initiator and returns the keys of the answer. After an error the login is refused with
// the code's LoginStatus and the connection closed. CodeAuthentication: no acceptable method or algorithm, or the
// initiator did not prove itself; it does not tell whether name or secret was wrong. CodeMissingParameter,
// CodeNegotiation: the keys are not those of this step.
func (a *TargetAuth) Receive(in Text) (Text, error) {
	k := securityKeys(in)
	switch a.state {
	case targetStart:
		return a.receiveMethod(k)
	case targetAlgorithm:
		return a.receiveAlgorithms(k)
	case targetChallenge:
		return a.receiveProof(k)
	case targetDone:
	}
	return nil, demand(nil, []*string{k.method, k.a, k.i, k.c, k.n, k.r})
}

func (a *TargetAuth) receiveMethod(k authKeys) (Text, error) {
	if err := demand(nil, []*string{k.a, k.i, k.c, k.n, k.r}); err != nil || k.method == nil {
		return nil, err
	}
	for rest, more := *k.method, true; more; {
		var method string
		method, rest, more = strings.Cut(rest, ",")
		switch {
		case method == methodCHAP && a.set.Lookup != nil:
			a.state = targetAlgorithm
			return Text{{KeyAuthMethod, methodCHAP}}, nil
		case method == ValueNone && !a.set.Required:
			a.state = targetDone
			return Text{{KeyAuthMethod, ValueNone}}, nil
		}
	}
	return nil, fault(CodeAuthentication, "the initiator offers no acceptable authentication method")
}

func (a *TargetAuth) receiveAlgorithms(k authKeys) (Text, error) {
	if err := demand([]*string{k.a}, []*string{k.method, k.i, k.c, k.n, k.r}); err != nil {
		return nil, err
	}
	for rest, more := *k.a, true; more; {
		var item string
		item, rest, more = strings.Cut(rest, ",")
		alg, ok := ParseNumber(item)
		if !ok || !hasAlgorithm(a.set.Algorithms, alg) {
			continue
		}
		a.algorithm = CHAPAlgorithm(alg)
		a.sent = newChallenge()
		a.state = targetChallenge
		out := Text{{KeyCHAPA, strconv.FormatUint(alg, 10)}}
		a.sent.add(&out)
		return out, nil
	}
	return nil, fault(CodeAuthentication, "the initiator offers no acceptable CHAP algorithm")
}

func (a *TargetAuth) receiveProof(k authKeys) (Text, error) {
	if err := demand([]*string{k.n, k.r}, []*string{k.method, k.a}); err != nil {
		return nil, err
	}
	if (k.i == nil) != (k.c == nil) {
		return nil, fault(CodeMissingParameter, "CHAP_I and CHAP_C come together")
	}
	secret, known := a.set.Lookup(*k.n)
	if !known || secret.Len() < MinSecretLength {
		secret, known = decoySecret(), false
	}
	own, err := a.set.own(*k.n)
	if err != nil {
		return nil, err
	}
	if !a.sent.verify(a.algorithm, *k.r, secret, own.Secret) || !known {
		return nil, fault(CodeAuthentication, "the initiator did not prove its identity")
	}
	var out Text
	if k.c != nil {
		proof, err := a.prove(*k.i, *k.c, secret, own)
		if err != nil {
			return nil, err
		}
		out = proof
	}
	a.state, a.name = targetDone, *k.n
	return out, nil
}

// decoySecret makes a wrong name cost as much time as a wrong secret.
func decoySecret() Secret { return NewSecret([]byte("no such name, whoever asks")) }

// own is what proves us to the initiator with this CHAP name; empty: nothing does.
func (s *TargetAuthSettings) own(name string) (Credentials, error) {
	if s.Own == nil {
		return s.CHAP, nil
	}
	c := s.Own(name)
	if c.empty() {
		return c, nil
	}
	return c, c.validate(false)
}

// prove answers the challenge of an initiator that asked for it.
func (a *TargetAuth) prove(id, value string, peer Secret, own Credentials) (Text, error) {
	c, err := parseChallenge(id, value)
	if err != nil {
		return nil, err
	}
	switch {
	case own.empty():
		return nil, fault(CodeAuthentication, "the initiator asks for a proof that this target cannot give")
	case subtle.ConstantTimeCompare(c.bytes, a.sent.bytes) == 1:
		return nil, fault(CodeAuthentication, "the initiator sends our challenge back")
	case peer.Equal(own.Secret):
		return nil, fault(CodeAuthentication, "one CHAP secret for both directions")
	}
	return Text{
		{KeyCHAPN, own.Name},
		{KeyCHAPR, EncodeBinary(a.algorithm.response(c.id, own.Secret, c.bytes))},
	}, nil
}
