// SPDX-License-Identifier: Apache-2.0

//go:build !race

package iscsi

import (
	"testing"

	"pathgate/backends"
)

// allocFree serves 4 KiB reads and writes without allocating, so that
// what AllocsPerRun counts is the initiator's.
func allocFree(f *fake) {
	var in [48 + 4096]byte
	var out [48 + 4096]byte
	n := 0
	for {
		for n < 48 {
			k, err := f.sock.Read(in[n:])
			if err != nil {
				return
			}
			n += k
		}
		length := int(in[5])<<16 | int(in[6])<<8 | int(in[7])
		for n < 48+length {
			k, err := f.sock.Read(in[n:])
			if err != nil {
				return
			}
			n += k
		}
		clear(out[:48])
		copy(out[16:20], in[16:20]) // ITT
		size := 48
		switch {
		case in[0]&0x3f == 0: // NOP-Out
			out[0], out[1] = 0x20, 0x80
			copy(out[20:24], "\xff\xff\xff\xff")
		case in[1]&0x40 != 0: // read
			out[0], out[1] = 0x25, 0x81
			copy(out[20:24], "\xff\xff\xff\xff")
			out[6] = 4096 >> 8
			size += 4096
		default:
			out[0], out[1] = 0x21, 0x80
		}
		sn := uint32(in[24])<<24 | uint32(in[25])<<16 | uint32(in[26])<<8 | uint32(in[27])
		put32(out[24:], f.statSN.Uint32())
		f.statSN = f.statSN.Next()
		put32(out[28:], sn+1)
		put32(out[32:], sn+32)
		if _, err := f.sock.Write(out[:size]); err != nil {
			return
		}
		n = copy(in[:], in[48+length:n])
	}
}

func put32(b []byte, v uint32) {
	b[0], b[1], b[2], b[3] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
}

// done signals the end of a request without allocating.
type done struct{ ch chan backends.Result }

func (d *done) Complete(_ *backends.Batch, _ *backends.Request, res backends.Result) { d.ch <- res }

func TestNoAllocationPerRequest(t *testing.T) {
	r := newRig(t, allocFree, overTCP)
	r.waitUp()
	d := &done{make(chan backends.Result, 1)}
	payload := pattern(4096, 1)
	var b backends.Batch
	reqs := make([]*backends.Request, 1)
	run := func(q *backends.Request) {
		q.Completer = d
		reqs[0] = q
		r.s.Submit(&b, reqs)
		b.Run()
		if res := <-d.ch; !res.OK() {
			t.Fatalf("%v: %+v", q.Op, res)
		}
	}
	read := &backends.Request{Op: backends.Read, Length: 4096}
	write := writeReq(0, payload)
	for name, f := range map[string]func(){
		"read": func() {
			run(read)
			read.Data.Release()
		},
		"write": func() { run(write) },
	} {
		for range 100 {
			f() // pools fill, tables grow
		}
		if n := testing.AllocsPerRun(2000, f); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
}

func BenchmarkRead4k(b *testing.B) {
	r := newRig(b, allocFree, overTCP)
	r.waitUp()
	d := &done{make(chan backends.Result, 1)}
	q := &backends.Request{Op: backends.Read, Length: 4096, Completer: d}
	reqs := []*backends.Request{q}
	var batch backends.Batch
	b.ReportAllocs()
	for b.Loop() {
		r.s.Submit(&batch, reqs)
		batch.Run()
		<-d.ch
		q.Data.Release()
	}
}
