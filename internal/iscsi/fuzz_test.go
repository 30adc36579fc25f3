// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"bytes"
	"errors"
	"testing"
)

// stable checks what holds for every decoder: the same input gives the same result, and decode of encode is identity.
func stable[P pdu](t *testing.T, h *BHS, decode func(*BHS) (P, error)) {
	before := *h
	p, err := decode(h)
	if *h != before {
		t.Fatal("decode changed its input")
	}
	if err != nil {
		var pe *ProtocolError
		if !errors.As(err, &pe) {
			t.Fatalf("error of another type: %v", err)
		}
		return
	}
	var out BHS
	p.Encode(&out)
	q, err := decode(&out)
	var again BHS
	q.Encode(&again)
	if err != nil || again != out {
		t.Fatalf("decode of encode of %+v: %+v, %v", p, q, err)
	}
}

// FuzzPDU runs every decoder on every header; each refuses all opcodes but its own.
func FuzzPDU(f *testing.F) {
	for _, s := range []string{
		nopOutFixture, scsiCommandFixture, taskManagementRequestFixture, loginRequestFixture, textRequestFixture, dataOutFixture,
		logoutRequestFixture, snackFixture, nopInFixture, scsiResponseFixture, taskManagementResponseFixture, loginResponseFixture,
		textResponseFixture, dataInFixture, logoutResponseFixture, r2tFixture, asyncMessageFixture, rejectFixture,
	} {
		f.Add(wire(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < HeaderLength {
			return
		}
		h := (*BHS)(b)
		stable(t, h, DecodeNOPOut)
		stable(t, h, DecodeSCSICommand)
		stable(t, h, DecodeTaskManagementRequest)
		stable(t, h, DecodeLoginRequest)
		stable(t, h, DecodeTextRequest)
		stable(t, h, DecodeDataOut)
		stable(t, h, DecodeLogoutRequest)
		stable(t, h, DecodeSNACK)
		stable(t, h, DecodeNOPIn)
		stable(t, h, DecodeSCSIResponse)
		stable(t, h, DecodeTaskManagementResponse)
		stable(t, h, DecodeLoginResponse)
		stable(t, h, DecodeTextResponse)
		stable(t, h, DecodeDataIn)
		stable(t, h, DecodeLogoutResponse)
		stable(t, h, DecodeR2T)
		stable(t, h, DecodeAsyncMessage)
		stable(t, h, DecodeReject)
	})
}

func FuzzSplit(f *testing.F) {
	var h BHS
	NOPOut{Immediate: true, ITT: 1, TTT: NoTag}.Encode(&h)
	for i := range 4 {
		fr := Framing{i&1 != 0, i&2 != 0, 64}
		f.Add(fr.AppendPacket(nil, &h, make([]byte, 8), []byte("ping data")), fr.HeaderDigest, fr.DataDigest)
	}
	f.Fuzz(func(t *testing.T, b []byte, header, data bool) {
		fr := Framing{header, data, 64}
		p, n, need, err := fr.Split(b)
		if err != nil {
			if n != 0 || need != 0 && need <= len(b) || need > HeaderLength+1020+4+64+4 {
				t.Fatalf("took %d, needs %d of %d: %v", n, need, len(b), err)
			}
			return
		}
		if n > len(b) || len(p.Data) > 64 || len(p.Data) != int(p.BHS.DataSegmentLength()) || len(p.AHS) != p.BHS.TotalAHSLength() {
			t.Fatalf("took %d of %d: %+v", n, len(b), p)
		}
	})
}

func FuzzCommandAHS(f *testing.F) {
	f.Add(CommandAHS{ExtendedCDB: make([]byte, 16), HasBidiRead: true, BidiRead: 5}.Append(nil))
	f.Add([]byte{0, 0, 1, 0})
	f.Add([]byte{0, 6, 1, 0, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := DecodeCommandAHS(b)
		if err != nil {
			return
		}
		c, err := DecodeCommandAHS(a.Append(nil))
		if err != nil || !bytes.Equal(a.ExtendedCDB, c.ExtendedCDB) || a.HasBidiRead != c.HasBidiRead || a.BidiRead != c.BidiRead || a.Len() > len(b) {
			t.Fatalf("decode of encode of %+v: %+v, %v", a, c, err)
		}
	})
}

func FuzzSplitSense(f *testing.F) {
	f.Add([]byte{0, 2, 0x70, 0, 1})
	f.Add([]byte{0xff, 0xff, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		sense, rest, err := SplitSense(b)
		if err == nil && len(b) > 0 && !bytes.Equal(append(AppendSense(nil, sense), rest...), b) {
			t.Fatalf("%x came apart as %x and %x", b, sense, rest)
		}
	})
}

func FuzzText(f *testing.F) {
	f.Add([]byte("InitiatorName=iqn.2026-11.x:a\x00HeaderDigest=CRC32C,None\x00"))
	f.Add([]byte("A=\x00\x00"))
	f.Add([]byte("CHAP_R=0b" + "AAAA\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		text, err := ParseText(b)
		if err != nil {
			return
		}
		if out := text.Append(nil); !bytes.Equal(out, b) || text.Len() != len(b) {
			t.Fatalf("%q became %q", b, out)
		}
		_ = text.String()
	})
}

func FuzzDecodeBinary(f *testing.F) {
	for _, s := range []string{"0x00", "0xabc", "0bAQ==", "0bAQI=", "0b====", "0b\n", "0x"} {
		f.Add(s, 16)
	}
	f.Fuzz(func(t *testing.T, s string, size int) {
		buf := bytes.Repeat([]byte{0xee}, 1100)
		size = min(max(size, 0), MaxCHAPBinary)
		n, err := DecodeBinary(buf[:size], s)
		if n > size || err == nil && n == 0 || !bytes.Equal(buf[size:], bytes.Repeat([]byte{0xee}, 1100-size)) {
			t.Fatalf("%q into %d bytes: %d, %v", s, size, n, err)
		}
		if err != nil {
			return
		}
		again := make([]byte, size)
		if m, err := DecodeBinary(again, EncodeBinary(buf[:n])); err != nil || !bytes.Equal(again[:m], buf[:n]) {
			t.Fatalf("%x became %x, %v", buf[:n], again[:m], err)
		}
	})
}

// FuzzNegotiation gives both sides arbitrary text in every stage; a negotiation that succeeds keeps the rules.
func FuzzNegotiation(f *testing.F) {
	f.Add([]byte("InitiatorName=iqn.2026-11.x:a\x00TargetName=iqn.2026-11.x:t\x00"), []byte("MaxBurstLength=512\x00FirstBurstLength=512\x00InitialR2T=No\x00"))
	f.Add([]byte("InitiatorName=iqn.2026-11.x:a\x00SessionType=Discovery\x00"), []byte("HeaderDigest=CRC32C,None\x00X-a=b\x00IFMarker=Yes\x00"))
	f.Add([]byte(""), []byte("HeaderDigest=None\x00DataDigest=None\x00TargetPortalGroupTag=1\x00"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		for _, role := range []Role{Initiator, Target} {
			n := newNegotiator(t, role, initiatorSettings())
			n.Offer(SecurityNegotiation)
			stages := []Stage{SecurityNegotiation, OperationalNegotiation, FullFeaturePhase}
			for i, b := range [][]byte{first, second, second} {
				in, err := ParseText(b)
				if err != nil {
					return
				}
				out, err := n.Receive(stages[i], in)
				if err != nil {
					break
				}
				if _, err := ParseText(out.Append(nil)); err != nil {
					t.Fatalf("the answer %q is ill-formed: %v", out, err)
				}
				n.Offer(stages[i])
			}
			p, err := n.Finish()
			if err == nil && (p.FirstBurstLength > p.MaxBurstLength || p.FirstBurstLength < 512 || p.MaxBurstLength > 262144 ||
				p.MaxSendDataSegmentLength < 512 || p.MaxSendDataSegmentLength > MaxDataSegmentLength || p.MaxConnections != 1 || p.MaxOutstandingR2T != 1 ||
				!p.InitialR2T || p.HeaderDigest != DigestNone) {
				t.Fatalf("%v: %+v", role, p)
			}
		}
	})
}

// FuzzCHAP gives both sides arbitrary text; nobody who does not know a secret is ever let in.
func FuzzCHAP(f *testing.F) {
	f.Add([]byte("AuthMethod=CHAP\x00"), []byte("CHAP_A=5\x00CHAP_I=1\x00CHAP_C=0x11\x00"), []byte("CHAP_N=alice\x00CHAP_R=0x11\x00"))
	f.Add([]byte("AuthMethod=CHAP,None\x00"), []byte("CHAP_A=8,5\x00"), []byte("CHAP_N=alice\x00CHAP_R=0x\x00CHAP_I=1\x00CHAP_C=0bAAAA\x00"))
	f.Fuzz(func(t *testing.T, m1, m2, m3 []byte) {
		a, _ := NewInitiatorAuth(InitiatorAuthSettings{CHAP: Credentials{"alice", sec(secretA)}, Mutual: Credentials{"storage", sec(secretB)}})
		b, _ := NewTargetAuth(TargetAuthSettings{Lookup: lookup("alice", secretA), Required: true, CHAP: Credentials{"storage", sec(secretB)}})
		a.Start()
		var ae, be error
		for _, m := range [][]byte{m1, m2, m3, m3} {
			in, err := ParseText(m)
			if err != nil {
				return
			}
			if ae == nil {
				_, ae = a.Receive(in)
			}
			if be == nil {
				_, be = b.Receive(in)
			}
		}
		if b.Done() || a.Finish() == nil {
			t.Fatalf("let in by %q %q %q", m1, m2, m3)
		}
	})
}

func FuzzTargetAddress(f *testing.F) {
	for _, s := range []string{"10.0.0.1:5003,1", "[1080::8:800:200C:417A]:5003,1", "host", "[::1%eth0]", "::1", "h:0", "h:99999,70000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseTargetAddress(s)
		if err != nil {
			return
		}
		if b, err := ParseTargetAddress(a.String()); err != nil || a != b || a.Port == 0 || a.Host == "" {
			t.Fatalf("%q: %+v, then %+v, %v", s, a, b, err)
		}
	})
}

func FuzzSendTargets(f *testing.F) {
	f.Add([]byte("TargetName=iqn.2026-11.x:t\x00TargetAddress=10.0.0.1:3260,1\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseSendTargets(b, 8)
		if err != nil {
			return
		}
		n := len(r)
		for _, x := range r {
			n += len(x.Addresses)
		}
		if n > 8 {
			t.Fatalf("%d entries", n)
		}
		if _, err := ParseSendTargets(SendTargetsText(r).Append(nil), 8); err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
	})
}
