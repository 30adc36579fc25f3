// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// TestB26UnmapLists: lists that lie or lead off the medium change nothing.
func TestB26UnmapLists(t *testing.T) {
	c := newBed(t, UnitConfig{}).open(0, 1)
	data := pattern(1, 64*512)
	c.good(writeCDB(0, 64), data, 0)
	good := []scsi.BlockRange{{LBA: 8, Blocks: 8}}
	lies := scsi.AppendUnmapList(nil, good)
	lies[1] = 200
	for name, tt := range map[string]struct {
		list []byte
		want scsi.SenseCode
	}{
		"short":        {scsi.AppendUnmapList(nil, good)[:7], scsi.CodeParameterListLength},
		"lying":        {lies, scsi.CodeParameterListLength},
		"off the end":  {scsi.AppendUnmapList(nil, append(good, scsi.BlockRange{LBA: 8191, Blocks: 2})), scsi.CodeLBAOutOfRange},
		"overflow":     {scsi.AppendUnmapList(nil, append(good, scsi.BlockRange{LBA: 1<<64 - 1, Blocks: 2})), scsi.CodeLBAOutOfRange},
		"many ranges":  {scsi.AppendUnmapList(nil, make([]scsi.BlockRange, 257)), scsi.CodeInvalidFieldInParameters},
		"no ranges":    {scsi.AppendUnmapList(nil, nil), 0},
		"empty ranges": {scsi.AppendUnmapList(nil, make([]scsi.BlockRange, 256)), 0},
		"nothing":      {nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			x := cdb(scsi.Unmap{ParameterListLength: uint16(len(tt.list))})
			if cmd := c.do(x, tt.list, 0); !senseOf(t, cmd).Is(tt.want) {
				t.Errorf("%v, want %v", senseOf(t, cmd), tt.want)
			}
			if !bytes.Equal(c.good(readCDB(0, 64), nil, len(data)), data) {
				t.Error("blocks were changed")
			}
		})
	}
	x := cdb(scsi.Unmap{ParameterListLength: 40})
	c.good(x, scsi.AppendUnmapList(nil, []scsi.BlockRange{{LBA: 8, Blocks: 8}, {LBA: 32, Blocks: 1}}), 0)
	clear(data[8*512 : 16*512])
	clear(data[32*512 : 33*512])
	if !bytes.Equal(c.good(readCDB(0, 64), nil, len(data)), data) {
		t.Error("other blocks were unmapped")
	}
}

func TestWriteSame(t *testing.T) {
	d := &recorder{limited: newLimited(t, func(i *backends.Info) { i.MaxTransfer, i.MaxZeroes = 8192, 16384 })}
	c := newBed(t, UnitConfig{Device: d}).open(0, 1)
	block := pattern(9, 512)
	for _, size := range []int{10, 16} {
		c.good(cdb(scsi.WriteSame{Size: size, LBA: 5, Blocks: 100}), block, 0)
		if got := c.good(readCDB(5, 100), nil, 100*512); !bytes.Equal(got, bytes.Repeat(block, 100)) {
			t.Error("not written everywhere")
		}
		d.ops = nil
		c.good(cdb(scsi.WriteSame{Size: size, LBA: 5, Blocks: 99, Unmap: true}), make([]byte, 512), 0)
		want := slices.Repeat([]backends.Op{backends.WriteZeroes}, 4)
		if got := c.good(readCDB(5, 100), nil, 100*512); !bytes.Equal(got, append(make([]byte, 99*512), block...)) || !slices.Equal(d.ops[:4], want) {
			t.Errorf("not zeroed, by %v", d.ops)
		}
		c.fails(scsi.CodeInvalidFieldInCDB, cdb(scsi.WriteSame{Size: size, LBA: 5}), block, 0)
		c.fails(scsi.CodeInvalidFieldInCDB, cdb(scsi.WriteSame{Size: size, Blocks: 1, Anchor: true, Unmap: true}), block, 0)
		c.fails(scsi.CodeLBAOutOfRange, cdb(scsi.WriteSame{Size: size, LBA: 8192, Blocks: 1}), block, 0)
		c.fails(codeInvalidInformationUnit, cdb(scsi.WriteSame{Size: size, Blocks: 1}), block[:256], 0)
		c.fails(codeInvalidInformationUnit, cdb(scsi.WriteSame{Size: size, Blocks: 1}), make([]byte, 1024), 0)
	}
	c.good(cdb(scsi.WriteSame{Size: 16, LBA: 104, Blocks: 1, NoDataOut: true}), nil, 0)
	if got := c.good(readCDB(104, 1), nil, 512); !bytes.Equal(got, make([]byte, 512)) {
		t.Error("NDOB does not write zeros")
	}
}

// TestLBAStatus: extents become whole blocks.
func TestLBAStatus(t *testing.T) {
	const hole, data = true, false
	x := func(n uint64, h bool) backends.Extent { return backends.Extent{Length: n, Hole: h, Zero: h} }
	for i, tt := range []struct {
		list []backends.Extent
		want string // length and status of each descriptor
	}{
		{[]backends.Extent{x(8*4096, hole)}, "8d"},
		{[]backends.Extent{x(4096, data), x(4096, hole), x(6*4096, data)}, "1m 1d 6m"},
		{[]backends.Extent{x(512, data), x(7*4096, hole), x(3584, data)}, "1m 6d 1m"},
		{[]backends.Extent{x(512, hole), x(512, data), x(7*4096, hole), x(3072, hole)}, "1m 7d"},
		{[]backends.Extent{x(512, hole)}, "1m"},
		{[]backends.Extent{x(3*4096, hole), x(100*4096, data)}, "3d 5m"},
	} {
		got := ""
		lba := uint64(16)
		for _, s := range statusOf(tt.list, 16, 8, 4096) {
			if s.LBA != lba {
				t.Errorf("%d: descriptor of LBA %d, want %d", i, s.LBA, lba)
			}
			lba += uint64(s.Blocks)
			got += fmt.Sprintf(" %d%s", s.Blocks, map[scsi.ProvisioningStatus]string{scsi.Mapped: "m", scsi.Deallocated: "d"}[s.Status])
		}
		if got != " "+tt.want {
			t.Errorf("%d: got%s, want %s", i, got, tt.want)
		}
	}
	c := newBed(t, UnitConfig{}).open(0, 1)
	c.good(writeCDB(2048, 1), pattern(1, 512), 0)
	list, err := scsi.DecodeLBAStatus(nil, c.good(cdb(scsi.GetLBAStatus{LBA: 7, AllocationLength: 256}), nil, 256))
	if err != nil || len(list) != 3 || list[0].LBA != 7 || list[1].LBA != 2048 || list[1].Status != scsi.Mapped {
		t.Errorf("status %+v, %v", list, err)
	}
	c.fails(scsi.CodeLBAOutOfRange, cdb(scsi.GetLBAStatus{LBA: 8192, AllocationLength: 64}), nil, 64)
}

// TestPrefetchAndDefects has what always works.
func TestPrefetchAndDefects(t *testing.T) {
	c := newBed(t, UnitConfig{}).open(0, 1)
	for _, size := range []int{10, 16} {
		c.good(cdb(scsi.Prefetch{Size: size, LBA: 1, Blocks: 8}), nil, 0)
		c.good(cdb(scsi.Prefetch{Size: size, LBA: 1}), nil, 0)
		c.fails(scsi.CodeLBAOutOfRange, cdb(scsi.Prefetch{Size: size, LBA: 8193}), nil, 0)
		c.good(cdb(scsi.SynchronizeCache{Size: size, LBA: 1, Blocks: 8, Immediate: true}), nil, 0)
		c.fails(scsi.CodeLBAOutOfRange, cdb(scsi.SynchronizeCache{Size: size, LBA: 8192, Blocks: 1}), nil, 0)
	}
	if got := c.good(scsi.CDB{byte(scsi.OpReadDefectData10), 0, 0x1d, 0, 0, 0, 0, 0, 8}, nil, 8); !bytes.Equal(got, []byte{0, 0x1d, 0, 0}) {
		t.Errorf("defects %x", got)
	}
	if got := c.good(scsi.CDB{byte(scsi.OpReadDefectData12), 0x0d, 0, 0, 0, 0, 0, 0, 0, 64}, nil, 64); !bytes.Equal(got, []byte{0, 0x0d, 0, 0, 0, 0, 0, 0}) {
		t.Errorf("defects %x", got)
	}
	c.good(scsi.CDB{byte(scsi.OpPreventAllow), 0, 0, 0, 1}, nil, 0)
	c.good(cdb(scsi.StartStopUnit{}), nil, 0)
}
