// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
)

// Each test proves one rule of RFC 7143 that this package keeps, and is named by the section that has it. Rules about
// the order of PDUs, about time and about tasks belong to the two sides and are proved there.

// 4.2.2.1: comparisons use serial number arithmetic; MaxCmdSN < ExpCmdSN - 1 makes both be ignored; commands outside
// [ExpCmdSN, MaxCmdSN] are ignored, also across the wrap.
func TestRFC_4_2_2_1_CommandWindow(t *testing.T) {
	n := Numbers{ExpCmdSN: SerialOf(0xfffffffe), MaxCmdSN: SerialOf(1)}
	if !n.ValidWindow() {
		t.Error("a window across the wrap is called invalid")
	}
	for cmdSN, want := range map[uint32]bool{0xfffffffd: false, 0xfffffffe: true, 0xffffffff: true, 0: true, 1: true, 2: false, 0x7fffffff: false} {
		if got := SerialOf(cmdSN).InWindow(n.ExpCmdSN, n.MaxCmdSN); got != want {
			t.Errorf("CmdSN %#x in window: %v, want %v", cmdSN, got, want)
		}
	}
	if (Numbers{ExpCmdSN: SerialOf(5), MaxCmdSN: SerialOf(3)}).ValidWindow() {
		t.Error("MaxCmdSN below ExpCmdSN - 1 is called valid")
	}
}

// 6.1: every pair, also the last, ends with a null; at least 8192 bytes are taken; values of 255, keys of 63 bytes.
func TestRFC_6_1_TextFormat(t *testing.T) {
	var text Text
	text.Add("A"+strings.Repeat("k", 62), strings.Repeat("v", 255))
	b := text.Append(nil)
	if b[len(b)-1] != 0 {
		t.Error("the last pair has no null")
	}
	if _, err := ParseText(b); err != nil {
		t.Error(err)
	}
	for i := 0; text.Len() < 8192-300; i++ {
		text.Add("K"+strconv.Itoa(i), strings.Repeat("v", 255))
	}
	text.Add("Last", strings.Repeat("v", 8192-text.Len()-len("Last=")-1))
	var acc TextAccumulator
	seg, err := acc.Add(text.Append(nil), false)
	if err != nil || len(seg) != 8192 {
		t.Fatalf("%d bytes, %v", len(seg), err)
	}
	if _, err := ParseText(seg); err != nil {
		t.Errorf("8192 bytes: %v", err)
	}
}

// 6.1: n hexadecimal digits have (n + 1)/2 bytes.
func TestRFC_6_1_HexConstantLength(t *testing.T) {
	for digits := 1; digits <= 40; digits++ {
		var buf [20]byte
		if n, err := DecodeBinary(buf[:], "0x"+strings.Repeat("1", digits)); err != nil || n != (digits+1)/2 {
			t.Errorf("%d digits: %d bytes, %v", digits, n, err)
		}
	}
}

// 6.2: the answer to a key that is not understood is NotUnderstood; the keys of RFC 7143 are never answered so.
func TestRFC_6_2_NotUnderstood(t *testing.T) {
	for i := range keyTable {
		k := &keyTable[i]
		n := newNegotiator(t, Target, DefaultSettings())
		out, _ := n.Receive(FullFeaturePhase, nil)
		for stage := range FullFeaturePhase + 1 {
			more, _ := n.Receive(stage, Text{{k.name, "1"}})
			out = append(out, more...)
		}
		if v, ok := out.Get(k.name); ok && v == ValueNotUnderstood {
			t.Errorf("%s is answered with NotUnderstood", k.name)
		}
	}
	out, err := newNegotiator(t, Initiator, initiatorSettings()).Receive(OperationalNegotiation, Text{{"X-new", "1"}})
	if v, _ := out.Get("X-new"); err != nil || v != ValueNotUnderstood {
		t.Errorf("unknown key: %v, %v", out, err)
	}
}

// 6.2: NotUnderstood for a key of RFC 7143 is a protocol error.
func TestRFC_6_2_NotUnderstoodIsAnError(t *testing.T) {
	for i := range keyTable {
		k := &keyTable[i]
		if !k.kind.negotiated() || k.optional {
			continue
		}
		n := newNegotiator(t, Initiator, initiatorSettings())
		n.Offer(OperationalNegotiation)
		_, err := n.Receive(OperationalNegotiation, Text{{k.name, ValueNotUnderstood}})
		wantCode(t, k.name, err, CodeNegotiation)
	}
}

// 6.2.1: the responder takes the first value of the originator's list that it supports; a value that was not proposed is
// a protocol error; None only when proposed.
func TestRFC_6_2_1_ListNegotiation(t *testing.T) {
	s := DefaultSettings()
	s.HeaderDigest = []Digest{DigestNone, DigestCRC32C} // its own preference does not count
	n := newNegotiator(t, Target, s)
	n.exchanges = 1 // past the first request
	out, err := n.Receive(OperationalNegotiation, pairs("HeaderDigest=Y-unknown,CRC32C,None"))
	if err != nil || out.String() != "HeaderDigest=CRC32C" {
		t.Errorf("got %v, %v", out, err)
	}
	is := initiatorSettings()
	is.HeaderDigest = []Digest{DigestCRC32C}
	i := newNegotiator(t, Initiator, is)
	i.Offer(OperationalNegotiation)
	_, err = i.Receive(OperationalNegotiation, pairs("HeaderDigest=None"))
	wantCode(t, "None was not proposed", err, CodeNegotiation)
}

// 6.2.2: No to an AND key and Yes to an OR key need no answer; all other booleans do.
func TestRFC_6_2_2_OptionalAnswers(t *testing.T) {
	for _, c := range []struct {
		r2t, immediate bool
		missing        string
	}{{true, false, ""}, {false, false, KeyInitialR2T}, {true, true, KeyImmediateData}} {
		s := initiatorSettings()
		s.InitialR2T, s.ImmediateData = c.r2t, c.immediate
		n := newNegotiator(t, Initiator, s)
		for _, p := range n.Offer(OperationalNegotiation) {
			if id := lookupKey(p.Key); keyTable[id].kind.negotiated() && keyTable[id].kind != kindAnd && keyTable[id].kind != kindOr {
				n.state[id].got = true
			}
		}
		got := ""
		if id := n.owed(); id != keyCount {
			got = keyTable[id].name
		}
		if got != c.missing {
			t.Errorf("InitialR2T %v, ImmediateData %v: %q is owed, want %q", c.r2t, c.immediate, got, c.missing)
		}
	}
}

// 6.3: the first request names the initiator and, unless it is for discovery, the target; nothing is declared twice; a
// key outside its stage is a protocol error.
func TestRFC_6_3_LoginPhase(t *testing.T) {
	out := newNegotiator(t, Initiator, initiatorSettings()).Offer(SecurityNegotiation)
	if got := out.String(); got != "InitiatorName=iqn.2026-11.test:i TargetName=iqn.2026-11.test:t SessionType=Normal" {
		t.Errorf("first message: %s", got)
	}
	n := newNegotiator(t, Target, DefaultSettings())
	_, err := n.Receive(SecurityNegotiation, nil)
	wantCode(t, "no names", err, CodeMissingParameter)

	n = newNegotiator(t, Target, DefaultSettings())
	names := pairs("InitiatorName=iqn.2026-11.test:i TargetName=iqn.2026-11.test:t SessionType=Normal")
	if _, err := n.Receive(SecurityNegotiation, names); err != nil {
		t.Fatal(err)
	}
	_, err = n.Receive(SecurityNegotiation, names)
	wantCode(t, "names again", err, CodeNegotiation)
	for name, again := range map[string]string{
		"another name":   "InitiatorName=iqn.2026-11.test:j",
		"another target": "TargetName=iqn.2026-11.test:u",
		"another type":   "SessionType=Discovery",
	} {
		m := *n
		_, err = m.Receive(OperationalNegotiation, pairs(again))
		wantCode(t, name, err, CodeNegotiation)
	}
	// libiscsi says it all once more after AuthMethod=None.
	if _, err := n.Receive(OperationalNegotiation, names); err != nil {
		t.Errorf("names once more in the next stage: %v", err)
	}
	_, err = n.Receive(OperationalNegotiation, names)
	wantCode(t, "names a third time", err, CodeNegotiation)

	for i := range keyTable {
		k := &keyTable[i]
		for stage := range FullFeaturePhase + 1 {
			if k.in>>stage&1 == 0 && stage != 2 {
				_, err := newNegotiator(t, Initiator, initiatorSettings()).Receive(stage, Text{{k.name, "1"}})
				wantCode(t, k.name+" in "+stage.String(), err, CodeNegotiation)
			}
		}
	}
}

// 6.3.1: the first response of the target has TargetPortalGroupTag.
func TestRFC_6_3_1_PortalGroupTag(t *testing.T) {
	for _, in := range []string{"InitiatorName=iqn.2026-11.test:i TargetName=iqn.2026-11.test:t", "InitiatorName=iqn.2026-11.test:i SessionType=Discovery"} {
		s := DefaultSettings()
		s.TargetPortalGroupTag = 3
		n := newNegotiator(t, Target, s)
		if _, err := n.Receive(SecurityNegotiation, pairs(in)); err != nil {
			t.Fatal(err)
		}
		if got := n.Offer(SecurityNegotiation).String(); got != "TargetPortalGroupTag=3" {
			t.Errorf("%s: first response has %q", in, got)
		}
	}
}

// 9.2: a missing CHAP_R is a missing parameter, a wrong one an authentication failure.
func TestRFC_9_2_MissingResponse(t *testing.T) {
	b, _ := challenged(t)
	_, err := b.Receive(Text{{KeyCHAPN, "alice"}, {KeyCHAPI, "1"}, {KeyCHAPC, EncodeBinary(b.sent.bytes)}})
	wantCode(t, "no CHAP_R", err, CodeMissingParameter)
	if got := CodeMissingParameter.LoginStatus(); got != LoginMissingParameter {
		t.Errorf("status %v", got)
	}
}

// 9.2.1: secrets of at least 96 bits; a response that our own secret would give is refused; a challenge sent back is
// refused. The latter two are in TestB17TargetRefusesBadProofs and TestInitiatorRefusesBadTargets.
func TestRFC_9_2_1_SecretLength(t *testing.T) {
	for n, ok := range map[int]bool{11: false, 12: true, 16: true} {
		_, err := NewInitiatorAuth(InitiatorAuthSettings{CHAP: Credentials{"a", NewSecret(bytes.Repeat([]byte{1}, n))}})
		if (err == nil) != ok {
			t.Errorf("%d bytes: %v, want ok %v", n, err, ok)
		}
	}
	b := newTargetAuth(t, TargetAuthSettings{Lookup: lookup("alice", "too short"), Required: true})
	_, _ = b.Receive(Text{{KeyAuthMethod, "CHAP"}})
	_, _ = b.Receive(Text{{KeyCHAPA, "5"}})
	_, err := b.Receive(Text{{KeyCHAPN, "alice"}, {KeyCHAPR, EncodeBinary(b.algorithm.response(b.sent.id, sec("too short"), b.sent.bytes))}})
	wantCode(t, "short secret at the target", err, CodeAuthentication)
}

// 11: reserved fields are sent as 0 and ignored on receipt: the bit census of every PDU test. 11.2.1.8: the tag
// 0xffffffff is never assigned to a task.
func TestRFC_11_2_1_8_NoTag(t *testing.T) {
	for name, h := range map[string]func() error{
		"SCSI Command": func() error { return decodeWithoutTag(t, scsiCommandFixture, DecodeSCSICommand) },
		"Login":        func() error { return decodeWithoutTag(t, loginRequestFixture, DecodeLoginRequest) },
		"Text":         func() error { return decodeWithoutTag(t, textRequestFixture, DecodeTextRequest) },
		"Data-Out":     func() error { return decodeWithoutTag(t, dataOutFixture, DecodeDataOut) },
		"Logout":       func() error { return decodeWithoutTag(t, logoutRequestFixture, DecodeLogoutRequest) },
		"R2T":          func() error { return decodeWithoutTag(t, r2tFixture, DecodeR2T) },
	} {
		wantCode(t, name, h(), CodeFormat)
	}
}

func decodeWithoutTag[P pdu](t *testing.T, fixture string, decode func(*BHS) (P, error)) error {
	h := header(t, fixture)
	h.putITT(NoTag)
	_, err := decode(&h)
	return err
}

// 11.2.3: a data segment of length 0 has no data digest.
func TestRFC_11_2_3_NoDigestOfNothing(t *testing.T) {
	var h BHS
	l, err := Framing{DataDigest: true, MaxData: 1}.Lengths(&h)
	if err != nil || l.Body() != 0 {
		t.Errorf("%+v, %v", l, err)
	}
}

// 12.1.3: MD5 is always among the algorithms an initiator offers unless told otherwise, after the stronger ones; challenges
// and responses have at most 1024 bytes.
func TestRFC_12_1_3_CHAP(t *testing.T) {
	a := newInitiatorAuth(t, InitiatorAuthSettings{CHAP: Credentials{"alice", sec(secretA)}})
	a.Start()
	out, err := a.Receive(pairs("AuthMethod=CHAP"))
	if got, _ := out.Get(KeyCHAPA); err != nil || got != "8,7,6,5" {
		t.Errorf("offers %q, %v", got, err)
	}
	for n, ok := range map[int]bool{1: true, 1024: true, 1025: false} {
		if _, err := parseChallenge("0", EncodeBinary(make([]byte, n))); (err == nil) != ok {
			t.Errorf("challenge of %d bytes: %v, want ok %v", n, err, ok)
		}
	}
}

// 13.4, 13.5: names are not declared by the wrong side. 13.8: a redirection address has no portal group tag.
func TestRFC_13_Senders(t *testing.T) {
	for i := range keyTable {
		k := &keyTable[i]
		for role := range Target + 1 {
			if k.from>>(Target-role)&1 == 1 {
				continue // the peer may send it
			}
			n := newNegotiator(t, role, initiatorSettings())
			n.exchanges = 1
			for stage := range FullFeaturePhase + 1 {
				if k.in>>stage&1 == 1 {
					_, err := n.Receive(stage, Text{{k.name, "1"}})
					wantCode(t, k.name+" to the "+role.String(), err, CodeNegotiation)
				}
			}
		}
	}
}

// 13.14: FirstBurstLength does not exceed MaxBurstLength.
func TestRFC_13_14_FirstBurstLength(t *testing.T) {
	n := newNegotiator(t, Target, DefaultSettings())
	n.exchanges = 1
	if _, err := n.Receive(OperationalNegotiation, pairs("MaxBurstLength=1024 FirstBurstLength=2048")); err != nil {
		t.Fatal(err)
	}
	_, err := n.Finish()
	wantCode(t, "FirstBurstLength above MaxBurstLength", err, CodeNegotiation)

	i := newNegotiator(t, Initiator, initiatorSettings())
	i.Offer(OperationalNegotiation)
	if _, err := i.Receive(OperationalNegotiation, pairs("MaxBurstLength=1024")); err != nil {
		t.Fatal(err)
	}
	if got := i.Params().FirstBurstLength; got != 1024 {
		t.Errorf("the default stays at %d above MaxBurstLength", got)
	}
}

// 13.25: the obsolete marker keys are answered with Reject (or No), never with NotUnderstood.
func TestRFC_13_25_ObsoleteKeys(t *testing.T) {
	n := newNegotiator(t, Target, DefaultSettings())
	n.exchanges = 1
	out, err := n.Receive(OperationalNegotiation, pairs("IFMarker=Yes OFMarker=No IFMarkInt=2048 OFMarkInt=1~65535"))
	if got := out.String(); err != nil || got != "IFMarker=Reject OFMarker=No IFMarkInt=Reject OFMarkInt=Reject" {
		t.Errorf("got %s, %v", got, err)
	}
}
