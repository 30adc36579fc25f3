// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

// hostile runs script against one request and wants the session dropped as a
// breach of the protocol, and the request failed with Transport, once.
func hostile(t *testing.T, q func() *backends.Request, script func(f *fake, c wire.SCSICommand)) {
	t.Helper()
	r := newRig(t, func(f *fake) {
		c, _ := f.command()
		script(f, c)
		for {
			f.recv() // until the initiator leaves
		}
	})
	r.waitUp()
	ch := r.submit(q())
	o := wait1(t, ch, "completion")
	if o.res.Class != backends.Transport || o.res.Sent == backends.SentNone {
		t.Errorf("got %+v, want a transport error of a request that was sent", o.res)
	}
	if len(o.r.Data) > 0 && o.r.Op == backends.Read {
		t.Error("a failed read has data")
	}
	if l := wait1(t, r.down, "loss"); l.Class != backends.LossProtocol {
		t.Errorf("got loss %v (%v), want %v", l.Class, l.Err, backends.LossProtocol)
	}
	r.close()
	if len(ch) != 0 {
		t.Error("completed twice")
	}
}

func read4k() *backends.Request  { return readReq(0, 4096) }
func write4k() *backends.Request { return writeReq(0, pattern(4096, 1)) }
func writeBig() *backends.Request {
	return writeReq(0, pattern(3*65536, 1)) // most of it is left to R2Ts
}

// otherTags are tags that name no task of c's session.
func otherTags(c wire.SCSICommand) map[string]wire.InitiatorTaskTag {
	return map[string]wire.InitiatorTaskTag{
		"unknown slot":      c.ITT + 1,
		"older use":         c.ITT - 1<<slotBits,
		"newer use":         c.ITT + 1<<slotBits,
		"NOP slot":          nopSlot,
		"highest":           0xfffffffe,
		"half a billion on": c.ITT ^ 0x40000000,
	}
}

func TestB29UnknownTag(t *testing.T) {
	pdus := map[string]func(f *fake, itt wire.InitiatorTaskTag){
		"Response": func(f *fake, itt wire.InitiatorTaskTag) { f.good(itt) },
		"R2T": func(f *fake, itt wire.InitiatorTaskTag) {
			f.send(&wire.R2T{ITT: itt, TTT: 1, Numbers: f.numbers(), DesiredDataTransferLength: 512}, nil)
		},
		"Data-In": func(f *fake, itt wire.InitiatorTaskTag) {
			f.send(&wire.DataIn{Final: true, HasStatus: true, ITT: itt, TTT: wire.NoTag, Numbers: f.status()}, make([]byte, 4096))
		},
		"TMF response": func(f *fake, itt wire.InitiatorTaskTag) {
			f.send(&wire.TaskManagementResponse{ITT: itt, Numbers: f.status()}, nil)
		},
		"NOP-In": func(f *fake, itt wire.InitiatorTaskTag) {
			f.send(&wire.NOPIn{ITT: itt, TTT: wire.NoTag, Numbers: f.status()}, nil)
		},
		"Logout response": func(f *fake, itt wire.InitiatorTaskTag) {
			f.send(&wire.LogoutResponse{ITT: itt, Numbers: f.status()}, nil)
		},
		"Reject": func(f *fake, itt wire.InitiatorTaskTag) {
			var h wire.BHS
			wire.SCSICommand{Final: true, ITT: itt}.Encode(&h)
			f.send(&wire.Reject{Reason: wire.RejectDataDigest, Numbers: f.status()}, h[:])
		},
	}
	for name, send := range pdus {
		for tag := range otherTags(wire.SCSICommand{}) {
			t.Run(name+"/"+tag, func(t *testing.T) {
				hostile(t, read4k, func(f *fake, c wire.SCSICommand) { send(f, otherTags(c)[tag]) })
			})
		}
	}
	t.Run("TMF response for a command", func(t *testing.T) {
		hostile(t, read4k, func(f *fake, c wire.SCSICommand) { pdus["TMF response"](f, c.ITT) })
	})
	t.Run("R2T of another LUN", func(t *testing.T) {
		hostile(t, writeBig, func(f *fake, c wire.SCSICommand) {
			f.send(&wire.R2T{LUN: wire.LUNField{0, 9}, ITT: c.ITT, TTT: 1, Numbers: f.numbers(), BufferOffset: 65536, DesiredDataTransferLength: 512}, nil)
		})
	})
	t.Run("answered twice", func(t *testing.T) {
		r := newRig(t, func(f *fake) {
			c, _ := f.command()
			f.sendData(c, make([]byte, 4096))
			f.good(c.ITT)
			f.recv()
		})
		r.waitUp()
		if res := r.do(read4k()); !res.OK() {
			t.Errorf("got %+v", res)
		}
		if l := wait1(t, r.down, "loss"); l.Class != backends.LossProtocol {
			t.Errorf("got loss %v", l.Class)
		}
	})
}

// TestB29AbortedTag: an answer to a task that the target has confirmed as aborted
// ends the session.
func TestB29AbortedTag(t *testing.T) {
	sent := make(chan struct{})
	r := newRig(t, func(f *fake) {
		c, _ := f.command()
		close(sent)
		h, _ := f.recv()
		p, err := wire.DecodeTaskManagementRequest(&h)
		if err != nil || p.ReferencedTaskTag != c.ITT || p.RefCmdSN != c.CmdSN || p.LUN != c.LUN || !p.Immediate {
			t.Errorf("ABORT TASK %+v of %+v: %v", p, c, err)
		}
		f.send(&wire.TaskManagementResponse{Response: wire.TaskDoesNotExist, ITT: p.ITT, Numbers: f.status()}, nil)
		c2, _ := f.command()
		if c2.ITT&slotMask == c.ITT&slotMask {
			t.Error("the slot of an aborted task was used again")
		}
		f.good(c.ITT)
		f.recv()
	})
	r.waitUp()
	q := read4k()
	ch := r.submit(q)
	<-sent
	done := r.tmf(&backends.TaskManagement{Function: backends.AbortTask, Task: q})
	o := wait1(t, ch, "completion")
	if o.res.Class != backends.Aborted || o.res.Sent != backends.SentAnswered {
		t.Errorf("got %+v, want aborted and answered", o.res)
	}
	if got := wait1(t, done, "response"); got != backends.TMNoTask {
		t.Errorf("got %v", got)
	}
	r.submit(read4k())
	if l := wait1(t, r.down, "loss"); l.Class != backends.LossProtocol {
		t.Errorf("got loss %v", l.Class)
	}
}

func TestB30DataIn(t *testing.T) {
	in := func(change func(*wire.DataIn), n int) func(*fake, wire.SCSICommand) {
		return func(f *fake, c wire.SCSICommand) {
			d := wire.DataIn{ITT: c.ITT, TTT: wire.NoTag, Numbers: f.numbers()}
			change(&d)
			f.send(&d, make([]byte, n))
		}
	}
	tests := []struct {
		name   string
		req    func() *backends.Request
		script func(*fake, wire.SCSICommand)
	}{
		{"beyond the buffer", read4k, in(func(d *wire.DataIn) {}, 4100)},
		{"behind a gap", read4k, in(func(d *wire.DataIn) { d.BufferOffset = 512 }, 512)},
		{"far away", read4k, in(func(d *wire.DataIn) { d.BufferOffset = 0xfffff000 }, 512)},
		{"number gap", read4k, in(func(d *wire.DataIn) { d.DataSN = wire.SerialOf(1) }, 512)},
		{"for a write", write4k, in(func(d *wire.DataIn) {}, 512)},
		{"empty", read4k, in(func(d *wire.DataIn) {}, 0)},
		{"twice the same", read4k, func(f *fake, c wire.SCSICommand) {
			d := wire.DataIn{ITT: c.ITT, TTT: wire.NoTag, Numbers: f.numbers()}
			f.send(&d, make([]byte, 512))
			d.DataSN = d.DataSN.Next()
			f.send(&d, make([]byte, 512))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { hostile(t, tt.req, tt.script) })
	}
}

// TestB31Short: success that did not move all bytes is no success; the session
// need not end for it.
func TestB31Short(t *testing.T) {
	residual := func(r wire.Residual, n int) func(*fake, wire.SCSICommand) {
		return func(f *fake, c wire.SCSICommand) {
			f.send(&wire.DataIn{Final: true, HasStatus: true, ITT: c.ITT, TTT: wire.NoTag, Numbers: f.status(), Residual: r}, make([]byte, n))
		}
	}
	tests := []struct {
		name   string
		req    func() *backends.Request
		script func(*fake, wire.SCSICommand)
	}{
		{"short, no residual", read4k, residual(wire.Residual{}, 512)},
		{"short, true residual", read4k, residual(wire.Residual{Underflow: true, Count: 3584}, 512)},
		{"short, false residual", read4k, residual(wire.Residual{Underflow: true, Count: 1}, 512)},
		{"all, underflow", read4k, residual(wire.Residual{Underflow: true, Count: 512}, 4096)},
		{"all, overflow", read4k, residual(wire.Residual{Overflow: true, Count: 512}, 4096)},
		{"no data", read4k, func(f *fake, c wire.SCSICommand) { f.good(c.ITT) }},
		{"write, underflow", write4k, func(f *fake, c wire.SCSICommand) {
			f.send(&wire.SCSIResponse{ITT: c.ITT, Numbers: f.status(), Residual: wire.Residual{Underflow: true, Count: 512}}, nil)
		}},
		{"write, overflow", write4k, func(f *fake, c wire.SCSICommand) {
			f.send(&wire.SCSIResponse{ITT: c.ITT, Numbers: f.status(), Residual: wire.Residual{Overflow: true, Count: 512}}, nil)
		}},
		{"target failure", read4k, func(f *fake, c wire.SCSICommand) {
			f.send(&wire.SCSIResponse{Response: wire.TargetFailure, ITT: c.ITT, Numbers: f.status()}, nil)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, func(f *fake) {
				c, _ := f.command()
				tt.script(f, c)
				f.disk(make([]byte, 8192))
			})
			r.waitUp()
			if res := r.do(tt.req()); res.Class != backends.Transport || res.Sent != backends.SentAnswered {
				t.Errorf("got %+v, want transport, answered", res)
			}
			if res := r.do(read4k()); !res.OK() {
				t.Errorf("the next request: %+v", res)
			}
		})
	}
	t.Run("write answered before its data", func(t *testing.T) {
		r := newRig(t, func(f *fake) {
			c, _ := f.command()
			f.good(c.ITT)
			for {
				f.recv()
			}
		})
		r.waitUp()
		if res := r.do(writeBig()); res.Class != backends.Transport {
			t.Errorf("got %+v", res)
		}
		if l := wait1(t, r.down, "loss"); l.Class != backends.LossProtocol {
			t.Errorf("got loss %v", l.Class)
		}
	})
}

func TestB32R2T(t *testing.T) {
	const off = 65536 // where unsolicited data ends
	tests := []struct {
		name   string
		req    func() *backends.Request
		change func(*wire.R2T)
	}{
		{"longer than MaxBurstLength", writeBig, func(r *wire.R2T) { r.DesiredDataTransferLength = 65540 }},
		{"beyond the data", writeBig, func(r *wire.R2T) { r.BufferOffset = 3 * 65536 }},
		{"beyond 2^32", writeBig, func(r *wire.R2T) { r.BufferOffset = 0xffffff00 }},
		{"for no data", writeBig, func(r *wire.R2T) { r.DesiredDataTransferLength = 0 }},
		{"for data that came", writeBig, func(r *wire.R2T) { r.BufferOffset = 0 }},
		{"behind a gap", writeBig, func(r *wire.R2T) { r.BufferOffset = off + 512 }},
		{"number gap", writeBig, func(r *wire.R2T) { r.R2TSN = wire.SerialOf(3) }},
		{"for a read", read4k, func(r *wire.R2T) { r.BufferOffset = 0 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, func(f *fake) {
				c, data := f.command()
				if c.Write {
					f.takeSequence(c, data, wire.NoTag)
				}
				p := wire.R2T{LUN: c.LUN, ITT: c.ITT, TTT: 1, Numbers: f.numbers(), BufferOffset: off, DesiredDataTransferLength: 512}
				tt.change(&p)
				f.send(&p, nil)
				for {
					f.recv()
				}
			}, func(_ *Config, s *wire.Settings, _ *rigOptions) {
				s.InitialR2T, s.MaxBurstLength, s.FirstBurstLength = false, 65536, 65536
			})
			r.waitUp()
			if res := r.do(tt.req()); res.Class != backends.Transport || res.Sent != backends.SentSome {
				t.Errorf("got %+v", res)
			}
			if l := wait1(t, r.down, "loss"); l.Class != backends.LossProtocol {
				t.Errorf("got loss %v: %v", l.Class, l.Err)
			}
		})
	}
	t.Run("the same twice", func(t *testing.T) {
		hostile(t, writeBig, func(f *fake, c wire.SCSICommand) {
			p := wire.R2T{LUN: c.LUN, ITT: c.ITT, TTT: 1, Numbers: f.numbers(), BufferOffset: 4096, DesiredDataTransferLength: 512}
			f.send(&p, nil)
			f.recv()
			f.send(&p, nil)
		})
	})
	t.Run("more than MaxOutstandingR2T", func(t *testing.T) {
		hostile(t, func() *backends.Request { return writeReq(0, pattern(1<<20, 3)) }, func(f *fake, c wire.SCSICommand) {
			// Both in one write, before all of the first answer can have left: it is
			// more than one write of the queue takes.
			var out []byte
			const r2tBytes = 256 << 10
			for i := range uint32(2) {
				var h wire.BHS
				wire.R2T{
					LUN: c.LUN, ITT: c.ITT, TTT: wire.TargetTransferTag(i), Numbers: f.numbers(), R2TSN: wire.SerialOf(i),
					BufferOffset: 4096 + i*r2tBytes, DesiredDataTransferLength: r2tBytes,
				}.Encode(&h)
				out = append(out, h[:]...)
			}
			f.raw(out)
		})
	})
}

func TestB33Sense(t *testing.T) {
	answer := func(data []byte) func(*fake, wire.SCSICommand) {
		return func(f *fake, c wire.SCSICommand) {
			f.send(&wire.SCSIResponse{Status: 2, ITT: c.ITT, Numbers: f.status()}, data)
		}
	}
	medium := []byte{0x70, 0, 3, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0}
	tests := []struct {
		name string
		data []byte
		want backends.Class
	}{
		{"right", wire.AppendSense(nil, medium), backends.Medium},
		{"none", nil, backends.Busy},
		{"without its prefix", medium, backends.Busy},
		{"longer than the segment", append([]byte{0xff, 0xff}, medium...), backends.Busy},
		{"one byte", []byte{0}, backends.Busy},
		{"longer than sense can be", wire.AppendSense(nil, append(medium, make([]byte, 1000)...)), backends.Busy},
		{"lying inside", append([]byte{0, 3}, medium...), backends.Busy},
		{"as long as it may be", append(wire.AppendSense(nil, medium), make([]byte, 8192-20)...), backends.Medium},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, func(f *fake) {
				c, _ := f.command()
				answer(tt.data)(f, c)
				f.disk(nil)
			})
			r.waitUp()
			if res := r.do(read4k()); res.Class != tt.want || res.Status != 2 {
				t.Errorf("got %+v, want %v", res, tt.want)
			}
		})
	}
	t.Run("8193 bytes", func(t *testing.T) {
		hostile(t, read4k, func(f *fake, c wire.SCSICommand) { answer(make([]byte, 8193))(f, c) })
	})
	t.Run("above our limit", func(t *testing.T) {
		hostile(t, read4k, func(f *fake, c wire.SCSICommand) {
			var h wire.BHS
			wire.SCSIResponse{ITT: c.ITT, DataSegmentLength: recvSegment + 1}.Encode(&h)
			f.raw(h[:])
		})
	})
}

// TestB34: a StatSN that jumps and a window that is none change nothing.
func TestB34Numbers(t *testing.T) {
	r := newRig(t, func(f *fake) {
		f.statSN = f.statSN.Add(1000)
		for range 3 {
			c, _ := f.command()
			n := f.status()
			n.MaxCmdSN = n.ExpCmdSN.Add(0xffffff00)
			f.send(&wire.DataIn{Final: true, HasStatus: true, ITT: c.ITT, TTT: wire.NoTag, Numbers: n}, make([]byte, 4096))
		}
		f.disk(nil)
	})
	r.waitUp()
	for range 3 {
		if res := r.do(read4k()); !res.OK() {
			t.Errorf("got %+v", res)
		}
	}
}

// TestB35Redirect: at most three hops, and only into the allowed networks.
func TestB35Redirect(t *testing.T) {
	tests := []struct {
		name    string
		address string
		want    backends.LossClass
		dials   int
	}{
		{"loop", "192.0.2.1:3260,1", backends.LossDenied, maxHops + 1},
		{"foreign address", "198.51.100.1:3260", backends.LossDenied, 1},
		{"loopback", "127.0.0.1:3260", backends.LossDenied, 1},
		{"name", "target.example:3260", backends.LossDenied, 1},
		{"IPv6 without brackets", "2001:db8::1", backends.LossProtocol, 1},
		{"port 0", "192.0.2.1:0", backends.LossProtocol, 1},
		{"no address", "", backends.LossProtocol, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dials := 0
			r := newRig(t, nil, again, func(c *Config, _ *wire.Settings, o *rigOptions) {
				o.login = func(f *fake) error {
					dials++
					var h wire.BHS
					if _, err := readPDU(f.sock, wire.LoginFraming(), &h); err != nil {
						return err
					}
					var text wire.Text
					if tt.address != "" {
						text.Add(wire.KeyTargetAddress, tt.address)
					}
					req, _ := wire.DecodeLoginRequest(&h)
					wire.LoginResponse{ISID: req.ISID, ITT: req.ITT, Status: wire.LoginTargetMovedTemporarily}.Encode(&h)
					_, err := f.sock.Write(wire.LoginFraming().AppendPacket(nil, &h, nil, text.Append(nil)))
					return errors.Join(err, errGone)
				}
			})
			l := wait1(t, r.down, "loss")
			r.close()
			if l.Class != tt.want || dials != tt.dials {
				t.Errorf("got %v (%v) after %d connections, want %v after %d", l.Class, l.Err, dials, tt.want, tt.dials)
			}
			if tt.want == backends.LossDenied && l.Retry < time.Minute {
				t.Errorf("retry in %v", l.Retry)
			}
		})
	}
}

// TestB35LoginStatus: what each status of a refused login means.
func TestB35LoginStatus(t *testing.T) {
	for status, want := range map[wire.LoginStatus]backends.LossClass{
		0x0200: backends.LossDenied, 0x0201: backends.LossDenied, 0x0202: backends.LossDenied, 0x0203: backends.LossDenied,
		0x0204: backends.LossDenied, 0x0205: backends.LossDenied, 0x0206: backends.LossRefused, 0x0207: backends.LossDenied,
		0x0209: backends.LossDenied, 0x0300: backends.LossRefused, 0x0301: backends.LossRefused, 0x0302: backends.LossRefused,
		0x7700: backends.LossDenied,
	} {
		r := newRig(t, nil, func(_ *Config, _ *wire.Settings, o *rigOptions) {
			o.login = func(f *fake) error {
				var h wire.BHS
				if _, err := readPDU(f.sock, wire.LoginFraming(), &h); err != nil {
					return err
				}
				req, _ := wire.DecodeLoginRequest(&h)
				wire.LoginResponse{ISID: req.ISID, ITT: req.ITT, Status: status}.Encode(&h)
				_, err := f.sock.Write(h[:])
				return errors.Join(err, errGone)
			}
		})
		if l := wait1(t, r.down, "loss"); l.Class != want {
			t.Errorf("%v: got %v (%v), want %v", status, l.Class, l.Err, want)
		}
		r.close()
	}
}

func TestB36Async(t *testing.T) {
	tests := []struct {
		name string
		msg  wire.AsyncMessage
		data []byte
		want backends.LossClass // 0: the session goes on
		kind backends.AsyncKind
	}{
		{"SCSI event", wire.AsyncMessage{LUN: wire.LUNField{0, 1}}, wire.AppendSense(nil, []byte{0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x2a, 9, 0, 0, 0, 0}), 0, 0},
		{"SCSI event, truncated", wire.AsyncMessage{}, []byte{1, 0, 1}, backends.LossProtocol, 0},
		{"logout at once", wire.AsyncMessage{Event: wire.AsyncLogoutRequest}, nil, backends.LossLogout, backends.AsyncLogout},
		{"connection drop", wire.AsyncMessage{Event: wire.AsyncConnectionDrop}, nil, backends.LossLogout, 0},
		{"session drop", wire.AsyncMessage{Event: wire.AsyncSessionDrop}, nil, backends.LossLogout, 0},
		{"negotiate", wire.AsyncMessage{Event: wire.AsyncNegotiate, Parameter3: 1}, nil, backends.LossLogout, backends.AsyncRenegotiate},
		{"tasks ended", wire.AsyncMessage{Event: wire.AsyncTaskTermination, LUN: wire.LUNField{0, 1}}, nil, 0, backends.AsyncTasksEnded},
		{"vendor", wire.AsyncMessage{Event: wire.AsyncVendor}, []byte{9}, 0, 0},
		{"unassigned", wire.AsyncMessage{Event: 77}, nil, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, func(f *fake) {
				for range 5 { // a burst
					tt.msg.Numbers = f.status()
					f.send(&tt.msg, tt.data)
				}
				f.disk(make([]byte, 4096))
			}, overTCP)
			r.waitUp()
			if tt.kind != 0 {
				if a := wait1(t, r.asyn, "event"); a.Kind != tt.kind {
					t.Errorf("got event %v, want %v", a.Kind, tt.kind)
				}
			}
			if tt.name == "SCSI event" {
				if s := wait1(t, r.ua, "unit attention"); s.String() != "6/2a/09" {
					t.Errorf("got %v", s)
				}
			}
			if tt.want == 0 {
				if res := r.do(read4k()); !res.OK() {
					t.Errorf("got %+v", res)
				}
				return
			}
			if l := wait1(t, r.down, "loss"); l.Class != tt.want {
				t.Errorf("got loss %v (%v), want %v", l.Class, l.Err, tt.want)
			}
		})
	}
}

func TestB38NOPFlood(t *testing.T) {
	r := newRig(t, func(f *fake) {
		go func() { // swallow the answers
			var h wire.BHS
			for {
				if _, err := readPDU(f.sock, f.recvF, &h); err != nil {
					return
				}
			}
		}()
		for i := range 100000 {
			f.send(&wire.NOPIn{ITT: wire.NoTag, TTT: wire.TargetTransferTag(i), Numbers: f.numbers()}, nil)
		}
	}, overTCP)
	if l := wait1(t, r.down, "loss"); l.Class != backends.LossProtocol && l.Class != backends.LossReset {
		t.Errorf("got loss %v", l.Class)
	}
}

// discover runs Discover against a target that answers SendTargets with the text
// in pieces.
func discover(t *testing.T, text func() []byte, pieces int) ([]backends.TargetPortal, error) {
	t.Helper()
	cfg := testConfig()
	client, server := pipe(t, false)
	done := make(chan struct{})
	cfg.Dial = func(context.Context, string) (net.Conn, error) { return client, nil }
	f := &fake{t: t, sock: server, set: wire.DefaultSettings(), window: 64}
	go func() {
		defer close(done)
		f.play((*fake).loginPhase, func(f *fake) {
			rest := text()
			for i := 1; ; i++ {
				h, _ := f.recv()
				if h.Opcode() == wire.OpLogoutRequest {
					f.send(&wire.LogoutResponse{ITT: h.ITT(), Numbers: f.status()}, nil)
					return
				}
				last := i >= pieces && len(rest) <= 200<<10
				n := len(rest)
				if !last {
					n = min(max(len(rest)/pieces, 1), len(rest), 200<<10)
				}
				p := wire.TextResponse{Final: last, Continue: !last, ITT: h.ITT(), TTT: 5, Numbers: f.status()}
				f.send(&p, rest[:n])
				rest = rest[n:]
			}
		})
	}()
	k, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	list, err := k.Discover(t.Context(), testPortal)
	_ = client.Close()
	<-done
	return list, err
}

func TestB40SendTargets(t *testing.T) {
	text := func(s string) func() []byte {
		return func() []byte { return []byte(strings.ReplaceAll(s, "|", "\x00")) }
	}
	at := func(portal string, tag uint16) backends.TargetPortal {
		return backends.TargetPortal{Target: testTarget, Portal: portal, GroupTag: tag}
	}
	tests := []struct {
		name   string
		text   func() []byte
		pieces int
		want   []backends.TargetPortal
		fails  bool
	}{
		{"one", text("TargetName=" + testTarget + "|TargetAddress=192.0.2.1:3260,1|"), 1, []backends.TargetPortal{at(testPortal, 1)}, false},
		{"in pieces", text("TargetName=" + testTarget + "|TargetAddress=192.0.2.1:3260,1|"), 4, []backends.TargetPortal{at(testPortal, 1)}, false},
		{"no address", text("TargetName=" + testTarget + "|"), 1, []backends.TargetPortal{at(testPortal, 0)}, false},
		{
			"allowed and foreign", text("TargetName=" + testTarget + "|TargetAddress=192.0.2.9:1,2|TargetAddress=127.0.0.1:3260,1|"), 1,
			[]backends.TargetPortal{at("192.0.2.9:1", 2)},
			false,
		},
		{
			"only foreign", text("TargetName=" + testTarget + "|TargetAddress=10.0.0.1:3260,1|TargetAddress=name.example,1|"), 1,
			[]backends.TargetPortal{at(testPortal, 0)},
			false,
		},
		{"IPv6 without brackets", text("TargetName=" + testTarget + "|TargetAddress=2001:db8::1,1|"), 1, nil, true},
		{"port 0", text("TargetName=" + testTarget + "|TargetAddress=192.0.2.1:0,1|"), 1, nil, true},
		{"address first", text("TargetAddress=192.0.2.1:0,1|"), 1, nil, true},
		{"no end", text("TargetName=" + testTarget), 1, nil, true},
		{"100000 records", func() []byte {
			var b strings.Builder
			for i := range 100000 {
				fmt.Fprintf(&b, "TargetName=iqn.x:%d\x00", i)
			}
			return []byte(b.String())
		}, 1, nil, true},
		{"endless", func() []byte { return make([]byte, 64<<20) }, 1000, nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := discover(t, tt.text, tt.pieces)
			if (err != nil) != tt.fails || fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("got %v, %v; want %v, failure %v", got, err, tt.want, tt.fails)
			}
		})
	}
}

func TestAllowed(t *testing.T) {
	c := Config{AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	for addr, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "11.0.0.1": false, "::1": false} {
		if got := c.allowed(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: got %v, want %v", addr, got, want)
		}
	}
}

// TestB31WriteNotTaken: success for a write whose data the target cannot have is
// no success, also with an underflow of nothing, and also when the data was
// queued and taken out again by an abort.
func TestB31WriteNotTaken(t *testing.T) {
	t.Run("underflow of nothing", func(t *testing.T) {
		hostile(t, writeBig, func(f *fake, c wire.SCSICommand) {
			f.send(&wire.SCSIResponse{ITT: c.ITT, Numbers: f.status(), Residual: wire.Residual{Underflow: true}}, nil)
		})
	})
	t.Run("data taken out", func(t *testing.T) {
		const size = 768 << 10
		begun, aborted := make(chan struct{}), make(chan struct{})
		r := newRig(t, func(f *fake) {
			c, data := f.command()
			f.send(&wire.R2T{
				LUN: c.LUN, ITT: c.ITT, TTT: 1, Numbers: f.numbers(),
				BufferOffset: uint32(len(data)), DesiredDataTransferLength: size - uint32(len(data)),
			}, nil)
			f.next() // the first Data-Out; the others wait behind it
			close(begun)
			<-aborted // and they are taken out
			f.send(&wire.NOPIn{ITT: wire.NoTag, TTT: 1, Numbers: f.numbers()}, nil)
			for { // what was begun, the answer to the ping, and the end
				var h wire.BHS
				if _, err := readPDU(f.sock, f.recvF, &h); err != nil {
					return
				}
				if h.Opcode() == wire.OpNOPOut {
					f.good(c.ITT)
				}
			}
		}, func(_ *Config, s *wire.Settings, _ *rigOptions) { s.InitialR2T, s.MaxBurstLength = true, size })
		r.waitUp()
		q := writeReq(0, pattern(size, 1))
		ch := r.submit(q)
		wait1(t, begun, "data")
		if got := wait1(t, r.tmf(abort1(q)), "response"); got != backends.TMDataOwed {
			t.Errorf("got %v", got)
		}
		close(aborted)
		o := wait1(t, ch, "completion")
		if o.res.Class != backends.Transport {
			t.Errorf("got %+v", o.res)
		}
		if l := wait1(t, r.down, "loss"); l.Class != backends.LossProtocol {
			t.Errorf("got loss %v: %v", l.Class, l.Err)
		}
	})
}

// TestDataInCrumbs: a read that comes in single bytes would cost hundreds of times
// its memory.
func TestDataInCrumbs(t *testing.T) {
	hostile(t, func() *backends.Request { return readReq(0, 64<<10) }, func(f *fake, c wire.SCSICommand) {
		for i := range uint32(64 << 10) {
			f.send(&wire.DataIn{
				ITT: c.ITT, TTT: wire.NoTag, Numbers: f.numbers(), DataSegmentLength: 1,
				DataSN: wire.SerialOf(i), BufferOffset: i,
			}, []byte{1})
		}
	})
}
