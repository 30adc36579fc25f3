// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"bytes"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

// What stands behind a Logout in the stream is not carried out, whatever it is; what
// stands before it is answered.
func TestLogoutAmongOthers(t *testing.T) {
	b := offer(t, Config{})
	r := b.session(t)
	keep := noise(1, 512)
	r.transfer(0, keep)
	owed := r.scsiWrite(0, 64)
	all := r.bytes(owed, nil, nil) // an R2T is open at the end
	all = append(all, r.bytes(wire.TextRequest{ITT: r.tag(), TTT: wire.NoTag, CmdSN: r.next()}, nil, []byte("X-a=1\x00"))...)
	read := r.scsiRead(0, 1)
	all = append(all, r.bytes(read, nil, nil)...)
	logout := r.tag()
	all = append(all, r.bytes(wire.LogoutRequest{ITT: logout, CmdSN: r.next()}, nil, nil)...)
	all = append(all, r.bytes(r.scsiWrite(0, 1), nil, make([]byte, 512))...)
	all = append(all, r.bytes(wire.TaskManagementRequest{
		Immediate: true, Function: wire.LogicalUnitReset, ITT: r.tag(), ReferencedTaskTag: wire.NoTag, CmdSN: r.cmdSN,
	}, nil, nil)...)
	all = append(all, r.bytes(wire.LogoutRequest{Immediate: true, ITT: r.tag(), CmdSN: r.cmdSN}, nil, nil)...)
	r.write(all)
	r.r2t(owed.ITT)
	r.expect(wire.OpTextResponse)
	if data, _ := r.readData(read.ITT); !bytes.Equal(data, keep) {
		t.Error("the read before the logout is wrong")
	}
	if h, _ := r.expect(wire.OpLogoutResponse); h.ITT() != logout {
		t.Errorf("logout of tag %d, want %d", h.ITT(), logout)
	}
	r.closed()
	b.idle(t)
	b.session(t).blocks(0, keep)
}

// P9, P11: a logout is answered when what was outstanding has ended, which has no answer.
func TestLogoutWithTasks(t *testing.T) {
	for _, immediate := range []bool{false, true} {
		d := &stuck{Memory: memory(t)}
		b := serve(t, Config{}, newSource().add(t, testTarget, d))
		r := b.session(t)
		d.hold()
		r.pdu(r.scsiWrite(0, 1), make([]byte, 512))
		eventually(t, "the write is with the device", func() bool { return d.waiting() == 1 })
		se := b.sessionOf(t)
		p := wire.LogoutRequest{Immediate: immediate, ITT: r.tag(), CmdSN: r.cmdSN}
		r.pdu(p, nil)
		eventually(t, "the session is ending", func() bool {
			se.mu.Lock()
			defer se.mu.Unlock()
			return se.quiet
		})
		if se.c.out.Pending() != 0 || se.hasEnded() {
			t.Error("answered while the write is running")
		}
		d.release()
		r.expect(wire.OpLogoutResponse)
		r.closed()
		b.idle(t)
	}
}

// sequence is an R2T that is being answered.
type sequence struct {
	wire.R2T
	sn wire.Serial
}

// Data of several writes comes mixed, each in its order.
func TestInterleavedData(t *testing.T) {
	b := offer(t, Config{MaxBurstLength: 8192, MaxOutstandingR2T: 2})
	r := b.session(t)
	const n = 4
	var writes [n]wire.SCSICommand
	var data [n][]byte
	var open [n][]sequence
	var done [n]bool
	for i := range n {
		writes[i], data[i] = r.scsiWrite(i*64, 64), noise(uint64(i), 32<<10)
		writes[i].Final = i%2 == 1
		r.pdu(writes[i], data[i][:512*i])
	}
	for i := 0; i < n; i += 2 { // unsolicited data, behind the commands
		r.pdu(wire.DataOut{Final: true, ITT: writes[i].ITT, TTT: wire.NoTag, BufferOffset: uint32(512 * i)}, data[i][512*i:1024*(i+1)])
	}
	for {
		i := slices.IndexFunc(open[:], func(o []sequence) bool { return len(o) == 0 })
		if i >= 0 && done[i] {
			i = -1
			for k := range n {
				if len(open[k]) == 0 && !done[k] {
					i = k
				}
			}
		}
		if i < 0 && !slices.Contains(done[:], false) {
			break
		}
		if i >= 0 { // its next R2T, or its status, is on its way
			h, _, err := r.read()
			if err != nil {
				t.Fatal(err)
			}
			k := slices.IndexFunc(writes[:], func(w wire.SCSICommand) bool { return w.ITT == h.ITT() })
			switch {
			case k >= 0 && h.Opcode() == wire.OpR2T:
				q, err := wire.DecodeR2T(h)
				if err != nil {
					t.Fatal(err)
				}
				open[k] = append(open[k], sequence{R2T: q})
			case k >= 0 && h.Opcode() == wire.OpSCSIResponse && h[3] == 0:
				r.statSN, done[k] = h.StatSN().Next(), true
			default:
				t.Fatalf("got %x", *h)
			}
			continue
		}
		for k := range n { // a PDU of each
			if len(open[k]) == 0 {
				continue
			}
			q := &open[k][0]
			l := min(3000, q.DesiredDataTransferLength)
			q.DesiredDataTransferLength -= l
			r.pdu(wire.DataOut{
				Final: q.DesiredDataTransferLength == 0, LUN: q.LUN, ITT: q.ITT, TTT: q.TTT, DataSN: q.sn, BufferOffset: q.BufferOffset,
			}, data[k][q.BufferOffset:q.BufferOffset+l])
			q.BufferOffset += l
			q.sn = q.sn.Next()
			if q.DesiredDataTransferLength == 0 {
				open[k] = open[k][1:]
			}
		}
	}
	for i := range n {
		r.blocks(i*64, data[i])
	}
}

// The extremes of what an initiator may want, and what it wants against the rules.
func TestExtremeKeys(t *testing.T) {
	b := offer(t, Config{})
	for _, tt := range []struct {
		name   string
		text   wire.Text
		want   wire.LoginStatus
		answer []wire.KeyValue
	}{
		{"least", wire.Text{
			kv(wire.KeyMaxRecvDataSegmentLength, "512"), kv(wire.KeyMaxBurstLength, "512"), kv(wire.KeyFirstBurstLength, "512"),
			kv(wire.KeyMaxOutstandingR2T, "1"), kv(wire.KeyDefaultTime2Wait, "0"), kv(wire.KeyDefaultTime2Retain, "0"), kv(wire.KeyMaxConnections, "1"),
		}, 0, []wire.KeyValue{kv(wire.KeyMaxBurstLength, "512"), kv(wire.KeyFirstBurstLength, "512"), kv(wire.KeyDefaultTime2Wait, "2")}},
		{"most", wire.Text{
			kv(wire.KeyMaxRecvDataSegmentLength, "16777215"), kv(wire.KeyMaxBurstLength, "0xffffff"), kv(wire.KeyFirstBurstLength, "16777215"),
			kv(wire.KeyMaxOutstandingR2T, "65535"), kv(wire.KeyDefaultTime2Wait, "3600"), kv(wire.KeyDefaultTime2Retain, "3600"), kv(wire.KeyMaxConnections, "65535"),
		}, 0, []wire.KeyValue{kv(wire.KeyMaxBurstLength, "1048576"), kv(wire.KeyFirstBurstLength, "262144"), kv(wire.KeyDefaultTime2Wait, "3600"), kv(wire.KeyMaxConnections, "1")}},
		{"any order", wire.Text{kv(wire.KeyDataPDUInOrder, "No"), kv(wire.KeyDataSequenceInOrder, "No")}, 0, []wire.KeyValue{
			kv(wire.KeyDataPDUInOrder, "Yes"), kv(wire.KeyDataSequenceInOrder, "Yes"),
		}},
		{"small bursts, first burst not told", wire.Text{kv(wire.KeyMaxBurstLength, "4096")}, 0, []wire.KeyValue{kv(wire.KeyFirstBurstLength, "4096")}},
		{"first burst above the burst", wire.Text{kv(wire.KeyFirstBurstLength, "65536"), kv(wire.KeyMaxBurstLength, "4096")}, wire.LoginInitiatorError, nil},
		{"segments below the least", wire.Text{kv(wire.KeyMaxRecvDataSegmentLength, "511")}, wire.LoginInitiatorError, nil},
		{"segments above the most", wire.Text{kv(wire.KeyMaxRecvDataSegmentLength, "16777216")}, wire.LoginInitiatorError, nil},
		{"a number beyond all", wire.Text{kv(wire.KeyMaxBurstLength, strings.Repeat("9", 200))}, wire.LoginInitiatorError, nil},
		{"no R2T", wire.Text{kv(wire.KeyMaxOutstandingR2T, "0")}, wire.LoginInitiatorError, nil},
		{"a target's key", wire.Text{kv(wire.KeyTargetPortalGroupTag, "1")}, wire.LoginInitiatorError, nil},
		{"SendTargets in the login", wire.Text{kv(wire.KeySendTargets, "All")}, wire.LoginInitiatorError, nil},
		{"what old and new initiators add", wire.Text{
			kv(wire.KeyOFMarker, "No"), kv(wire.KeyIFMarker, "No"), kv(wire.KeyOFMarkInt, "1~65535"), kv("RDMAExtensions", "No"),
			kv(wire.KeyProtocolLevel, "2"), kv(wire.KeyTaskReporting, "FastAbort,ResponseFence,RFC3720"), kv("X-com.example.key", "1"),
			kv(wire.KeyNodeArchitecture, "x"), kv(wire.KeyInitiatorAlias, "host"), kv(wire.KeyHeaderDigest, "CRC32C,None"), kv(wire.KeyErrorRecoveryLevel, "2"),
		}, 0, []wire.KeyValue{
			kv(wire.KeyOFMarker, "No"), kv(wire.KeyOFMarkInt, "Reject"), kv("RDMAExtensions", "NotUnderstood"), kv(wire.KeyProtocolLevel, "1"),
			kv(wire.KeyTaskReporting, "RFC3720"), kv("X-com.example.key", "NotUnderstood"), kv(wire.KeyHeaderDigest, "CRC32C"), kv(wire.KeyErrorRecoveryLevel, "0"),
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := b.dial(t)
			r.loginPDU(wire.OperationalNegotiation, wire.FullFeaturePhase, r.fast(tt.text...))
			p, text := r.loginAnswer()
			if p.Status != tt.want {
				t.Fatalf("%v, want %v", p.Status, tt.want)
			}
			for _, want := range tt.answer {
				if v, _ := text.Get(want.Key); v != want.Value {
					t.Errorf("%s=%s, want %s", want.Key, v, want.Value)
				}
			}
			_ = r.conn.Close()
			b.idle(t)
		})
	}
}

// Keys of the login mean nothing afterwards: digests stay what they are.
func TestKeysAfterLogin(t *testing.T) {
	b := offer(t, Config{})
	r := b.dial(t)
	r.login(digests)
	for _, pair := range []wire.KeyValue{
		kv(wire.KeyHeaderDigest, "None"), kv(wire.KeyDataDigest, "None"), kv(wire.KeyTargetName, testTarget), kv(wire.KeyInitiatorName, testInitiator),
		kv(wire.KeySessionType, "Discovery"), kv(wire.KeyAuthMethod, "None"), kv(wire.KeyCHAPA, "5"), kv(wire.KeyFirstBurstLength, "512"), kv(wire.KeyOFMarker, "No"),
	} {
		r.pdu(wire.TextRequest{Final: true, ITT: r.tag(), TTT: wire.NoTag, CmdSN: r.cmdSN}, wire.Text{pair}.Append(nil))
		r.reject(wire.RejectProtocolError)
		r.ping()
	}
	r.attention()
	r.transfer(0, noise(1, 4096))
}

// P4: the numbers of commands wrap under a mix of immediate and other commands, and
// what the initiator says of our StatSN changes nothing.
func TestP04WrapWithImmediate(t *testing.T) {
	b := offer(t, Config{QueueDepth: 4})
	r := b.dial(t)
	r.cmdSN = wire.SerialOf(1<<32 - 20)
	r.login(nil)
	r.attention()
	for i := range 60 {
		c := r.command([]byte{0})
		if i%3 == 0 {
			c.Immediate, r.cmdSN = true, c.CmdSN
		}
		c.ExpStatSN = wire.SerialOf(uint32(i) * 0x9e3779b9)
		r.pdu(c, nil)
		if p, _ := r.status(c.ITT); p.Status != 0 || p.ExpCmdSN != r.cmdSN || p.MaxCmdSN != r.cmdSN.Add(2) && p.MaxCmdSN != r.cmdSN.Add(3) {
			t.Fatalf("command %d: %+v, want ExpCmdSN %v", i, p, r.cmdSN)
		}
	}
}

// B23: many logins with one ISID at once, and one after the other: each is answered or
// ended, and one session is left.
func TestB23LoginsAtOnce(t *testing.T) {
	d := &stuck{Memory: memory(t)}
	b := serve(t, Config{}, newSource().add(t, testTarget, d))
	old := b.session(t)
	d.hold()
	old.pdu(old.scsiWrite(0, 1), make([]byte, 512))
	eventually(t, "the write is with the device", func() bool { return d.waiting() == 1 })
	var all sync.WaitGroup
	var mu sync.Mutex
	in := map[*raw]bool{}
	for range 16 {
		r := b.dial(t)
		all.Go(func() {
			_, _ = r.conn.Write(r.bytes(wire.LoginRequest{
				Transit: true, CurrentStage: wire.OperationalNegotiation, NextStage: wire.FullFeaturePhase, ISID: r.isid, ITT: 7, CID: 1, CmdSN: r.cmdSN,
			}, nil, r.fast().Append(nil)))
			h, _, err := r.read()
			if err == nil && h[36] != 0 {
				t.Errorf("login status %x", h[36:38])
			}
			mu.Lock()
			in[r] = err == nil
			mu.Unlock()
		})
	}
	eventually(t, "the logins wait", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.logins == 16
	})
	d.release()
	all.Wait()
	eventually(t, "one session is left", func() bool { return len(b.Sessions()) == 1 })
	alive := 0
	for r := range in {
		r.send, r.recv = wire.LoginFraming(), wire.LoginFraming()
		if in[r] && r.alive() {
			alive++
		}
		_ = r.conn.Close()
	}
	if alive != 1 {
		t.Errorf("%d connections live", alive)
	}
	b.idle(t)
	for range 30 { // each throws out the one before
		b.session(t)
	}
	if n := len(b.Sessions()); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

// A connection of a session that lives cannot be replaced or joined at error recovery
// level 0 with one connection; the session does not notice. RFC 7143 6.3.4 (Connection
// Reinstatement).
func TestB13ConnectionReinstatement(t *testing.T) {
	b := offer(t, Config{})
	live := b.session(t)
	for cid := range uint16(2) {
		r := b.dial(t)
		r.pdu(wire.LoginRequest{
			Transit: true, CurrentStage: wire.OperationalNegotiation, NextStage: wire.FullFeaturePhase,
			ISID: live.isid, TSIH: b.Sessions()[0].TSIH, CID: cid, ITT: 7, CmdSN: live.cmdSN,
		}, live.fast().Append(nil))
		r.refusedWith(wire.LoginCantIncludeInSession)
		live.ping()
	}
}

// B1, B28: initiators that go away in the middle of what they are sent or send, by RST
// or by the end of one direction, with writes at the device.
func TestB28GoneInTheMiddle(t *testing.T) {
	d := &stuck{Memory: memory(t)}
	b := serve(t, Config{MaxBurstLength: 64 << 10}, newSource().add(t, testTarget, d))
	rst := func(r *raw) {
		_ = r.conn.(*net.TCPConn).SetLinger(0)
		_ = r.conn.Close()
	}
	half := func(r *raw) { // one that does not read either is UserTimeout's
		_ = r.conn.(*net.TCPConn).CloseWrite()
		go func() { _, _ = io.Copy(io.Discard, r.conn) }()
	}
	for i, end := range []func(r *raw){rst, half} {
		for _, what := range []string{"while it is sent data", "in a PDU", "owing data", "with a write at the device"} {
			t.Run(what+" "+strconv.Itoa(i), func(t *testing.T) {
				r := b.session(t)
				switch what {
				case "while it is sent data":
					for range 16 {
						r.pdu(r.scsiRead(0, 2000), nil)
					}
					if _, _, err := r.read(); err != nil {
						t.Error(err)
					}
				case "in a PDU":
					w := r.bytes(r.scsiWrite(0, 64), nil, make([]byte, 32<<10))
					r.write(w[:20<<10])
				case "owing data":
					w := r.scsiWrite(0, 256)
					r.pdu(w, nil)
					r.answer(r.r2t(w.ITT), make([]byte, 128<<10), 20<<10)
				default:
					d.hold()
					r.pdu(r.scsiWrite(0, 64), make([]byte, 32<<10))
					eventually(t, "the write is with the device", func() bool { return d.waiting() == 1 })
				}
				end(r)
				if d.waiting() > 0 {
					eventually(t, "its end is seen", func() bool {
						se := b.sessionOf(t)
						se.mu.Lock()
						defer se.mu.Unlock()
						return se.quiet
					})
					d.release()
				}
				b.idle(t)
			})
		}
	}
}

// TARGET COLD RESET in the middle of other sessions' logins and writes leaves nothing.
func TestColdResetAmongOthers(t *testing.T) {
	hold := backends.NewHoldFault(memory(t))
	b := serve(t, Config{}, newSource().add(t, testTarget, hold))
	var all []*raw
	for i := range 4 {
		r := b.dial(t)
		r.isid[5] = byte(10 + i)
		r.login(nil)
		r.attention()
		all = append(all, r)
	}
	hold.Hold(&backends.FaultRule{})
	for _, r := range all {
		r.pdu(r.scsiWrite(0, 1), make([]byte, 512))
	}
	eventually(t, "the writes are with the device", func() bool { return hold.Counts().Waiting == len(all) })
	r := all[0]
	r.managed(r.manage(wire.TaskManagementRequest{Function: wire.TargetColdReset}), wire.FunctionComplete)
	for _, r := range all {
		for {
			h, _, err := r.read()
			if err != nil {
				break
			}
			if h.Opcode() == wire.OpSCSIResponse {
				t.Error("a write was answered")
			}
		}
	}
	hold.Release()
	b.idle(t)
	b.session(t).blocks(0, make([]byte, 512))
}

// The unit of a task is the same in each form of its number.
func TestAbortInAnotherForm(t *testing.T) {
	d := backends.NewHoldFault(memory(t))
	b := serve(t, Config{}, newSource().add(t, testTarget, d))
	r := b.session(t)
	flat := wire.LUNField{0x40, 0}
	c := r.command([]byte{0})
	c.LUN = flat
	r.pdu(c, nil)
	r.good(c.ITT)
	d.Hold(&backends.FaultRule{})
	w := r.scsiWrite(0, 1)
	w.LUN = flat
	r.pdu(w, make([]byte, 512))
	owed := r.scsiWrite(0, 1)
	owed.LUN = flat
	r.pdu(owed, nil)
	r.r2t(owed.ITT)
	r.next()
	held := r.scsiWrite(0, 1)
	held.LUN = flat
	r.pdu(held, make([]byte, 512))
	r.managed(r.manage(wire.TaskManagementRequest{Function: wire.AbortTaskSet}), wire.FunctionComplete)
	d.Release()
	r.cmdSN = held.CmdSN.Prev()
	c = r.command([]byte{0})
	r.pdu(c, nil) // comes late, and is covered too
	r.cmdSN = held.CmdSN.Next()
	r.ping() // and neither has an answer
	r.blocks(0, make([]byte, 512))
}
