// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"bytes"
	"fmt"
	"testing"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

// TestNegotiationMatrix writes and reads back under every combination of what
// decides how data travels; the fake checks bursts, order and numbers.
func TestNegotiationMatrix(t *testing.T) {
	bursts := []struct{ first, max, segment uint32 }{{512, 512, 512}, {4096, 8192, 4096}, {65536, 262144, 8192}, {8192, 8192, 65536}}
	for i := range 64 {
		immediate, initialR2T := i&1 != 0, i&2 != 0
		header, data := i&4 != 0, i&8 != 0
		b := bursts[i>>4]
		name := fmt.Sprintf("immediate=%v r2t=%v digests=%v,%v first=%d max=%d", immediate, initialR2T, header, data, b.first, b.max)
		t.Run(name, func(t *testing.T) {
			mem := make([]byte, testGeometry.Size)
			r := newRig(t, func(f *fake) { f.disk(mem) }, func(c *Config, s *wire.Settings, _ *rigOptions) {
				c.HeaderDigest, c.DataDigest = DigestPrefer, DigestPrefer
				s.ImmediateData, s.InitialR2T = immediate, initialR2T
				s.FirstBurstLength, s.MaxBurstLength, s.MaxRecvDataSegmentLength = b.first, b.max, b.segment
				if header {
					s.HeaderDigest = []wire.Digest{wire.DigestCRC32C}
				}
				if data {
					s.DataDigest = []wire.Digest{wire.DigestCRC32C}
				}
			})
			r.waitUp()
			for seed, n := range []int{512, 1536, 65536, 200 * 512} {
				want := pattern(n, byte(seed))
				w := writeReq(4096, want)
				if res := r.do(w); !res.OK() {
					t.Fatalf("write of %d: %+v", n, res)
				}
				w.Data.Release()
				q := readReq(4096, uint64(n))
				if res := r.do(q); !res.OK() || !bytes.Equal(q.Data.Bytes(), want) {
					t.Fatalf("read of %d: %+v, right data: %v", n, res, bytes.Equal(q.Data.Bytes(), want))
				}
				q.Data.Release()
			}
		})
	}
}

// TestWindow: commands beyond the window wait and go out in order, across the
// wrap of CmdSN, and none is sent that the window does not admit.
func TestWindow(t *testing.T) {
	const n = 40
	r := newRig(t, func(f *fake) {
		for i := range n {
			c, _ := f.command()
			if want := uint32(1 + i); c.CmdSN.Uint32() != want {
				t.Errorf("CmdSN %v, want %d", c.CmdSN, want)
			}
			if got := uint32(c.CDB[5]); got != uint32(i) {
				t.Errorf("command %d is for block %d", i, got)
			}
			f.sendData(c, make([]byte, 512))
		}
	}, withWindow(3))
	r.waitUp()
	var reqs []*backends.Request
	for i := range n {
		reqs = append(reqs, readReq(uint64(i)*512, 512))
	}
	ch := r.submit(reqs...)
	if out, room := r.s.Load(); out > n || room > 3 {
		t.Errorf("load %d, room %d", out, room)
	}
	for i := range n {
		if o := wait1(t, ch, "completion"); !o.res.OK() || o.r != reqs[i] {
			t.Fatalf("completion %d: %+v", i, o.res)
		}
	}
}

func TestWindowCore(t *testing.T) {
	num := func(exp, max uint32) wire.Numbers {
		return wire.Numbers{ExpCmdSN: wire.SerialOf(exp), MaxCmdSN: wire.SerialOf(max)}
	}
	tests := []struct {
		name string
		next uint32
		nums []wire.Numbers
		want int
	}{
		{"open", 1, []wire.Numbers{num(1, 8)}, 8},
		{"closed", 1, []wire.Numbers{num(1, 0)}, 0},
		{"never shrinks", 1, []wire.Numbers{num(1, 8), num(1, 4)}, 8},
		{"B34: no window", 1, []wire.Numbers{num(1, 8), num(20, 10)}, 8},
		{"across the wrap", 0xfffffffe, []wire.Numbers{num(0xfffffffe, 3)}, 6},
		{"absurdly wide", 1, []wire.Numbers{num(1, 0x7ffffff0)}, maxWindow},
		{"half the circle away", 1, []wire.Numbers{num(1, 8), num(1, 0x80000010)}, 8},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := startWindow(wire.SerialOf(tt.next), tt.nums[0])
			for _, n := range tt.nums[1:] {
				w.update(n)
			}
			if got := w.room(); got != tt.want {
				t.Errorf("got room %d, want %d", got, tt.want)
			}
		})
	}
}

// TestWindowIsFair: a LUN with many waiting commands does not hold up another.
func TestWindowIsFair(t *testing.T) {
	served := make(chan byte, 64)
	go1 := make(chan struct{})
	r := newRig(t, func(f *fake) {
		<-go1
		for range 21 {
			c, _ := f.command()
			served <- c.LUN[1]
			f.sendData(c, make([]byte, 512))
		}
	}, withWindow(1), overTCP)
	l := r.waitUp()
	other := r.n.Session(2)
	other.SetGeometry(l.Generation, testGeometry)
	var reqs []*backends.Request
	for range 20 {
		reqs = append(reqs, readReq(0, 512))
	}
	many := r.submit(reqs...)
	r.s = other
	one := r.submit(readReq(0, 512))
	close(go1)
	wait1(t, one, "completion")
	for range 20 {
		wait1(t, many, "completion")
	}
	// The first was sent at once, the other LUN's is next in turn or after one.
	at := -1
	for i := range 21 {
		if <-served == 2 {
			at = i
		}
	}
	if at < 1 || at > 2 {
		t.Errorf("the other LUN's command was number %d", at)
	}
}
