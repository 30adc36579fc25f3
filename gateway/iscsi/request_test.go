// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	wire "pathgate/internal/iscsi"
	spc "pathgate/internal/scsi"
)

// digests has a login use both.
func digests(s *wire.Settings) {
	s.HeaderDigest, s.DataDigest = []wire.Digest{wire.DigestCRC32C}, []wire.Digest{wire.DigestCRC32C}
}

// B1: a stream that ends at any byte of a PDU carries nothing out and leaves nothing.
func TestB01CutStream(t *testing.T) {
	m := memory(t)
	b := serve(t, Config{}, newSource().add(t, testTarget, m))
	fill := bytes.Repeat([]byte{0xee}, 512)
	probe := newRaw(t, nobody())
	c := probe.scsiWrite(0, 1)
	c.TotalAHSLength = 8
	probe.send = wire.Framing{HeaderDigest: true, DataDigest: true, MaxData: 8192}
	ahs := wire.CommandAHS{HasBidiRead: true}.Append(nil)
	whole := len(probe.bytes(c, ahs, fill))
	for cut := 0; cut < whole; cut += 1 + cut%7 {
		r := b.dial(t)
		r.login(digests)
		c := r.scsiWrite(0, 1)
		r.write(r.bytes(c, ahs, fill)[:cut])
		if err := r.conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		r.closed()
	}
	b.idle(t)
	r := b.session(t)
	read := r.scsiRead(0, 1)
	r.pdu(read, nil)
	if data, _ := r.readData(read.ITT); !bytes.Equal(data, make([]byte, 512)) {
		t.Error("a write that was cut has changed the disk")
	}
}

func TestB02Opcodes(t *testing.T) {
	b := offer(t, Config{})
	r := b.session(t)
	for _, op := range []byte{0x07, 0x08, 0x0f, 0x11, 0x1c, 0x1f, 0x20, 0x21, 0x25, 0x30, 0x31, 0x3f} {
		var h wire.BHS
		h[0], h[1] = op, 0x80
		r.write(r.send.AppendPacket(nil, &h, nil, []byte("some data")))
		r.reject(wire.RejectCommandNotSupported)
	}
	r.ping()
}

func TestB03IllegalHeaders(t *testing.T) {
	b := offer(t, Config{})
	patch := func(f func(h *wire.BHS)) func(r *raw) []byte {
		return func(r *raw) []byte {
			var h wire.BHS
			r.scsiWrite(0, 1).Encode(&h)
			f(&h)
			return h[:]
		}
	}
	for _, tt := range []struct {
		name string
		pdu  func(r *raw) []byte
	}{
		{"data segment too long", patch(func(h *wire.BHS) { h.SetDataSegmentLength(DefaultMaxRecvDataSegmentLength + 1) })},
		{"longest data segment", patch(func(h *wire.BHS) { h.SetDataSegmentLength(1<<24 - 1) })},
		{"reserved task attribute", patch(func(h *wire.BHS) { h[1] |= 7 })},
		{"no task tag", patch(func(h *wire.BHS) { copy(h[16:], "\xff\xff\xff\xff") })},
		{"neither W nor F", patch(func(h *wire.BHS) { h[1] = 0x40 })},
		{"length without direction", patch(func(h *wire.BHS) { h[1] = 0x80 })},
		{"text of 17 KiB", func(r *raw) []byte {
			return r.bytes(wire.TextRequest{Final: true, ITT: 1, TTT: wire.NoTag, CmdSN: r.cmdSN}, nil, make([]byte, 17<<10))
		}},
		{"text with C and F", patch(func(h *wire.BHS) { h[0], h[1] = 4, 0xc0 })},
		{"NOP-Out without tag, not immediate", func(r *raw) []byte {
			return r.bytes(wire.NOPOut{ITT: wire.NoTag, TTT: wire.NoTag, CmdSN: r.cmdSN}, nil, nil)
		}},
		{"logout for an unknown reason", patch(func(h *wire.BHS) { h[0], h[1] = 6, 0x85 })},
		{"task management with data", patch(func(h *wire.BHS) { h[0], h[1] = 0x42, 0x82; h.SetDataSegmentLength(4) })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := b.session(t)
			_, _ = r.conn.Write(tt.pdu(r))
			_, _ = r.conn.Write(make([]byte, 64))
			r.closed()
		})
	}
	b.idle(t)
}

func TestB04AdditionalHeaders(t *testing.T) {
	b := offer(t, Config{})
	r := b.session(t)
	long := wire.CommandAHS{ExtendedCDB: make([]byte, 16)}.Append(nil)
	bidi := wire.CommandAHS{HasBidiRead: true, BidiRead: 512}.Append(nil)
	reject := func(name string, c wire.SCSICommand, ahs []byte, why wire.RejectReason) {
		c.TotalAHSLength = len(ahs)
		r.write(r.bytes(c, ahs, nil))
		r.cmdSN = c.CmdSN // it does not count
		t.Log(name)
		r.reject(why)
	}
	tur := func() wire.SCSICommand { return r.command([]byte{0}) }
	reject("runt", tur(), []byte{0, 0, 1, 0}, wire.RejectProtocolError)
	reject("AHSLength 0", tur(), []byte{0, 0, 1, 0, 0, 0, 0, 0}, wire.RejectProtocolError)
	reject("AHSLength beyond the end", tur(), []byte{0xff, 0xff, 1, 0, 0, 0, 0, 0}, wire.RejectProtocolError)
	reject("reserved type", tur(), []byte{0, 5, 0x3f, 0, 0, 0, 0, 0}, wire.RejectProtocolError)
	reject("twice", tur(), append(bytes.Clone(bidi), bidi...), wire.RejectProtocolError)
	reject("1020 bytes of nothing", tur(), make([]byte, 1020), wire.RejectProtocolError)
	reject("long CDB with a short opcode", tur(), long, wire.RejectInvalidPDUField)
	c := r.command([]byte{0x7f, 0, 0, 0, 0, 0, 0, 24})
	c.TotalAHSLength = len(long)
	r.write(r.bytes(c, long, nil))
	r.check(c.ITT, spc.CodeInvalidOpcode)
	r.write(r.bytes(wire.NOPOut{Immediate: true, ITT: 1, TTT: wire.NoTag}, bidi, []byte("data")))
	r.reject(wire.RejectProtocolError)
	w := r.scsiWrite(0, 1)
	w.Read, w.TotalAHSLength = true, len(bidi)
	r.write(r.bytes(w, bidi, make([]byte, 512)))
	if p, _ := r.status(w.ITT); p.Status != uint8(spc.StatusCheckCondition) {
		t.Errorf("bidirectional command: status %#x", p.Status)
	}
	r.ping()
}

// B7: a CmdSN outside the window is ignored, also around the wrap; a gap is held.
func TestB07CmdSN(t *testing.T) {
	b := offer(t, Config{QueueDepth: 8})
	for _, first := range []uint32{100, 1<<32 - 3, 1<<31 - 2} {
		r := b.dial(t)
		r.cmdSN = wire.SerialOf(first)
		r.login(nil)
		r.attention()
		base := r.cmdSN
		tur := func(sn wire.Serial) wire.InitiatorTaskTag {
			c := r.command([]byte{0})
			c.CmdSN = sn
			r.pdu(c, nil)
			return c.ITT
		}
		tur(base.Prev())
		tur(base.Add(8))
		tur(base.Add(1 << 31))
		tur(base.Add(0xffff))
		r.ping() // none of them was answered
		late := []wire.InitiatorTaskTag{tur(base.Add(3)), tur(base.Add(1)), tur(base.Add(2))}
		tur(base.Add(2)) // twice
		nop := r.tag()
		r.pdu(wire.NOPOut{ITT: nop, TTT: wire.NoTag, CmdSN: base.Add(4)}, []byte("held"))
		r.pdu(wire.TextRequest{Final: true, ITT: r.tag(), TTT: wire.NoTag, CmdSN: base.Add(5)}, []byte("SendTargets=\x00"))
		r.ping()
		now := tur(base)
		if h, data := r.expect(wire.OpNOPIn); h.ITT() != nop || string(data) != "held" || h.ExpCmdSN() != base.Add(5) {
			t.Errorf("%d %q, ExpCmdSN %v", h.ITT(), data, h.ExpCmdSN())
		}
		if _, data := r.expect(wire.OpTextResponse); !strings.Contains(string(data), testTarget) {
			t.Errorf("text %q", data)
		}
		r.goods(now, late[1], late[2], late[0])
		r.cmdSN = base.Add(6)
		r.goods(tur(r.next()))
		_ = r.conn.Close()
		b.idle(t)
	}
}

// goods demands GOOD for all tags, in order.
func (r *raw) goods(tags ...wire.InitiatorTaskTag) {
	r.tb.Helper()
	for _, itt := range tags {
		r.good(itt)
	}
}

// A peer that sends much for later turns is cut off.
func TestB07HeldData(t *testing.T) {
	b := offer(t, Config{})
	r := b.session(t)
	r.next()
	for range 8 {
		_, err := r.conn.Write(r.bytes(wire.NOPOut{ITT: r.tag(), TTT: wire.NoTag, CmdSN: r.next()}, nil, make([]byte, 200<<10)))
		if err != nil {
			break
		}
	}
	r.closed()
	b.idle(t)
}

func TestB22NOPOut(t *testing.T) {
	b := offer(t, Config{})
	r := b.dial(t)
	r.login(func(s *wire.Settings) { s.MaxRecvDataSegmentLength = 512 })
	r.send.MaxData = 64 << 10
	data := bytes.Repeat([]byte("0123456789"), 300)
	r.pdu(wire.NOPOut{Immediate: true, ITT: 5, TTT: wire.NoTag, CmdSN: r.cmdSN}, data)
	if h, got := r.expect(wire.OpNOPIn); h.ITT() != 5 || !bytes.Equal(got, data[:512]) {
		t.Errorf("tag %d, %d bytes", h.ITT(), len(got))
	}
	r.pdu(wire.NOPOut{Immediate: true, ITT: wire.NoTag, TTT: wire.NoTag, CmdSN: r.cmdSN}, data) // no answer
	r.pdu(wire.NOPOut{Immediate: true, ITT: wire.NoTag, TTT: 77, CmdSN: r.cmdSN}, nil)          // an answer to nothing
	var flood []byte
	for range 2000 {
		flood = append(flood, r.bytes(wire.NOPOut{Immediate: true, ITT: 6, TTT: wire.NoTag, CmdSN: r.cmdSN}, nil, nil)...)
	}
	go func() { _, _ = r.conn.Write(flood) }()
	for range 2000 {
		if h, _ := r.expect(wire.OpNOPIn); h.ITT() != 6 {
			t.Fatalf("tag %d", h.ITT())
		}
	}
	r.cmdSN = r.cmdSN.Next()
	r.pdu(wire.NOPOut{ITT: 8, TTT: wire.NoTag, CmdSN: r.cmdSN.Prev()}, nil)
	if h, _ := r.expect(wire.OpNOPIn); h.ExpCmdSN() != r.cmdSN {
		t.Errorf("ExpCmdSN %v, want %v", h.ExpCmdSN(), r.cmdSN)
	}
}

func TestB21SNACK(t *testing.T) {
	b := offer(t, Config{})
	r := b.session(t)
	r.pdu(wire.SNACK{Type: wire.SNACKStatus, ITT: wire.NoTag, Tag: wire.NoTag}, nil)
	r.reject(wire.RejectProtocolError)
	r.pdu(wire.SNACK{Type: wire.SNACKData, ITT: 5, Tag: wire.NoTag}, nil)
	r.reject(wire.RejectProtocolError)
	r.ping()
}

// B6: a wrong header digest ends the connection; a wrong data digest costs the PDU.
func TestB06Digests(t *testing.T) {
	b := offer(t, Config{})
	r := b.dial(t)
	r.login(digests)
	r.attention()
	nop := wire.NOPOut{ITT: r.tag(), TTT: wire.NoTag, CmdSN: r.cmdSN}
	bad := r.bytes(nop, nil, []byte("abcde"))
	bad[52] ^= 1 // data
	r.write(bad)
	r.reject(wire.RejectDataDigest)
	bad = r.bytes(nop, nil, []byte("abcde"))
	bad[52+7] ^= 1 // padding: it belongs to the digest (B5)
	r.write(bad)
	r.reject(wire.RejectDataDigest)
	text := r.bytes(wire.TextRequest{Final: true, ITT: 3, TTT: wire.NoTag, CmdSN: r.cmdSN}, nil, []byte("SendTargets=\x00"))
	text[len(text)-1] ^= 1
	r.write(text)
	r.reject(wire.RejectDataDigest)
	r.pdu(nop, []byte("abcde")) // the CmdSN did not count
	if h, data := r.expect(wire.OpNOPIn); h.ITT() != nop.ITT || string(data) != "abcde" {
		t.Errorf("%d %q", h.ITT(), data)
	}
	bad = r.bytes(nop, nil, []byte("abcde"))
	bad[20] ^= 1
	r.write(bad)
	r.closed()
	b.idle(t)
}

// B5: padding is never data.
func TestB05Padding(t *testing.T) {
	b := offer(t, Config{})
	r := b.session(t)
	p := r.bytes(wire.NOPOut{Immediate: true, ITT: 4, TTT: wire.NoTag, CmdSN: r.cmdSN}, nil, []byte("abcde"))
	copy(p[len(p)-3:], "xyz")
	r.write(p)
	if _, data := r.expect(wire.OpNOPIn); string(data) != "abcde" {
		t.Errorf("got %q", data)
	}
	r.ping()
}

// What one negotiates in full feature phase holds from the answer on; a negotiation
// that fails changes nothing.
func TestTextNegotiation(t *testing.T) {
	b := offer(t, Config{})
	r := b.session(t)
	nop := func() int {
		r.pdu(wire.NOPOut{Immediate: true, ITT: 4, TTT: wire.NoTag, CmdSN: r.cmdSN}, make([]byte, 4096))
		_, data := r.expect(wire.OpNOPIn)
		return len(data)
	}
	if got := r.ask(wire.Text{kv(wire.KeyMaxRecvDataSegmentLength, "1024"), kv(wire.KeyInitiatorAlias, "me"), kv("X-what", "7")}); got != "X-what=NotUnderstood " {
		t.Errorf("got %q", got)
	}
	if n := nop(); n != 1024 {
		t.Errorf("%d bytes of ping data, want 1024", n)
	}
	for _, text := range []wire.Text{
		{kv(wire.KeyMaxRecvDataSegmentLength, "2048"), kv(wire.KeyMaxBurstLength, "512")}, // not in this phase
		{kv(wire.KeyMaxRecvDataSegmentLength, "2048"), kv(wire.KeyMaxRecvDataSegmentLength, "2048")},
		{kv(wire.KeyMaxRecvDataSegmentLength, "1")},
		{kv(wire.KeyTargetAlias, "you")},
	} {
		r.pdu(wire.TextRequest{Final: true, ITT: r.tag(), TTT: wire.NoTag, CmdSN: r.cmdSN}, text.Append(nil))
		r.reject(wire.RejectProtocolError)
	}
	if n := nop(); n != 1024 {
		t.Errorf("%d bytes of ping data after failures, want 1024", n)
	}
	// In two parts, and the second fails: nothing of the first is left.
	r.pdu(wire.TextRequest{ITT: r.tag(), TTT: wire.NoTag, CmdSN: r.next()}, wire.Text{kv(wire.KeyMaxRecvDataSegmentLength, "2048")}.Append(nil))
	h, _ := r.expect(wire.OpTextResponse)
	r.pdu(wire.TextRequest{Final: true, ITT: r.itt, TTT: h.TTT(), CmdSN: r.cmdSN}, []byte("nonsense\x00"))
	r.reject(wire.RejectProtocolError)
	if n := nop(); n != 1024 {
		t.Errorf("%d bytes of ping data, want 1024", n)
	}
	// With the C bit.
	r.pdu(wire.TextRequest{Continue: true, ITT: r.tag(), TTT: wire.NoTag, CmdSN: r.next()}, []byte("MaxRecvDataSegm"))
	h, data := r.expect(wire.OpTextResponse)
	if len(data) != 0 || h.Final() {
		t.Errorf("a part was answered with %q", data)
	}
	r.pdu(wire.TextRequest{Final: true, ITT: r.itt, TTT: h.TTT(), CmdSN: r.next()}, []byte("entLength=2048\x00"))
	if h, _ = r.expect(wire.OpTextResponse); !h.Final() {
		t.Error("not final")
	}
	if n := nop(); n != 2048 {
		t.Errorf("%d bytes of ping data, want 2048", n)
	}
}

func TestLogout(t *testing.T) {
	b := offer(t, Config{})
	r := b.session(t)
	logout := func(p wire.LogoutRequest) wire.LogoutResponse {
		p.ITT, p.CmdSN = r.tag(), r.cmdSN
		if !p.Immediate {
			r.next()
		}
		r.pdu(p, nil)
		h, _ := r.expect(wire.OpLogoutResponse)
		got, err := wire.DecodeLogoutResponse(h)
		if err != nil || got.ITT != p.ITT {
			t.Fatalf("%+v, %v", got, err)
		}
		return got
	}
	if got := logout(wire.LogoutRequest{Reason: wire.LogoutRecovery, CID: 1}); got.Status != wire.LogoutRecoveryNotSupported {
		t.Errorf("recovery: %v", got.Status)
	}
	if got := logout(wire.LogoutRequest{Reason: wire.LogoutCloseConnection, CID: 2, Immediate: true}); got.Status != wire.LogoutCIDNotFound {
		t.Errorf("other connection: %v", got.Status)
	}
	r.ping()
	if got := logout(wire.LogoutRequest{Reason: wire.LogoutCloseConnection, CID: 1}); got.Status != wire.LogoutSuccess {
		t.Errorf("this connection: %v", got.Status)
	}
	if _, _, err := r.read(); !errors.Is(err, io.EOF) {
		t.Errorf("after logout: %v", err)
	}
	b.idle(t)
	r = b.session(t)
	if got := logout(wire.LogoutRequest{Reason: wire.LogoutCloseSession}); got.Status != wire.LogoutSuccess {
		t.Errorf("session: %v", got.Status)
	}
	b.idle(t)
}

// What came together with a logout is answered before it, if it ends at once.
func TestLogoutBehindCommands(t *testing.T) {
	b := offer(t, Config{})
	r := b.session(t)
	w := r.scsiWrite(0, 1)
	all := r.bytes(w, nil, noise(1, 512))
	reset := r.tag()
	all = append(all, r.bytes(wire.TaskManagementRequest{
		Immediate: true, Function: wire.AbortTaskSet, LUN: wire.LUNField{0, 1}, ITT: reset, ReferencedTaskTag: wire.NoTag, CmdSN: r.cmdSN,
	}, nil, nil)...)
	all = append(all, r.bytes(wire.LogoutRequest{Immediate: true, ITT: r.tag(), CmdSN: r.cmdSN}, nil, nil)...)
	r.write(all)
	r.managed(reset, wire.LUNDoesNotExist)
	r.good(w.ITT)
	r.expect(wire.OpLogoutResponse)
	r.closed()
}

// A stop asks initiators to log out; who has not logged in is cut off.
func TestStop(t *testing.T) {
	b := offer(t, Config{DrainTimeout: 20 * time.Second})
	r, half := b.session(t), b.dial(t)
	half.write(make([]byte, 10))
	eventually(t, "two connections", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.conns) == 2
	})
	b.stop()
	h, _ := r.expect(wire.OpAsyncMessage)
	a, err := wire.DecodeAsyncMessage(h)
	if err != nil || a.Event != wire.AsyncLogoutRequest || a.Parameter3 != 20 {
		t.Errorf("%+v, %v", a, err)
	}
	half.closed()
	r.ping() // still served
	r.pdu(wire.LogoutRequest{Reason: wire.LogoutCloseSession, ITT: 3, CmdSN: r.cmdSN}, nil)
	r.expect(wire.OpLogoutResponse)
	r.closed()
	if err := <-b.ended; err != nil {
		t.Error(err)
	}
	b.ended <- nil // for the cleanup
	b.idle(t)
}

// A target that is withdrawn has its sessions asked to leave, and then cut off; those
// of others stay.
func TestWithdraw(t *testing.T) {
	b := serve(t, Config{}, newSource().add(t, testTarget, memory(t)).add(t, testTarget+"2", memory(t)))
	polite, deaf, other := b.session(t), b.dial(t), b.dial(t)
	deaf.isid[5]++
	deaf.login(nil)
	other.login(func(s *wire.Settings) { s.TargetName = testTarget + "2" })
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() {
		b.Withdraw(ctx, testTarget)
		close(gone)
	}()
	polite.expect(wire.OpAsyncMessage)
	deaf.expect(wire.OpAsyncMessage)
	polite.pdu(wire.LogoutRequest{Reason: wire.LogoutCloseSession, ITT: 3, CmdSN: polite.cmdSN}, nil)
	polite.expect(wire.OpLogoutResponse)
	deaf.ping()
	cancel()
	deaf.closed()
	<-gone
	other.ping()
	if list := b.Sessions(); len(list) != 1 || list[0].Target != testTarget+"2" {
		t.Errorf("%+v", list)
	}
}

// B67: one connection too many is told so, and one that leaves makes room.
func TestB67TooMany(t *testing.T) {
	b := offer(t, Config{MaxConnections: 2})
	first, second := b.session(t), b.dial(t)
	second.isid[5]++
	second.login(nil)
	r := b.dial(t)
	r.isid[5] += 2
	r.loginPDU(wire.OperationalNegotiation, wire.FullFeaturePhase, r.fast())
	r.refusedWith(wire.LoginOutOfResources)
	first.ping()
	_ = second.conn.Close()
	eventually(t, "room for another", func() bool {
		r := b.dial(t)
		defer r.conn.Close()
		r.isid[5] += 3
		r.loginPDU(wire.OperationalNegotiation, wire.FullFeaturePhase, r.fast())
		p, _ := r.loginAnswer()
		return p.Status == wire.LoginSuccess
	})
	first.ping()
}

// 200 sessions at once, each with its own blocks.
func TestManySessions(t *testing.T) {
	b := offer(t, Config{})
	all := make([]*raw, 200)
	for i := range all {
		r := b.dial(t)
		r.isid[4] = byte(i)
		r.login(nil)
		r.attention()
		all[i] = r
	}
	for i, r := range all {
		r.transfer(i*4, noise(uint64(i), 2048))
	}
	for i, r := range all {
		r.blocks(i*4, noise(uint64(i), 2048))
	}
	if n := len(b.Sessions()); n != len(all) {
		t.Errorf("%d sessions", n)
	}
}
