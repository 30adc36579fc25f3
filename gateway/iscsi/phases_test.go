// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"bytes"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"

	wire "pathgate/internal/iscsi"
)

// B1 before the login: a stream that ends at any byte of a Login Request leaves nothing.
func TestB01CutLogin(t *testing.T) {
	b := offer(t, Config{})
	whole := recorded(t, func(r *raw) { r.loginPDU(wire.SecurityNegotiation, wire.FullFeaturePhase, r.fast()) })
	for cut := 0; cut < len(whole); cut += 1 + cut%5 {
		r := b.dial(t)
		r.write(whole[:cut])
		if err := r.conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		r.closed()
	}
	b.idle(t)
	b.source.mu.Lock()
	opened := b.source.opened
	b.source.mu.Unlock()
	if opened != 0 {
		t.Error("the target was opened")
	}
	b.session(t).ping()
}

// B2, B3, B4, B21 before the login: nothing is answered but Login Requests, and nothing
// is read that is longer than a login has.
func TestB03BeforeLogin(t *testing.T) {
	b := offer(t, Config{})
	head := func(op byte, f func(h *wire.BHS)) func(r *raw) []byte {
		return func(r *raw) []byte {
			var h wire.BHS
			wire.LoginRequest{CurrentStage: wire.OperationalNegotiation, ISID: r.isid, ITT: 7}.Encode(&h)
			h[0] = op
			if f != nil {
				f(&h)
			}
			return h[:]
		}
	}
	long := func(n uint32) func(h *wire.BHS) {
		return func(h *wire.BHS) { h.SetDataSegmentLength(n) }
	}
	for _, tt := range []struct {
		name string
		pdu  func(r *raw) []byte
	}{
		{"unknown opcode", head(0x1c, nil)},
		{"unknown opcode of a target", head(0x3e, nil)},
		{"SNACK", head(0x10, nil)},
		{"Data-Out", head(0x05, nil)},
		{"Logout", head(0x46, nil)},
		{"task management", head(0x42, nil)},
		{"a login above 8192 bytes", head(0x43, long(8193))},
		{"a login of 16 MiB", head(0x43, long(1<<24-1))},
		{"write data of 16 MiB", head(0x05, long(1<<24-1))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r := b.dial(t)
			r.write(tt.pdu(r))
			r.closed()
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
				t.Errorf("%d bytes were allocated", n)
			}
		})
	}
	// The same behind a first request that is right: a Login Response tells why.
	for _, op := range []byte{0x1c, 0x10, 0x05, 0x46, 0x42, 0x44, 0x40, 0x01} {
		r := b.dial(t)
		r.loginPDU(wire.OperationalNegotiation, wire.OperationalNegotiation, r.fast())
		r.loginAnswer()
		r.write(head(op, nil)(r))
		r.refusedWith(wire.LoginInvalidDuringLogin)
	}
	b.idle(t)
}

// B14 after the login: text that is wrong or too much is rejected, whatever its form,
// and the session goes on.
func TestB14TextAfterLogin(t *testing.T) {
	b := offer(t, Config{})
	r := b.session(t)
	r.send.MaxData = 64 << 10
	many := func(n int) (b []byte) {
		for i := range n {
			b = fmt.Appendf(b, "X-k%d=\x00", i)
		}
		return b
	}
	for _, tt := range []struct {
		name string
		data []byte
	}{
		{"no equals sign", []byte("SendTargets\x00")},
		{"no null byte", []byte("SendTargets=")},
		{"no key", []byte("=x\x00")},
		{"long key", []byte("X" + strings.Repeat("k", 63) + "=v\x00")},
		{"long value", []byte("X-key=" + strings.Repeat("v", 256) + "\x00")},
		{"key twice", []byte("SendTargets=\x00SendTargets=\x00")},
		{"17 unknown keys", many(17)},
		{"1000 unknown keys", many(1000)},
		{"8189 bytes of nothing", make([]byte, 8189)},
		{"8192 bytes without an end", bytes.Repeat([]byte{'A'}, 8192)},
		{"more than a text may have", many(1500)},
		{"an answer to nothing", []byte("X-key=NotUnderstood\x00")},
	} {
		r.pdu(wire.TextRequest{Immediate: true, Final: true, ITT: r.tag(), TTT: wire.NoTag, CmdSN: r.cmdSN}, tt.data)
		t.Log(tt.name)
		r.reject(wire.RejectProtocolError)
	}
	// Continued without end: rejected at the bound, and forgotten.
	ttt := wire.TargetTransferTag(wire.NoTag)
	itt := r.tag()
	for i := 0; ; i++ {
		if i > 40 {
			t.Fatal("40 parts were taken")
		}
		r.pdu(wire.TextRequest{Immediate: true, Continue: true, ITT: itt, TTT: ttt, CmdSN: r.cmdSN}, []byte("X"))
		h, _, err := r.read()
		if err != nil {
			t.Fatal(err)
		}
		r.statSN = h.StatSN().Next()
		if h.Opcode() == wire.OpReject {
			break
		}
		ttt = h.TTT()
	}
	r.pdu(wire.TextRequest{Immediate: true, Final: true, ITT: itt, TTT: ttt, CmdSN: r.cmdSN}, []byte("X=1\x00"))
	r.reject(wire.RejectProtocolError)
	if got := r.ask(wire.Text{kv("X-a", "1")}); got != "X-a=NotUnderstood " {
		t.Errorf("got %q", got)
	}
}
