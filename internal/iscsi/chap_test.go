// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
)

const (
	secretA = "the initiator's secret"
	secretB = "the target's own secret"
)

func sec(s string) Secret { return NewSecret([]byte(s)) }

func newInitiatorAuth(t *testing.T, s InitiatorAuthSettings) *InitiatorAuth {
	t.Helper()
	a, err := NewInitiatorAuth(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newTargetAuth(t *testing.T, s TargetAuthSettings) *TargetAuth {
	t.Helper()
	a, err := NewTargetAuth(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func lookup(name, secret string) func(string) (Secret, bool) {
	return func(n string) (Secret, bool) { return sec(secret), n == name }
}

// converse lets both sides talk until the initiator sets T and the target agrees, or one of them fails.
func converse(a *InitiatorAuth, b *TargetAuth) (initiator, target error) {
	out := a.Start()
	for range 8 {
		ready := a.Ready()
		answer, err := b.Receive(out)
		if err != nil {
			return nil, err
		}
		if out, err = a.Receive(answer); err != nil {
			return err, nil
		}
		if ready && b.Done() {
			return a.Finish(), nil
		}
	}
	return fmt.Errorf("no end"), nil
}

func TestCHAPResponseGolden(t *testing.T) {
	id, challenge := byte(0x2a), []byte("sixteen byte cha")
	msg := append(append([]byte{id}, secretA...), challenge...)
	m, s1, s2, s3 := md5.Sum(msg), sha1.Sum(msg), sha256.Sum256(msg), sha3.Sum256(msg)
	for alg, want := range map[CHAPAlgorithm][]byte{5: m[:], 6: s1[:], 7: s2[:], 8: s3[:]} {
		if got := alg.response(id, sec(secretA), challenge); !bytes.Equal(got, want) {
			t.Errorf("%v: got %x, want %x", alg, got, want)
		}
	}
}

func TestCHAPExchange(t *testing.T) {
	for alg := CHAPMD5; alg <= CHAPSHA3256; alg++ {
		for _, mutual := range []bool{false, true} {
			is := InitiatorAuthSettings{CHAP: Credentials{"alice", sec(secretA)}, Algorithms: []CHAPAlgorithm{alg}}
			if mutual {
				is.Mutual = Credentials{"storage", sec(secretB)}
			}
			a := newInitiatorAuth(t, is)
			b := newTargetAuth(t, TargetAuthSettings{Lookup: lookup("alice", secretA), Required: true, CHAP: Credentials{"storage", sec(secretB)}})
			if ie, te := converse(a, b); ie != nil || te != nil {
				t.Errorf("%v, mutual %v: initiator %v, target %v", alg, mutual, ie, te)
			}
			if b.Name() != "alice" || b.algorithm != alg {
				t.Errorf("%v, mutual %v: name %q, algorithm %v", alg, mutual, b.Name(), b.algorithm)
			}
		}
	}
}

// TestCHAPOwnByName: what proves the target may depend on who asks.
func TestCHAPOwnByName(t *testing.T) {
	alice := Credentials{"alice", sec(secretA)}
	for _, c := range []struct {
		name  string
		own   Credentials
		works bool
	}{
		{"hers", Credentials{"storage", sec(secretB)}, true},
		{"another's", Credentials{"rogue", sec(secretB)}, false},
		{"none", Credentials{}, false},
		{"too short", Credentials{"storage", sec("short")}, false},
		{"her own", Credentials{"storage", sec(secretA)}, false},
	} {
		ts := TargetAuthSettings{
			Lookup: lookup("alice", secretA), Required: true, CHAP: Credentials{"gate", sec("of no use to alice")},
			Own: func(name string) Credentials {
				if name != "alice" {
					t.Errorf("%s: asked for %q", c.name, name)
				}
				return c.own
			},
		}
		ie, te := converse(newInitiatorAuth(t, InitiatorAuthSettings{CHAP: alice, Mutual: Credentials{"storage", sec(secretB)}}), newTargetAuth(t, ts))
		if works := ie == nil && te == nil; works != c.works {
			t.Errorf("%s: initiator %v, target %v", c.name, ie, te)
		}
	}
}

// TestB17CHAPRefusals are the outcomes of a wrong name, secret, method or algorithm.
func TestB17CHAPRefusals(t *testing.T) {
	alice := Credentials{"alice", sec(secretA)}
	storage := Credentials{"storage", sec(secretB)}
	for _, c := range []struct {
		name       string
		is         InitiatorAuthSettings
		ts         TargetAuthSettings
		onTarget   bool // else the initiator finds out
		targetCode ErrorCode
	}{
		{"none offered when required", InitiatorAuthSettings{}, TargetAuthSettings{Lookup: lookup("alice", secretA), Required: true}, true, CodeAuthentication},
		{"CHAP offered where none is", InitiatorAuthSettings{CHAP: alice}, TargetAuthSettings{}, true, CodeAuthentication},
		{"no common algorithm", InitiatorAuthSettings{CHAP: alice, Algorithms: []CHAPAlgorithm{5}}, TargetAuthSettings{Lookup: lookup("alice", secretA), Algorithms: []CHAPAlgorithm{7, 8}}, true, CodeAuthentication},
		{"wrong name", InitiatorAuthSettings{CHAP: alice}, TargetAuthSettings{Lookup: lookup("bob", secretA)}, true, CodeAuthentication},
		{"wrong secret", InitiatorAuthSettings{CHAP: alice}, TargetAuthSettings{Lookup: lookup("alice", secretB)}, true, CodeAuthentication},
		{"mutual that the target cannot give", InitiatorAuthSettings{CHAP: alice, Mutual: storage}, TargetAuthSettings{Lookup: lookup("alice", secretA)}, true, CodeAuthentication},
		{"target with the same secret both ways", InitiatorAuthSettings{CHAP: alice, Mutual: storage}, TargetAuthSettings{Lookup: lookup("alice", secretA), CHAP: Credentials{"storage", sec(secretA)}}, true, CodeAuthentication},
		{"target with a wrong secret", InitiatorAuthSettings{CHAP: alice, Mutual: storage}, TargetAuthSettings{Lookup: lookup("alice", secretA), CHAP: Credentials{"storage", sec("something else entirely")}}, false, CodeAuthentication},
		{"target with a wrong name", InitiatorAuthSettings{CHAP: alice, Mutual: storage}, TargetAuthSettings{Lookup: lookup("alice", secretA), CHAP: Credentials{"rogue", sec(secretB)}}, false, CodeAuthentication},
	} {
		ie, te := converse(newInitiatorAuth(t, c.is), newTargetAuth(t, c.ts))
		if c.onTarget {
			wantCode(t, c.name, te, c.targetCode)
			if got := c.targetCode.LoginStatus(); got != LoginAuthenticationFailure {
				t.Errorf("%s: status %v", c.name, got)
			}
		} else {
			wantCode(t, c.name, ie, c.targetCode)
		}
	}
	var wrongName, wrongSecret error
	_, wrongName = converse(newInitiatorAuth(t, InitiatorAuthSettings{CHAP: alice}), newTargetAuth(t, TargetAuthSettings{Lookup: lookup("bob", secretA)}))
	_, wrongSecret = converse(newInitiatorAuth(t, InitiatorAuthSettings{CHAP: alice}), newTargetAuth(t, TargetAuthSettings{Lookup: lookup("alice", secretB)}))
	if wrongName.Error() != wrongSecret.Error() {
		t.Errorf("a wrong name gives %q, a wrong secret %q", wrongName, wrongSecret)
	}
}

// challenged brings a target to the point where it has sent its challenge.
func challenged(t *testing.T) (*TargetAuth, Text) {
	t.Helper()
	b := newTargetAuth(t, TargetAuthSettings{Lookup: lookup("alice", secretA), Required: true, CHAP: Credentials{"storage", sec(secretB)}})
	if _, err := b.Receive(Text{{KeyAuthMethod, "KRB5,CHAP,None"}}); err != nil {
		t.Fatal(err)
	}
	out, err := b.Receive(Text{{KeyCHAPA, "9,5"}})
	if err != nil {
		t.Fatal(err)
	}
	return b, out
}

func TestB17TargetRefusesBadProofs(t *testing.T) {
	good := func(b *TargetAuth) string {
		return EncodeBinary(b.algorithm.response(b.sent.id, sec(secretA), b.sent.bytes))
	}
	for _, c := range []struct {
		name string
		in   func(b *TargetAuth) Text
		want ErrorCode // 0: accepted
	}{
		{"good", func(b *TargetAuth) Text { return Text{{KeyCHAPN, "alice"}, {KeyCHAPR, good(b)}} }, 0},
		{"empty", func(*TargetAuth) Text { return Text{{KeyCHAPN, "alice"}, {KeyCHAPR, ""}} }, CodeAuthentication},
		{"empty hexadecimal", func(*TargetAuth) Text { return Text{{KeyCHAPN, "alice"}, {KeyCHAPR, "0x"}} }, CodeAuthentication},
		{"short", func(b *TargetAuth) Text { g := good(b); return Text{{KeyCHAPN, "alice"}, {KeyCHAPR, g[:len(g)-2]}} }, CodeAuthentication},
		{"long", func(b *TargetAuth) Text { return Text{{KeyCHAPN, "alice"}, {KeyCHAPR, good(b) + "00"}} }, CodeAuthentication},
		{"very long", func(b *TargetAuth) Text {
			return Text{{KeyCHAPN, "alice"}, {KeyCHAPR, good(b) + strings.Repeat("00", 1000)}}
		}, CodeAuthentication},
		{"127 base64 characters", func(*TargetAuth) Text { return Text{{KeyCHAPN, "alice"}, {KeyCHAPR, "0b" + strings.Repeat("A", 127)}} }, CodeAuthentication},
		{"no response", func(*TargetAuth) Text { return Text{{KeyCHAPN, "alice"}} }, CodeMissingParameter},
		{"no name", func(b *TargetAuth) Text { return Text{{KeyCHAPR, good(b)}} }, CodeMissingParameter},
		{"nothing", func(*TargetAuth) Text { return nil }, CodeMissingParameter},
		{"CHAP_A again", func(b *TargetAuth) Text { return Text{{KeyCHAPA, "5"}, {KeyCHAPN, "alice"}, {KeyCHAPR, good(b)}} }, CodeNegotiation},
		{"identifier without challenge", func(b *TargetAuth) Text {
			return Text{{KeyCHAPN, "alice"}, {KeyCHAPR, good(b)}, {KeyCHAPI, "1"}}
		}, CodeMissingParameter},
		{"our challenge sent back", func(b *TargetAuth) Text {
			return Text{{KeyCHAPN, "alice"}, {KeyCHAPR, good(b)}, {KeyCHAPI, "1"}, {KeyCHAPC, EncodeBinary(b.sent.bytes)}}
		}, CodeAuthentication},
		{"identifier 256", func(b *TargetAuth) Text {
			return Text{{KeyCHAPN, "alice"}, {KeyCHAPR, good(b)}, {KeyCHAPI, "256"}, {KeyCHAPC, "0x11"}}
		}, CodeNegotiation},
		{"challenge of 1025 bytes", func(b *TargetAuth) Text {
			return Text{{KeyCHAPN, "alice"}, {KeyCHAPR, good(b)}, {KeyCHAPI, "1"}, {KeyCHAPC, "0x" + strings.Repeat("11", 1025)}}
		}, CodeNegotiation},
		{"response with the target's own secret", func(b *TargetAuth) Text {
			return Text{{KeyCHAPN, "alice"}, {KeyCHAPR, EncodeBinary(b.algorithm.response(b.sent.id, sec(secretB), b.sent.bytes))}}
		}, CodeAuthentication},
	} {
		b, _ := challenged(t)
		_, err := b.Receive(c.in(b))
		if c.want == 0 {
			if err != nil || !b.Done() {
				t.Errorf("%s: %v, done %v", c.name, err, b.Done())
			}
			continue
		}
		wantCode(t, c.name, err, c.want)
		if b.Done() || b.Name() != "" {
			t.Errorf("%s: the target calls it done, name %q", c.name, b.Name())
		}
	}
}

func TestB17ChallengesNeverRepeat(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		_, out := challenged(t)
		c, _ := out.Get(KeyCHAPC)
		if seen[c] || len(c) < 2+2*16 {
			t.Fatalf("challenge %q is too short or came before", c)
		}
		seen[c] = true
	}
}

// initiatorAt brings an initiator to the point where it has sent CHAP_A, or its proof.
func initiatorAt(t *testing.T, s InitiatorAuthSettings, proof bool) *InitiatorAuth {
	t.Helper()
	a := newInitiatorAuth(t, s)
	a.Start()
	if _, err := a.Receive(Text{{KeyAuthMethod, "CHAP"}}); err != nil {
		t.Fatal(err)
	}
	if proof {
		if _, err := a.Receive(Text{{KeyCHAPA, "7"}, {KeyCHAPI, "1"}, {KeyCHAPC, "0x00112233445566778899aabbccddeeff"}}); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

func TestInitiatorRefusesBadTargets(t *testing.T) {
	mutual := InitiatorAuthSettings{CHAP: Credentials{"alice", sec(secretA)}, Mutual: Credentials{"storage", sec(secretB)}}
	for _, c := range []struct {
		name  string
		proof bool
		in    Text
		want  ErrorCode
	}{
		{"algorithm that was not offered", false, Text{{KeyCHAPA, "9"}, {KeyCHAPI, "1"}, {KeyCHAPC, "0x11"}}, CodeAuthentication},
		{"algorithm list", false, Text{{KeyCHAPA, "5,7"}, {KeyCHAPI, "1"}, {KeyCHAPC, "0x11"}}, CodeAuthentication},
		{"algorithms rejected", false, Text{{KeyCHAPA, "Reject"}}, CodeAuthentication},
		{"no challenge", false, Text{{KeyCHAPA, "7"}, {KeyCHAPI, "1"}}, CodeMissingParameter},
		{"empty challenge", false, Text{{KeyCHAPA, "7"}, {KeyCHAPI, "1"}, {KeyCHAPC, "0x"}}, CodeNegotiation},
		{"method again", false, Text{{KeyAuthMethod, "None"}, {KeyCHAPA, "7"}, {KeyCHAPI, "1"}, {KeyCHAPC, "0x11"}}, CodeNegotiation},
		{"no proof", true, nil, CodeMissingParameter},
		{"wrong proof", true, Text{{KeyCHAPN, "storage"}, {KeyCHAPR, EncodeBinary(make([]byte, 32))}}, CodeAuthentication},
	} {
		a := initiatorAt(t, mutual, c.proof)
		_, err := a.Receive(c.in)
		wantCode(t, c.name, err, c.want)
		wantCode(t, c.name+", then the stage ends", a.Finish(), CodeAuthentication)
	}

	a := initiatorAt(t, mutual, true)
	reflected := EncodeBinary(a.algorithm.response(a.sent.id, sec(secretA), a.sent.bytes))
	_, err := a.Receive(Text{{KeyCHAPN, "storage"}, {KeyCHAPR, reflected}})
	wantCode(t, "response with our own secret", err, CodeAuthentication)

	oneWay := InitiatorAuthSettings{CHAP: Credentials{"alice", sec(secretA)}}
	for _, c := range []struct {
		name string
		a    *InitiatorAuth
		ok   bool
	}{
		{"None chosen by silence", func() *InitiatorAuth { a := newInitiatorAuth(t, oneWay); a.Start(); return a }(), false},
		{"before the challenge", initiatorAt(t, oneWay, false), false},
		{"after our proof", initiatorAt(t, oneWay, true), true},
		{"mutual, after our proof", initiatorAt(t, mutual, true), false},
	} {
		if err := c.a.Finish(); (err == nil) != c.ok {
			t.Errorf("stage ends, %s: %v, want ok %v", c.name, err, c.ok)
		}
	}
	b := newInitiatorAuth(t, oneWay)
	b.Start()
	_, err = b.Receive(Text{{KeyAuthMethod, "None"}})
	wantCode(t, "None where it was not offered", err, CodeAuthentication)
}

func TestInitiatorWithoutCHAP(t *testing.T) {
	for _, answer := range []Text{nil, {{KeyAuthMethod, "None"}}} { // gotgt does not answer the key at all
		a := newInitiatorAuth(t, InitiatorAuthSettings{})
		if got := a.Start().String(); got != "AuthMethod=None" || !a.Ready() {
			t.Errorf("starts with %s, ready %v", got, a.Ready())
		}
		out, err := a.Receive(answer)
		if out != nil || err != nil || a.Finish() != nil {
			t.Errorf("answer %v: %v, %v", answer, out, err)
		}
	}
	a := newInitiatorAuth(t, InitiatorAuthSettings{CHAP: Credentials{"alice", sec(secretA)}, AllowNone: true})
	if got := a.Start().String(); got != "AuthMethod=CHAP,None" || a.Ready() {
		t.Errorf("starts with %s, ready %v", got, a.Ready())
	}
	if _, err := a.Receive(Text{{KeyAuthMethod, "None"}}); err != nil || a.Finish() != nil {
		t.Errorf("None: %v", err)
	}
}

func TestInitiatorRetryWithoutSHA256(t *testing.T) {
	s := InitiatorAuthSettings{CHAP: Credentials{"alice", sec(secretA)}}
	a := initiatorAt(t, s, true)
	for _, status := range []LoginStatus{LoginInitiatorError, LoginAuthenticationFailure} {
		b := a.Retry(status)
		if b == nil {
			t.Fatalf("no retry after %v", status)
		}
		b.Start()
		out, err := b.Receive(Text{{KeyAuthMethod, "CHAP"}})
		if got, _ := out.Get(KeyCHAPA); err != nil || got != "8,6,5" {
			t.Errorf("offers %q, %v, want 8,6,5", got, err)
		}
	}
	if a.Retry(LoginTargetError) != nil || initiatorAt(t, s, false).Retry(LoginInitiatorError) != nil {
		t.Error("retries where SHA-256 is not to blame")
	}
	s.Algorithms = []CHAPAlgorithm{CHAPSHA256}
	if initiatorAt(t, s, true).Retry(LoginInitiatorError) != nil {
		t.Error("retries without an algorithm")
	}
}

func TestAuthSettings(t *testing.T) {
	alice := Credentials{"alice", sec(secretA)}
	for name, s := range map[string]InitiatorAuthSettings{
		"secret of 11 bytes":    {CHAP: Credentials{"alice", sec("0123456789a")}},
		"secret of 256 bytes":   {CHAP: Credentials{"alice", sec(strings.Repeat("x", 256))}},
		"no secret":             {CHAP: Credentials{Name: "alice"}},
		"no name":               {CHAP: Credentials{Secret: sec(secretA)}},
		"null byte in the name": {CHAP: Credentials{"a\x00b", sec(secretA)}},
		"one secret both ways":  {CHAP: alice, Mutual: Credentials{"storage", sec(secretA)}},
		"mutual without CHAP":   {Mutual: Credentials{"storage", sec(secretB)}},
		"mutual with None":      {CHAP: alice, Mutual: Credentials{"storage", sec(secretB)}, AllowNone: true},
		"short mutual secret":   {CHAP: alice, Mutual: Credentials{"storage", sec("short")}},
		"unknown algorithm":     {CHAP: alice, Algorithms: []CHAPAlgorithm{9}},
	} {
		_, err := NewInitiatorAuth(s)
		wantCode(t, name, err, CodeSetting)
	}
	for name, s := range map[string]TargetAuthSettings{
		"required without names": {Required: true},
		"short secret":           {CHAP: Credentials{"storage", sec("short")}},
		"unknown algorithm":      {Algorithms: []CHAPAlgorithm{4}},
	} {
		_, err := NewTargetAuth(s)
		wantCode(t, name, err, CodeSetting)
	}
	if _, err := NewInitiatorAuth(InitiatorAuthSettings{CHAP: Credentials{"alice", sec("0123456789ab")}}); err != nil {
		t.Errorf("secret of 12 bytes: %v", err)
	}
}

// TestSecretIsMasked prints and encodes a planted secret in every way that a log line or an answer of the API would.
func TestSecretIsMasked(t *testing.T) {
	const planted = "planted-secret-value"
	type holder struct {
		Public  Credentials
		private Credentials
		ptr     *Secret
	}
	s := sec(planted)
	h := holder{Credentials{"n", s}, Credentials{"n", s}, &s}
	var out bytes.Buffer
	for _, v := range []any{s, &s, h, &h, []Secret{s}, map[string]Secret{"k": s}, InitiatorAuthSettings{CHAP: h.Public}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		b, err := json.Marshal(v)
		fmt.Fprintf(&out, "%s %v\n", b, err)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
	}
	text, _ := s.MarshalText()
	out.Write(text)
	b := []byte(planted)
	decimal := strings.Trim(fmt.Sprint(b), "[]")
	for _, form := range []string{planted, fmt.Sprintf("%x", b), fmt.Sprintf("%X", b), decimal, "cGxhbnRlZC1zZWNyZXQtdmFsdWU", fmt.Sprintf("%#v", b)[8:40], strconv.Itoa(int(b[0])) + ", " + strconv.Itoa(int(b[1]))} {
		if strings.Contains(out.String(), form) {
			t.Errorf("the secret shows as %q", form)
		}
	}
	if !strings.Contains(out.String(), SecretMask) {
		t.Error("no mask shows: nothing was tested")
	}
	a := initiatorAt(t, InitiatorAuthSettings{CHAP: Credentials{"alice", s}}, true)
	if shown := fmt.Sprintf("%+v %#v", a, a); strings.Contains(shown, planted) || strings.Contains(shown, decimal) {
		t.Errorf("the machine shows the secret: %s", shown)
	}
	if got := (Text{{KeyCHAPN, "n"}, {KeyCHAPR, "0x1234"}}).String(); got != "CHAP_N=n CHAP_R="+SecretMask {
		t.Errorf("text shows %q", got)
	}
}

func TestSecretEqual(t *testing.T) {
	if (Secret{}).Equal(Secret{}) || sec("a").Equal(sec("b")) || sec("a").Equal(Secret{}) || !sec("a").Equal(sec("a")) {
		t.Error("Equal is wrong")
	}
	if !sec("").Empty() || sec("x").Empty() || sec("abc").Len() != 3 || (Secret{}).Len() != 0 {
		t.Error("Empty or Len is wrong")
	}
	b := []byte("changed later")
	s := NewSecret(b)
	b[0] = 'X'
	if !s.Equal(sec("changed later")) {
		t.Error("NewSecret keeps the caller's bytes")
	}
}
