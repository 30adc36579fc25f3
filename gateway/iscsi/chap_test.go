// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"testing"

	wire "pathgate/internal/iscsi"
)

const (
	testUser   = "alice"
	testSecret = "alice's secret 1"
	ourName    = "gateway"
	ourSecret  = "the gateway's secret"
)

// guarded is a source that demands CHAP of everybody, and lets in only alice.
func guarded(tb testing.TB) *source {
	s := newSource().add(tb, testTarget, memory(tb))
	s.auth = func(*Peer, string) (wire.TargetAuthSettings, error) {
		return wire.TargetAuthSettings{
			Required: true,
			Lookup: func(name string) (wire.Secret, bool) {
				return wire.NewSecret([]byte(testSecret)), name == testUser
			},
			CHAP: wire.Credentials{Name: ourName, Secret: wire.NewSecret([]byte(ourSecret))},
		}, nil
	}
	s.may = func(p *Peer, _ string) error {
		if p.User != testUser {
			return ErrForbidden
		}
		return nil
	}
	return s
}

// chapDance goes through CHAP with SHA-256 up to the target's challenge.
func chapDance(r *raw) (id byte, challenge []byte) {
	r.tb.Helper()
	r.loginPDU(wire.SecurityNegotiation, wire.SecurityNegotiation, r.fast(kv(wire.KeyAuthMethod, "CHAP,None")))
	if p, text := r.loginAnswer(); p.Status != wire.LoginSuccess || p.Transit {
		r.tb.Fatalf("%+v %v", p, text)
	}
	r.loginPDU(wire.SecurityNegotiation, wire.SecurityNegotiation, wire.Text{kv(wire.KeyCHAPA, "99,7,5")})
	_, text := r.loginAnswer()
	a, _ := text.Get(wire.KeyCHAPA)
	i, _ := text.Get(wire.KeyCHAPI)
	c, _ := text.Get(wire.KeyCHAPC)
	n, err := strconv.Atoi(i)
	challenge, herr := hex.DecodeString(strings.TrimPrefix(c, "0x"))
	if a != "7" || err != nil || herr != nil || len(challenge) < 16 {
		r.tb.Fatalf("challenge %v", text)
	}
	return byte(n), challenge
}

func chapResponse(id byte, secret string, challenge []byte) []byte {
	h := sha256.New()
	h.Write([]byte{id})
	h.Write([]byte(secret))
	h.Write(challenge)
	return h.Sum(nil)
}

func hexValue(b []byte) string { return "0x" + hex.EncodeToString(b) }

func TestB17CHAP(t *testing.T) {
	b := serve(t, Config{}, guarded(t))
	t.Run("left out", func(t *testing.T) {
		r := b.dial(t)
		r.loginPDU(wire.OperationalNegotiation, wire.FullFeaturePhase, r.fast())
		r.refusedWith(wire.LoginAuthenticationFailure)
	})
	t.Run("not offered", func(t *testing.T) {
		r := b.dial(t)
		r.loginPDU(wire.SecurityNegotiation, wire.FullFeaturePhase, r.fast(kv(wire.KeyAuthMethod, "None,SRP")))
		r.refusedWith(wire.LoginAuthenticationFailure)
	})
	t.Run("stage left without proof", func(t *testing.T) {
		r := b.dial(t)
		r.loginPDU(wire.SecurityNegotiation, wire.FullFeaturePhase, r.fast(kv(wire.KeyAuthMethod, "CHAP")))
		if p, _ := r.loginAnswer(); p.Transit {
			t.Fatal("the target goes on")
		}
		r.loginPDU(wire.SecurityNegotiation, wire.FullFeaturePhase, nil)
		r.refusedWith(wire.LoginMissingParameter)
	})
	t.Run("no algorithm", func(t *testing.T) {
		r := b.dial(t)
		r.loginPDU(wire.SecurityNegotiation, wire.SecurityNegotiation, r.fast(kv(wire.KeyAuthMethod, "CHAP")))
		r.loginAnswer()
		r.loginPDU(wire.SecurityNegotiation, wire.SecurityNegotiation, wire.Text{kv(wire.KeyCHAPA, "0,77,,x")})
		r.refusedWith(wire.LoginAuthenticationFailure)
	})
	proof := func(r *raw, name, value string, more ...wire.KeyValue) {
		r.loginPDU(wire.SecurityNegotiation, wire.FullFeaturePhase, append(wire.Text{kv(wire.KeyCHAPN, name), kv(wire.KeyCHAPR, value)}, more...))
	}
	for _, tt := range []struct {
		name string
		user string
		r    func(right []byte) string
	}{
		{"wrong name", "bob", hexValue},
		{"wrong secret", testUser, func(b []byte) string { b[0]++; return hexValue(b) }},
		{"empty", testUser, func([]byte) string { return "" }},
		{"empty hex", testUser, func([]byte) string { return "0x" }},
		{"short", testUser, func(b []byte) string { return hexValue(b[1:]) }},
		{"long", testUser, func(b []byte) string { return hexValue(append(b, 0)) }},
		{"1024 bytes", testUser, func(b []byte) string { return hexValue(make([]byte, 1024)) }},
		{"127 characters of base64", testUser, func([]byte) string { return "0b" + strings.Repeat("A", 127) }},
		{"odd letters", testUser, func([]byte) string { return "0xzz" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := b.dial(t)
			id, c := chapDance(r)
			proof(r, tt.user, tt.r(chapResponse(id, testSecret, c)))
			r.refusedWith(wire.LoginAuthenticationFailure)
		})
	}
	t.Run("our challenge reflected", func(t *testing.T) {
		r := b.dial(t)
		id, c := chapDance(r)
		proof(r, testUser, hexValue(chapResponse(id, testSecret, c)), kv(wire.KeyCHAPI, strconv.Itoa(int(id))), kv(wire.KeyCHAPC, hexValue(c)))
		r.refusedWith(wire.LoginAuthenticationFailure)
	})
	t.Run("answer of another login", func(t *testing.T) {
		r := b.dial(t)
		id, c := chapDance(r)
		old := chapResponse(id, testSecret, c)
		r = b.dial(t)
		if _, next := chapDance(r); string(next) == string(c) {
			t.Error("the same challenge twice")
		}
		proof(r, testUser, hexValue(old))
		r.refusedWith(wire.LoginAuthenticationFailure)
	})
	for _, tt := range []struct {
		name   string
		encode func([]byte) string
	}{
		{"hex", hexValue}, {"base64", func(b []byte) string { return "0b" + base64.StdEncoding.EncodeToString(b) }},
	} {
		t.Run("right, mutual, in "+tt.name, func(t *testing.T) {
			r := b.dial(t)
			id, c := chapDance(r)
			mine := []byte("a challenge of the initiator")
			proof(r, testUser, tt.encode(chapResponse(id, testSecret, c)), kv(wire.KeyCHAPI, "200"), kv(wire.KeyCHAPC, tt.encode(mine)))
			p, text := r.loginAnswer()
			name, _ := text.Get(wire.KeyCHAPN)
			value, _ := text.Get(wire.KeyCHAPR)
			if !p.Transit || p.TSIH == 0 || name != ourName || value != hexValue(chapResponse(200, ourSecret, mine)) {
				t.Errorf("%+v %v", p, text)
			}
			list := b.Sessions()
			if len(list) != 1 || list[0].Peer.User != testUser {
				t.Errorf("sessions %+v", list)
			}
			_ = r.conn.Close()
			b.idle(t)
		})
	}
}

// One secret for both directions is refused, whoever configured it.
func TestB17OneSecret(t *testing.T) {
	s := guarded(t)
	s.auth = func(*Peer, string) (wire.TargetAuthSettings, error) {
		same := wire.NewSecret([]byte(testSecret))
		return wire.TargetAuthSettings{
			Required: true, Lookup: func(string) (wire.Secret, bool) { return same, true },
			CHAP: wire.Credentials{Name: ourName, Secret: same},
		}, nil
	}
	b := serve(t, Config{}, s)
	r := b.dial(t)
	id, c := chapDance(r)
	r.loginPDU(wire.SecurityNegotiation, wire.FullFeaturePhase, wire.Text{
		kv(wire.KeyCHAPN, testUser), kv(wire.KeyCHAPR, hexValue(chapResponse(id, testSecret, c))),
		kv(wire.KeyCHAPI, "1"), kv(wire.KeyCHAPC, "0x0102030405060708090a0b0c0d0e0f10"),
	})
	r.refusedWith(wire.LoginAuthenticationFailure)
}
