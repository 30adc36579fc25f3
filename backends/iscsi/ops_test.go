// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"bytes"
	"testing"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
	"pathgate/internal/scsi"
)

// TestCommands pins the CDB and the data of each operation.
func TestCommands(t *testing.T) {
	big := testGeometry
	big.Size = 1 << 50
	noWS := testGeometry
	noWS.WriteSame, noWS.MaxBlocks = false, 4
	noFUA := testGeometry
	noFUA.FUA = false
	thin := testGeometry
	thin.UnmapSame = true
	type sent struct {
		op   scsi.Opcode
		lba  uint64
		n    uint32 // blocks, where the command has them
		fua  bool   // of WRITE SAME: the UNMAP bit
		edtl uint32
	}
	tests := []struct {
		name string
		g    backends.Geometry
		r    backends.Request
		want []sent
	}{
		{"read", testGeometry, backends.Request{Op: backends.Read, Offset: 512, Length: 4096}, []sent{{scsi.OpRead10, 1, 8, false, 4096}}},
		{"read far away", big, backends.Request{Op: backends.Read, Offset: 1 << 45, Length: 512}, []sent{{scsi.OpRead16, 1 << 36, 1, false, 512}}},
		{"long read", big, backends.Request{Op: backends.Read, Length: 65536 * 512}, []sent{{scsi.OpRead16, 0, 65536, false, 65536 * 512}}},
		{"write", testGeometry, backends.Request{Op: backends.Write, Length: 512}, []sent{{scsi.OpWrite10, 0, 1, false, 512}}},
		{"write with FUA", testGeometry, backends.Request{Op: backends.Write, Length: 512, FUA: true}, []sent{{scsi.OpWrite10, 0, 1, true, 512}}},
		{"FUA not honoured", noFUA, backends.Request{Op: backends.Write, Length: 512, FUA: true}, []sent{{scsi.OpWrite10, 0, 1, false, 512}}},
		{"flush", testGeometry, backends.Request{Op: backends.Flush}, []sent{{scsi.OpSynchronizeCache10, 0, 0, false, 0}}},
		{"compare and write", testGeometry, backends.Request{Op: backends.CompareAndWrite, Length: 512}, []sent{{scsi.OpCompareAndWrite, 0, 1, false, 1024}}},
		{
			"unmap with FUA", testGeometry,
			backends.Request{Op: backends.Unmap, Length: 4096, FUA: true},
			[]sent{{scsi.OpUnmap, 0, 24, false, 24}, {scsi.OpSynchronizeCache10, 0, 0, false, 0}},
		},
		{
			"huge unmap", big,
			backends.Request{Op: backends.Unmap, Length: 1<<32*512 + 512},
			[]sent{{scsi.OpUnmap, 0, 24, false, 24}, {scsi.OpUnmap, 0, 24, false, 24}},
		},
		{"zeroes", testGeometry, backends.Request{Op: backends.WriteZeroes, Offset: 512, Length: 8192}, []sent{{scsi.OpWriteSame16, 1, 16, false, 512}}},
		{"zeroes, thin", thin, backends.Request{Op: backends.WriteZeroes, Length: 8192}, []sent{{scsi.OpWriteSame16, 0, 16, true, 512}}},
		{"zeroes, thin, no hole", thin, backends.Request{Op: backends.WriteZeroes, Length: 8192, NoUnmap: true}, []sent{{scsi.OpWriteSame16, 0, 16, false, 512}}},
		{
			"zeroes with FUA", testGeometry,
			backends.Request{Op: backends.WriteZeroes, Length: 8192, FUA: true},
			[]sent{{scsi.OpWriteSame16, 0, 16, false, 512}, {scsi.OpSynchronizeCache10, 0, 0, false, 0}},
		},
		{
			"zeroes by writes", noWS,
			backends.Request{Op: backends.WriteZeroes, Offset: 1024, Length: 9 * 512, FUA: true},
			[]sent{{scsi.OpWrite10, 2, 4, true, 2048}, {scsi.OpWrite10, 6, 4, true, 2048}, {scsi.OpWrite10, 10, 1, true, 512}},
		},
		{"cache", testGeometry, backends.Request{Op: backends.Cache, Length: 512}, []sent{{scsi.OpPrefetch10, 0, 1, false, 0}}},
		{"verify", testGeometry, backends.Request{Op: backends.Verify, Length: 512}, []sent{{scsi.OpVerify16, 0, 1, false, 0}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, func(f *fake) {
				for i, want := range tt.want {
					c, data := f.command()
					cdb := scsi.CDB(c.CDB)
					got := sent{op: cdb.Opcode(), edtl: c.ExpectedDataTransferLength}
					switch n, _ := cdb.Len(); n {
					case 10:
						got.lba, got.n = uint64(be(cdb[2:6])), be(cdb[7:9])
						got.fua = cdb[1]&8 != 0
					case 16:
						got.lba, got.n = uint64(be(cdb[2:6]))<<32|uint64(be(cdb[6:10])), be(cdb[10:14])
						got.fua = got.op == scsi.OpWriteSame16 && cdb[1]&8 != 0
						if got.op == scsi.OpCompareAndWrite {
							got.n = uint32(cdb[13])
						}
					}
					if got != want {
						t.Errorf("command %d: got %+v, want %+v", i, got, want)
					}
					if c.Write && tt.r.Op == backends.WriteZeroes && !bytes.Equal(f.takeData(c, data), make([]byte, got.edtl)) {
						t.Error("zeroes carry other data")
					} else if c.Write && tt.r.Op != backends.WriteZeroes {
						f.takeData(c, data)
					}
					if c.Read {
						f.check(c.ITT, 3, 0x11, 0) // no need to send so much
					} else {
						f.good(c.ITT)
					}
				}
				f.disk(nil)
			})
			l := r.waitUp()
			r.s.SetGeometry(l.Generation, tt.g)
			q := tt.r
			if q.Op == backends.Write || q.Op == backends.CompareAndWrite {
				q.Data.AppendZeros(int(tt.want[0].edtl))
			}
			want := backends.OK
			if q.Op == backends.Read {
				want = backends.Medium
			}
			if res := r.do(&q); res.Class != want {
				t.Errorf("got %+v", res)
			}
		})
	}
}

func be(b []byte) (v uint32) {
	for _, c := range b {
		v = v<<8 | uint32(c)
	}
	return v
}

// TestStepsFail: a request of several commands ends with the first failure, and
// tells by Sent that none of it runs.
func TestStepsFail(t *testing.T) {
	g := testGeometry
	g.WriteSame, g.MaxBlocks = false, 1
	r := newRig(t, func(f *fake) {
		c, _ := f.command()
		f.good(c.ITT)
		c, _ = f.command()
		f.check(c.ITT, 3, 0x0c, 0)
		f.disk(nil)
	})
	l := r.waitUp()
	r.s.SetGeometry(l.Generation, g)
	if res := r.do(&backends.Request{Op: backends.WriteZeroes, Length: 2048}); res.Class != backends.Medium || res.Sent != backends.SentAnswered {
		t.Errorf("got %+v", res)
	}
}

func TestBlockStatus(t *testing.T) {
	answer := func(list ...scsi.LBAStatus) []byte { return scsi.AppendLBAStatus(nil, list) }
	d := func(lba uint64, n uint32, s scsi.ProvisioningStatus) scsi.LBAStatus {
		return scsi.LBAStatus{BlockRange: scsi.BlockRange{LBA: lba, Blocks: n}, Status: s}
	}
	ext := func(n uint64, hole bool) backends.Extent { return backends.Extent{Length: n, Hole: hole} }
	tests := []struct {
		name string
		data []byte
		want []backends.Extent // nil: failure
	}{
		{"exact", answer(d(8, 8, scsi.Mapped)), []backends.Extent{ext(4096, false)}},
		{"begins before", answer(d(0, 12, scsi.Deallocated), d(12, 100, scsi.Mapped)), []backends.Extent{ext(2048, true), ext(2048, false)}},
		{"ends early", answer(d(8, 1, scsi.Anchored)), []backends.Extent{ext(512, true)}},
		{"begins behind", answer(d(9, 8, scsi.Mapped)), nil},
		{"ends before", answer(d(0, 8, scsi.Mapped)), nil},
		{"empty", answer(), nil},
		{"beyond all", answer(d(0, 0xffffffff, scsi.Mapped), d(0xffffffff, 0xffffffff, scsi.Mapped)), []backends.Extent{ext(4096, false)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, func(f *fake) {
				c, _ := f.command()
				f.send(&wire.DataIn{
					Final: true, HasStatus: true, ITT: c.ITT, TTT: wire.NoTag, Numbers: f.status(),
					Residual: wire.Residual{Underflow: true, Count: c.ExpectedDataTransferLength - uint32(len(tt.data))},
				}, tt.data)
				f.disk(nil)
			})
			r.waitUp()
			q := &backends.Request{Op: backends.BlockStatus, Offset: 4096, Length: 4096}
			res := r.do(q)
			if res.OK() != (tt.want != nil) || res.OK() && len(q.Extents) != len(tt.want) {
				t.Fatalf("got %+v %+v, want %+v", res, q.Extents, tt.want)
			}
			for i := range tt.want {
				if q.Extents[i] != tt.want[i] {
					t.Errorf("extent %d: got %+v, want %+v", i, q.Extents[i], tt.want[i])
				}
			}
		})
	}
}
