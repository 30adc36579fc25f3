// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"testing"

	"pathgate/backends"
	spc "pathgate/internal/scsi"
)

// demanded gives the only request that waits.
func (d *stuck) demanded(tb testing.TB) backends.Request {
	tb.Helper()
	eventually(tb, "a request at the device", func() bool { return d.waiting() > 0 })
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.held) != 1 {
		tb.Fatalf("%d requests at the device", len(d.held))
	}
	return backends.Request{Op: d.held[0].Op, FUA: d.held[0].FUA}
}

// P2: what a command demands to be on stable storage is, according to the device,
// before anything about the command is on the wire.
func TestP02AnsweredWhenStored(t *testing.T) {
	for _, tt := range []struct {
		name  string
		cdb   interface{ Encode(b *[16]byte) int }
		data  int
		lba   int // of the last block of data
		op    backends.Op
		cache backends.CacheMode
	}{
		{"WRITE(10) with FUA", spc.ReadWrite{Write: true, Size: 10, Blocks: 2, FUA: true}, 1024, 1, backends.Write, backends.CacheVolatile},
		{"WRITE(12) with FUA", spc.ReadWrite{Write: true, Size: 12, Blocks: 2, FUA: true}, 1024, 1, backends.Write, backends.CacheVolatile},
		{"WRITE(16) with FUA", spc.ReadWrite{Write: true, Size: 16, Blocks: 2, FUA: true}, 1024, 1, backends.Write, backends.CacheVolatile},
		{"WRITE(16) with FUA, no cache", spc.ReadWrite{Write: true, Size: 16, Blocks: 2, FUA: true}, 1024, 1, backends.Write, backends.CacheNone},
		{"COMPARE AND WRITE with FUA", spc.CompareAndWrite{Blocks: 1, FUA: true}, 1024, 0, backends.CompareAndWrite, backends.CacheVolatile},
		{"SYNCHRONIZE CACHE(10)", spc.SynchronizeCache{Size: 10}, 0, 0, backends.Flush, backends.CacheVolatile},
		{"SYNCHRONIZE CACHE(16)", spc.SynchronizeCache{Size: 16, LBA: 8, Blocks: 8}, 0, 0, backends.Flush, backends.CacheVolatile},
		{"SYNCHRONIZE CACHE(10), no cache", spc.SynchronizeCache{Size: 10}, 0, 0, backends.Flush, backends.CacheNone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := &cached{&stuck{Memory: memory(t)}, tt.cache}
			r := serve(t, Config{}, newSource().add(t, testTarget, d)).session(t)
			var cdb [16]byte
			n := tt.cdb.Encode(&cdb)
			d.hold()
			c := r.command(cdb[:n])
			c.Write, c.ExpectedDataTransferLength = tt.data > 0, uint32(tt.data)
			// The block is zeros before, which is what COMPARE AND WRITE expects.
			block := noise(1, 512)
			data := append(make([]byte, max(tt.data-512, 0)), block[:min(tt.data, 512)]...)
			r.pdu(c, data)
			if got := d.demanded(t); got.Op != tt.op || got.FUA != (tt.data > 0) {
				t.Errorf("the device has %v, FUA %v", got.Op, got.FUA)
			}
			r.ping() // an answer that did not wait would be before this one's
			r.ping()
			d.release()
			r.good(c.ITT)
			r.ping() // and there is no second one (P5)
			if tt.data > 0 {
				r.blocks(tt.lba, block)
			}
		})
	}
}

// cached is a stuck disk that tells of another cache.
type cached struct {
	*stuck
	mode backends.CacheMode
}

func (d *cached) Info() backends.Info {
	i := d.stuck.Info()
	i.WriteCache = d.mode
	return i
}

// P2, P13: a write with FUA that the device could not make durable, and a flush that
// failed, fail.
func TestP02FailureIsTold(t *testing.T) {
	d := backends.NewErrorFault(memory(t))
	r := serve(t, Config{}, newSource().add(t, testTarget, d)).session(t)
	d.Set(&backends.FaultRule{}, backends.Failed(backends.Medium))
	w := r.scsiWrite(0, 1)
	w.CDB[1] = 8 // FUA
	r.pdu(w, make([]byte, 512))
	f := r.command([]byte{byte(spc.OpSynchronizeCache10)})
	if p, s := r.status(w.ITT); p.Status != uint8(spc.StatusCheckCondition) || s.Key != spc.MediumError {
		t.Errorf("WRITE: %#x, %v", p.Status, s)
	}
	r.pdu(f, nil)
	if p, s := r.status(f.ITT); p.Status != uint8(spc.StatusCheckCondition) || s.Key != spc.MediumError {
		t.Errorf("SYNCHRONIZE CACHE: %#x, %v", p.Status, s)
	}
	d.Set(nil, backends.Done())
	f = r.command([]byte{byte(spc.OpSynchronizeCache16)})
	r.pdu(f, nil)
	r.good(f.ITT)
}
