// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"crypto/rand"
	"crypto/subtle"
	"strconv"
	"strings"
)

const (
	// MinSecretLength is the length in bytes of the shortest CHAP secret: 96 bits, below which the RFC demands IPsec.
	// RFC 7143 9.2.1 (CHAP Considerations).
	MinSecretLength = 12
	// challengeLength is the length in bytes of our challenges. At least 16 are wanted; small targets take up to 50.
	challengeLength = 32

	methodCHAP = "CHAP"
)

// Credentials are a CHAP name and its secret. The zero value means none.
type Credentials struct {
	Name   string
	Secret Secret
}

func (c Credentials) empty() bool { return c.Name == "" && c.Secret.Empty() }

// validate checks a pair that is in use; anyName lets the name be empty.
func (c Credentials) validate(anyName bool) error {
	switch {
	case c.Name == "" && !anyName, len(c.Name) > MaxValueLength, strings.IndexByte(c.Name, 0) >= 0:
		return fault(CodeSetting, "CHAP name is missing, too long or has a null byte")
	case c.Secret.Len() < MinSecretLength:
		return fault(CodeSetting, "CHAP secret is shorter than 12 bytes")
	case c.Secret.Len() > MaxValueLength:
		return fault(CodeSetting, "CHAP secret is longer than 255 bytes")
	}
	return nil
}

// defaultAlgorithms are all of them, the strongest first. MD5 must always be offered (12.1.3).
func defaultAlgorithms() []CHAPAlgorithm {
	return []CHAPAlgorithm{CHAPSHA3256, CHAPSHA256, CHAPSHA1, CHAPMD5}
}

func validAlgorithms(list []CHAPAlgorithm) ([]CHAPAlgorithm, error) {
	if len(list) == 0 {
		return defaultAlgorithms(), nil
	}
	for _, a := range list {
		if a.newHash() == nil {
			return nil, fault(CodeSetting, "unknown CHAP algorithm")
		}
	}
	return list, nil
}

func hasAlgorithm(list []CHAPAlgorithm, a uint64) bool {
	for _, own := range list {
		if uint64(own) == a {
			return true
		}
	}
	return false
}

// authKeys are the security keys of one message. A nil field is absent.
type authKeys struct{ method, a, i, c, n, r *string }

func securityKeys(in Text) authKeys {
	var k authKeys
	for i := range in {
		switch v := &in[i].Value; in[i].Key {
		case KeyAuthMethod:
			k.method = v
		case KeyCHAPA:
			k.a = v
		case KeyCHAPI:
			k.i = v
		case KeyCHAPC:
			k.c = v
		case KeyCHAPN:
			k.n = v
		case KeyCHAPR:
			k.r = v
		}
	}
	return k
}

// demand checks a step of the exchange: all of must present, none of not.
func demand(must, not []*string) error {
	for _, v := range must {
		if v == nil {
			return fault(CodeMissingParameter, "a key of this step of the authentication is missing")
		}
	}
	for _, v := range not {
		if v != nil {
			return fault(CodeNegotiation, "a key of another step of the authentication")
		}
	}
	return nil
}

// challenge is one CHAP challenge: ours or the peer's.
type challenge struct {
	id    byte
	bytes []byte
}

func newChallenge() challenge {
	b := make([]byte, challengeLength+1)
	_, _ = rand.Read(b) // never fails, crypto/rand ends the process instead
	return challenge{b[0], b[1:]}
}

func parseChallenge(id, value string) (challenge, error) {
	n, ok := ParseNumber(id)
	if !ok || n > 255 {
		return challenge{}, fault(CodeNegotiation, "CHAP_I is not 0-255")
	}
	var buf [MaxCHAPBinary]byte
	l, err := DecodeBinary(buf[:], value)
	if err != nil {
		return challenge{}, fault(CodeNegotiation, "CHAP_C is ill-formed or too long")
	}
	return challenge{byte(n), append([]byte(nil), buf[:l]...)}, nil
}

// add appends CHAP_I and CHAP_C.
func (c challenge) add(t *Text) {
	t.Add(KeyCHAPI, strconv.Itoa(int(c.id)))
	t.Add(KeyCHAPC, EncodeBinary(c.bytes))
}

// verify compares a CHAP_R value with the response that secret gives, in constant time. It is false for a value that is
// ill-formed or of another length, and for one that own, our secret for the other direction, would have given too.
func (c challenge) verify(a CHAPAlgorithm, value string, secret, own Secret) bool {
	var buf [64]byte // more than the longest hash
	n, err := DecodeBinary(buf[:], value)
	if err != nil {
		return false
	}
	ok := subtle.ConstantTimeCompare(buf[:n], a.response(c.id, secret, c.bytes)) == 1
	if !own.Empty() && subtle.ConstantTimeCompare(buf[:n], a.response(c.id, own, c.bytes)) == 1 {
		return false
	}
	return ok && !secret.Empty()
}
