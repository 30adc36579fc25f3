// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	wire "pathgate/internal/iscsi"
)

func kv(key, value string) wire.KeyValue { return wire.KeyValue{Key: key, Value: value} }

// refusedWith demands a Login Response with status, and the end.
func (r *raw) refusedWith(status wire.LoginStatus) wire.Text {
	r.tb.Helper()
	p, text := r.loginAnswer()
	if p.Status != status {
		r.tb.Errorf("login status %v, want %v", p.Status, status)
	}
	r.closed()
	return text
}

func TestB12FirstPDUs(t *testing.T) {
	b := offer(t, Config{})
	flags := func(f byte) func(*raw) {
		return func(r *raw) {
			var h wire.BHS
			wire.LoginRequest{CurrentStage: wire.OperationalNegotiation, ISID: r.isid, ITT: 7, CmdSN: r.cmdSN}.Encode(&h)
			h[1] = f
			r.write(wire.LoginFraming().AppendPacket(nil, &h, nil, r.fast().Append(nil)))
		}
	}
	for _, tt := range []struct {
		name   string
		send   func(r *raw)
		silent bool
		want   wire.LoginStatus
	}{
		{"NOP-Out first", func(r *raw) { r.pdu(wire.NOPOut{Immediate: true, ITT: 1, TTT: wire.NoTag}, nil) }, true, 0},
		{"SCSI Command first", func(r *raw) { r.pdu(r.scsiRead(0, 1), nil) }, true, 0},
		{"target's opcode first", func(r *raw) { r.pdu(wire.NOPIn{ITT: 1, TTT: wire.NoTag}, nil) }, true, 0},
		{"Text Request after a login request", func(r *raw) {
			r.loginPDU(wire.OperationalNegotiation, wire.OperationalNegotiation, r.fast())
			r.loginAnswer()
			r.pdu(wire.TextRequest{Final: true, ITT: 7, TTT: wire.NoTag}, nil)
		}, false, wire.LoginInvalidDuringLogin},
		{"reserved current stage", flags(2 << 2), false, wire.LoginInitiatorError},
		{"full feature phase as current stage", flags(3 << 2), false, wire.LoginInitiatorError},
		{"reserved next stage", flags(0x80 | 1<<2 | 2), false, wire.LoginInitiatorError},
		{"next stage backwards", flags(0x80 | 1<<2), false, wire.LoginInitiatorError},
		{"T and C", flags(0xc0 | 1<<2 | 3), false, wire.LoginInitiatorError},
		{"stage goes backwards", func(r *raw) {
			r.loginPDU(wire.OperationalNegotiation, wire.OperationalNegotiation, r.fast())
			r.loginAnswer()
			r.loginPDU(wire.SecurityNegotiation, wire.SecurityNegotiation, nil)
		}, false, wire.LoginInitiatorError},
		{"ISID changes", func(r *raw) {
			r.loginPDU(wire.OperationalNegotiation, wire.OperationalNegotiation, r.fast())
			r.loginAnswer()
			r.isid[5]++
			r.loginPDU(wire.OperationalNegotiation, wire.FullFeaturePhase, nil)
		}, false, wire.LoginInitiatorError},
		{"additional header", func(r *raw) {
			r.write(r.bytes(wire.LoginRequest{CurrentStage: wire.OperationalNegotiation, ISID: r.isid, ITT: 7}, make([]byte, 8), nil))
		}, false, wire.LoginInitiatorError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := b.dial(t)
			tt.send(r)
			if tt.silent {
				r.closed()
			} else {
				r.refusedWith(tt.want)
			}
		})
	}
	b.idle(t)
	b.session(t).ping()
}

// Login in full feature phase: told, and the session ends.
func TestB12LateLogin(t *testing.T) {
	b := offer(t, Config{})
	r := b.session(t)
	r.pdu(wire.LoginRequest{Transit: true, CurrentStage: wire.OperationalNegotiation, NextStage: wire.FullFeaturePhase, ISID: r.isid, ITT: 7}, nil)
	r.refusedWith(wire.LoginInvalidDuringLogin)
	b.idle(t)
}

func TestB13WhoAndWhere(t *testing.T) {
	b := offer(t, Config{})
	live := b.session(t)
	var tsih uint16
	for _, s := range b.Sessions() {
		tsih = s.TSIH
	}
	for _, tt := range []struct {
		name   string
		change func(r *raw, p *wire.LoginRequest)
		text   wire.Text
		want   wire.LoginStatus
	}{
		{"version", func(_ *raw, p *wire.LoginRequest) { p.VersionMin, p.VersionMax = 1, 1 }, live.fast(), wire.LoginUnsupportedVersion},
		{"no initiator name", nil, wire.Text{kv(wire.KeyTargetName, testTarget)}, wire.LoginMissingParameter},
		{"no target name", nil, wire.Text{kv(wire.KeyInitiatorName, testInitiator)}, wire.LoginMissingParameter},
		{"no text at all", nil, nil, wire.LoginMissingParameter},
		{"unknown session type", nil, append(live.fast()[:1:1], kv(wire.KeySessionType, "Other")), wire.LoginSessionTypeNotSupported},
		{"unknown target", nil, append(live.fast()[:1:1], kv(wire.KeyTargetName, testTarget+"0")), wire.LoginNotFound},
		{"unknown session", func(_ *raw, p *wire.LoginRequest) { p.TSIH = tsih + 1 }, live.fast(), wire.LoginSessionDoesNotExist},
		{"session of another initiator", func(r *raw, p *wire.LoginRequest) { p.TSIH, p.ISID[5] = tsih, r.isid[5]+1 }, live.fast(), wire.LoginSessionDoesNotExist},
		{"second connection", func(_ *raw, p *wire.LoginRequest) { p.TSIH = tsih }, live.fast(), wire.LoginCantIncludeInSession},
		{"ill-formed name", nil, wire.Text{kv(wire.KeyInitiatorName, "iqn.<b>"), kv(wire.KeyTargetName, testTarget)}, wire.LoginInitiatorError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := b.dial(t)
			p := wire.LoginRequest{
				Transit: true, CurrentStage: wire.OperationalNegotiation, NextStage: wire.FullFeaturePhase, ISID: r.isid, ITT: 7, CmdSN: r.cmdSN,
			}
			if tt.change != nil {
				tt.change(r, &p)
			}
			r.pdu(p, tt.text.Append(nil))
			r.refusedWith(tt.want)
		})
	}
	live.ping()
}

func TestB14Text(t *testing.T) {
	b := offer(t, Config{LoginTimeout: 10 * time.Second})
	names := newRaw(t, nobody()).fast().Append(nil)
	many := func(n int) []byte {
		var text wire.Text
		for i := range n {
			text.Add(fmt.Sprintf("X-k%d", i), "v")
		}
		return text.Append(nil)
	}
	for _, tt := range []struct {
		name string
		data []byte
		want wire.LoginStatus
	}{
		{"no equals sign", []byte("InitiatorName\x00"), wire.LoginInitiatorError},
		{"no null byte", []byte("InitiatorName=iqn.x"), wire.LoginInitiatorError},
		{"long key", []byte("X" + strings.Repeat("k", 63) + "=v\x00"), wire.LoginInitiatorError},
		{"long value", []byte("X-key=" + strings.Repeat("v", 256) + "\x00"), wire.LoginInitiatorError},
		{"key twice", append(bytes.Clone(names), names...), wire.LoginInitiatorError},
		{"90 unknown keys", append(bytes.Clone(names), many(90)...), wire.LoginInitiatorError},
		{"800 unknown keys", append(bytes.Clone(names), many(800)...), wire.LoginInitiatorError},
		{"8192 bytes of nothing", make([]byte, 8192), wire.LoginInitiatorError},
		{"8189 bytes", append(bytes.Clone(names), bytes.Repeat([]byte{'a'}, 8189-len(names))...), wire.LoginInitiatorError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := b.dial(t)
			r.pdu(wire.LoginRequest{Transit: true, CurrentStage: wire.OperationalNegotiation, NextStage: wire.FullFeaturePhase, ISID: r.isid, ITT: 7}, tt.data)
			r.refusedWith(tt.want)
		})
	}
	t.Run("endless C bit", func(t *testing.T) {
		r := b.dial(t)
		for range 64 {
			r.pdu(wire.LoginRequest{Continue: true, CurrentStage: wire.OperationalNegotiation, ISID: r.isid, ITT: 7}, []byte("Initiator"))
			p, text := r.loginAnswer()
			if p.Status != wire.LoginSuccess {
				r.closed()
				return
			}
			if len(text) != 0 || p.Transit {
				t.Errorf("a part was answered with %v", text)
			}
		}
		t.Error("64 parts were taken")
	})
	t.Run("endless requests", func(t *testing.T) {
		r := b.dial(t)
		text := r.fast()
		for range 64 {
			r.loginPDU(wire.OperationalNegotiation, wire.OperationalNegotiation, text)
			text = nil
			if p, _ := r.loginAnswer(); p.Status != wire.LoginSuccess {
				r.closed()
				return
			}
		}
		t.Error("64 requests were taken")
	})
	t.Run("cut into single bytes", func(t *testing.T) {
		r := b.dial(t)
		data := wire.Text{kv(wire.KeyInitiatorName, testInitiator), kv(wire.KeyTargetName, testTarget)}.Append(nil)
		parts := [][]byte{data[:1], data[1:20], data[20:21], data[21:]}
		for i, p := range parts {
			last := i == len(parts)-1
			r.pdu(wire.LoginRequest{
				Transit: last, Continue: !last, CurrentStage: wire.OperationalNegotiation, NextStage: wire.FullFeaturePhase, ISID: r.isid, ITT: 7,
			}, p)
			resp, _ := r.loginAnswer()
			if resp.Status != wire.LoginSuccess || resp.Transit != last {
				t.Fatalf("part %d: %+v", i, resp)
			}
		}
	})
	b.session(t).ping()
}

// B15: what stands directly behind the last Login Request belongs to the full
// feature phase.
func TestB15Pipelined(t *testing.T) {
	b := offer(t, Config{})
	r := b.dial(t)
	buf := r.bytes(wire.LoginRequest{
		Transit: true, CurrentStage: wire.OperationalNegotiation, NextStage: wire.FullFeaturePhase, ISID: r.isid, ITT: 7, CmdSN: r.cmdSN,
	}, nil, r.fast(kv(wire.KeyHeaderDigest, "CRC32C"), kv(wire.KeyDataDigest, "CRC32C")).Append(nil))
	digests := wire.Framing{HeaderDigest: true, DataDigest: true, MaxData: 8192}
	r.send = digests
	buf = append(buf, r.bytes(wire.NOPOut{Immediate: true, ITT: 9, TTT: wire.NoTag, CmdSN: r.cmdSN}, nil, []byte("behind"))...)
	r.write(buf)
	if p, text := r.loginAnswer(); p.Status != wire.LoginSuccess || !p.Transit {
		t.Fatalf("%+v %v", p, text)
	}
	r.recv = digests
	if h, data := r.expect(wire.OpNOPIn); h.ITT() != 9 || string(data) != "behind" {
		t.Errorf("got %d %q", h.ITT(), data)
	}
}

// B15, B6: without digests where digests were agreed, the connection ends.
func TestB15PipelinedWithoutDigest(t *testing.T) {
	b := offer(t, Config{})
	r := b.dial(t)
	buf := r.bytes(wire.LoginRequest{
		Transit: true, CurrentStage: wire.OperationalNegotiation, NextStage: wire.FullFeaturePhase, ISID: r.isid, ITT: 7, CmdSN: r.cmdSN,
	}, nil, r.fast(kv(wire.KeyHeaderDigest, "CRC32C")).Append(nil))
	nop := r.bytes(wire.NOPOut{Immediate: true, ITT: 9, TTT: wire.NoTag, CmdSN: r.cmdSN}, nil, []byte("behind"))
	r.write(append(buf, nop...))
	r.loginAnswer()
	r.closed()
	b.idle(t)
}

func TestB16SlowAndHalfLogins(t *testing.T) {
	b := offer(t, Config{LoginTimeout: 300 * time.Millisecond, MaxLoginsPerAddress: 4})
	text := newRaw(t, nobody()).fast().Append(nil)
	var held []*raw
	for range 4 {
		r := b.dial(t)
		r.write(r.bytes(wire.LoginRequest{CurrentStage: wire.OperationalNegotiation, ITT: 7}, nil, text)[:50])
		held = append(held, r)
	}
	eventually(t, "four logins", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.logins == 4
	})
	b.dial(t).closed() // one too many
	for _, r := range held {
		r.closed() // by the deadline
	}
	b.idle(t)
	b.session(t).ping()
}

// nobody is a connection that nobody serves.
func nobody() net.Conn {
	near, _ := net.Pipe()
	return near
}

func TestLoginInTwoStages(t *testing.T) {
	b := offer(t, Config{})
	r := b.dial(t)
	r.loginPDU(wire.SecurityNegotiation, wire.OperationalNegotiation, r.fast(kv(wire.KeyAuthMethod, "CHAP,None")))
	p, text := r.loginAnswer()
	if v, _ := text.Get(wire.KeyAuthMethod); !p.Transit || p.NextStage != wire.OperationalNegotiation || v != "None" {
		t.Fatalf("%+v %v", p, text)
	}
	if v, _ := text.Get(wire.KeyTargetPortalGroupTag); v != "1" {
		t.Errorf("TargetPortalGroupTag %q", v)
	}
	r.loginPDU(wire.OperationalNegotiation, wire.FullFeaturePhase, wire.Text{
		kv(wire.KeyMaxBurstLength, "16776192"), kv(wire.KeyFirstBurstLength, "512"), kv(wire.KeyErrorRecoveryLevel, "2"),
		kv(wire.KeyMaxConnections, "8"), kv(wire.KeyInitialR2T, "No"), kv(wire.KeyMaxOutstandingR2T, "65535"), kv(wire.KeyDataPDUInOrder, "No"),
	})
	p, text = r.loginAnswer()
	for _, want := range []wire.KeyValue{
		kv(wire.KeyMaxBurstLength, "1048576"), kv(wire.KeyFirstBurstLength, "512"), kv(wire.KeyErrorRecoveryLevel, "0"),
		kv(wire.KeyMaxConnections, "1"), kv(wire.KeyInitialR2T, "No"), kv(wire.KeyMaxOutstandingR2T, "4"), kv(wire.KeyDataPDUInOrder, "Yes"),
		kv(wire.KeyMaxRecvDataSegmentLength, "262144"),
	} {
		if v, _ := text.Get(want.Key); v != want.Value {
			t.Errorf("%s=%s, want %s", want.Key, v, want.Value)
		}
	}
	if !p.Transit || p.TSIH == 0 || p.NextStage != wire.FullFeaturePhase {
		t.Errorf("%+v", p)
	}
}

// The commands of a session begin with the CmdSN of its first Login Request, and each
// answer says so, whatever CmdSN a later request has. RFC 7143 11.12.8 (CmdSN).
func TestB12CmdSNChanges(t *testing.T) {
	b := offer(t, Config{})
	r := b.dial(t)
	first := r.cmdSN
	r.loginPDU(wire.SecurityNegotiation, wire.OperationalNegotiation, r.fast(kv(wire.KeyAuthMethod, "None")))
	r.loginAnswer()
	r.cmdSN = first.Add(1 << 20)
	r.loginPDU(wire.OperationalNegotiation, wire.FullFeaturePhase, nil)
	p, _ := r.loginAnswer()
	if !p.Transit || p.ExpCmdSN != first || p.MaxCmdSN.Less(first) {
		t.Errorf("%+v, want ExpCmdSN %v", p, first)
	}
	r.cmdSN = first
	r.ping()
}

// An initiator that offers no digest, and one that leaves out the operational stage,
// do not get past a target that requires one.
func TestDigestsRequired(t *testing.T) {
	b := offer(t, Config{HeaderDigest: DigestRequire, DataDigest: DigestRequire})
	r := b.dial(t)
	r.loginPDU(wire.SecurityNegotiation, wire.FullFeaturePhase, r.fast())
	if p, _ := r.loginAnswer(); p.NextStage != wire.OperationalNegotiation || !p.Transit {
		t.Fatalf("%+v", p)
	}
	r.loginPDU(wire.OperationalNegotiation, wire.FullFeaturePhase, nil)
	p, text := r.loginAnswer()
	if v, _ := text.Get(wire.KeyDataDigest); p.Transit || v != "CRC32C" {
		t.Fatalf("%+v %v", p, text)
	}
	r.loginPDU(wire.OperationalNegotiation, wire.FullFeaturePhase, wire.Text{kv(wire.KeyHeaderDigest, "CRC32C"), kv(wire.KeyDataDigest, "None")})
	r.refusedWith(wire.LoginInitiatorError)

	r = b.dial(t)
	r.login(func(s *wire.Settings) {
		s.HeaderDigest, s.DataDigest = []wire.Digest{wire.DigestCRC32C, wire.DigestNone}, []wire.Digest{wire.DigestCRC32C}
	})
	r.ping()
	off := offer(t, Config{HeaderDigest: DigestOff, DataDigest: DigestOff})
	r = off.dial(t)
	r.login(func(s *wire.Settings) { s.HeaderDigest = []wire.Digest{wire.DigestCRC32C, wire.DigestNone} })
	if r.params.HeaderDigest != wire.DigestNone {
		t.Error("a digest was agreed on")
	}
	r.ping()
}

func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want wire.LoginStatus
		to   string
	}{
		{ErrNotFound, wire.LoginNotFound, ""},
		{ErrRemoved, wire.LoginTargetRemoved, ""},
		{fmt.Errorf("vm1: %w", ErrForbidden), wire.LoginAuthorizationFailure, ""},
		{ErrUnavailable, wire.LoginServiceUnavailable, ""},
		{io.ErrUnexpectedEOF, wire.LoginTargetError, ""},
		{&MovedError{To: wire.TargetAddress{Host: "2001:db8::1", Port: 3261}}, wire.LoginTargetMovedTemporarily, "[2001:db8::1]:3261"},
		{&MovedError{To: wire.TargetAddress{Host: "192.0.2.1", Port: 3260}, Permanent: true}, wire.LoginTargetMovedPermanently, "192.0.2.1:3260"},
	} {
		t.Run(tt.err.Error(), func(t *testing.T) {
			s := newSource().add(t, testTarget, memory(t))
			s.may = func(*Peer, string) error { return tt.err }
			b := serve(t, Config{}, s)
			r := b.dial(t)
			r.loginPDU(wire.OperationalNegotiation, wire.FullFeaturePhase, r.fast())
			text := r.refusedWith(tt.want)
			if v, _ := text.Get(wire.KeyTargetAddress); v != tt.to {
				t.Errorf("TargetAddress=%s, want %s", v, tt.to)
			}
			b.idle(t)
		})
	}
}
