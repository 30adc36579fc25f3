// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"bytes"
	"fmt"
	"testing"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

func TestReadWriteSizes(t *testing.T) {
	for _, size := range []int{6, 10, 12, 16} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			c := newBed(t, UnitConfig{}).open(0, 1)
			want := pattern(byte(size), 4096)
			c.good(cdb(scsi.ReadWrite{Write: true, Size: size, LBA: 9, Blocks: 8}), want, 0)
			got := c.good(cdb(scsi.ReadWrite{Size: size, LBA: 9, Blocks: 8}), nil, 4096)
			if !bytes.Equal(got, want) {
				t.Fatal("other data was read than written")
			}
		})
	}
}

// TestB25Ranges has the rows of the range: the last LBA, beyond it, no blocks, an
// overflow, and longer than MAXIMUM TRANSFER LENGTH.
func TestB25Ranges(t *testing.T) {
	const blocks = 8192 // of 4 MiB
	tests := []struct {
		name   string
		lba    uint64
		blocks uint32
		want   scsi.SenseCode
	}{
		{"last", blocks - 1, 1, 0},
		{"none at the end", blocks, 0, 0},
		{"none behind the end", blocks + 1, 0, scsi.CodeLBAOutOfRange},
		{"over the end", blocks - 1, 2, scsi.CodeLBAOutOfRange},
		{"overflow", 1<<64 - 1, 2, scsi.CodeLBAOutOfRange},
		{"most blocks", 0, 1<<32 - 1, scsi.CodeLBAOutOfRange},
		{"longest", 0, 2048, 0},
		{"too long", 0, 2049, scsi.CodeInvalidFieldInCDB},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newBed(t, UnitConfig{MaxTransfer: 1 << 20}).open(0, 1)
			read := cdb(scsi.ReadWrite{Size: 16, LBA: tt.lba, Blocks: tt.blocks})
			write := cdb(scsi.ReadWrite{Write: true, Size: 16, LBA: tt.lba, Blocks: tt.blocks})
			n := int(min(tt.blocks, 4096)) * 512
			if tt.want != 0 {
				c.fails(tt.want, read, nil, 512)
				c.fails(tt.want, write, make([]byte, 512), 0)
				return
			}
			c.good(write, pattern(1, n), 0)
			if got := c.good(read, nil, n); !bytes.Equal(got, pattern(1, n)) {
				t.Fatal("other data was read than written")
			}
		})
	}
}

// TestB11Residuals: what the initiator expects differs from the CDB.
func TestB11Residuals(t *testing.T) {
	tests := []struct {
		name        string
		cdb         scsi.CDB
		read, write bool
		expected    uint32
		want        scsi.SenseCode
		in          int
		residual    uint32
		overflow    bool
	}{
		{"read all", readCDB(0, 2), true, false, 1024, 0, 1024, 0, false},
		{"read less", readCDB(0, 2), true, false, 512, 0, 512, 512, true},
		{"read part of a block", readCDB(0, 1), true, false, 200, 0, 200, 312, true},
		{"read none", readCDB(0, 1), true, false, 0, 0, 0, 512, true},
		{"read without a bit", readCDB(0, 1), false, false, 512, 0, 0, 512, true},
		{"read more", readCDB(0, 1), true, false, 10000, 0, 512, 10000 - 512, false},
		{"read, huge", readCDB(0, 1), true, false, 1<<32 - 1, 0, 512, 1<<32 - 1 - 512, false},
		{"read with W", readCDB(0, 1), false, true, 512, 0, 0, 512, false},
		{"both", readCDB(0, 1), true, true, 512, codeInvalidInformationUnit, 0, 512, false},
		{"write all", writeCDB(0, 1), false, true, 512, 0, 0, 0, false},
		{"write more", writeCDB(0, 1), false, true, 10000, 0, 0, 10000 - 512, false},
		{"write less", writeCDB(0, 2), false, true, 512, 0, 0, 512, true},
		{"write part of a block", writeCDB(0, 1), false, true, 200, codeInvalidInformationUnit, 0, 312, true},
		{"write none", writeCDB(0, 1), false, false, 0, 0, 0, 512, true},
		{"write with R", writeCDB(0, 1), true, false, 512, codeInvalidInformationUnit, 0, 512, false},
		{"no data, R", tur(), true, false, 16, 0, 0, 16, false},
		{"inquiry", cdb(scsi.Inquiry{AllocationLength: 36}), true, false, 8, 0, 8, 28, true},
		{"inquiry, short", cdb(scsi.Inquiry{AllocationLength: 255}), true, false, 255, 0, 96, 159, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newBed(t, UnitConfig{}).open(0, 1)
			cmd := c.command(0, tt.cdb, nil, 0)
			cmd.Read, cmd.Write, cmd.Expected = tt.read, tt.write, tt.expected
			if c.n.Begin(cmd) {
				cmd.Out.AppendZeros(int(cmd.Want))
				c.n.Submit(&c.batch, []*Command{cmd})
				c.batch.Run()
				if !c.ended(cmd) {
					t.Fatal("not ended")
				}
			}
			if s := senseOf(t, cmd); !s.Is(tt.want) {
				t.Errorf("sense %v, want %v", s, tt.want)
			}
			if cmd.In.Len() != tt.in || cmd.Residual != tt.residual || cmd.Overflow != tt.overflow {
				t.Errorf("%d bytes, residual %d, overflow %v, want %d, %d, %v",
					cmd.In.Len(), cmd.Residual, cmd.Overflow, tt.in, tt.residual, tt.overflow)
			}
		})
	}
}

// limited is a memory disk that takes short requests only, and less of them.
type limited struct {
	*backends.Memory
	info backends.Info
}

func (d *limited) Info() backends.Info { return d.info }

func (d *limited) Submit(b *backends.Batch, reqs []*backends.Request) {
	for _, r := range reqs {
		if res := d.info.Check(r); !res.OK() {
			b.Complete(r, res)
			continue
		}
		d.Memory.Submit(b, []*backends.Request{r})
	}
}

func newLimited(tb testing.TB, change func(*backends.Info)) *limited {
	d := &limited{Memory: memory(tb, 4<<20)}
	d.info = d.Memory.Info()
	change(&d.info)
	return d
}

// TestLongTransfers: a READ or WRITE that is longer than the device takes goes in
// pieces.
func TestLongTransfers(t *testing.T) {
	d := newLimited(t, func(i *backends.Info) { i.MaxTransfer = 64 << 10 })
	c := newBed(t, UnitConfig{Device: d}).open(0, 1)
	want := pattern(3, 1<<20+512)
	c.good(writeCDB(1, 2049), want, 0)
	if got := c.good(readCDB(1, 2049), nil, len(want)); !bytes.Equal(got, want) {
		t.Fatal("other data was read than written")
	}
	if got := c.good(readCDB(1, 2049), nil, 100_000); !bytes.Equal(got, want[:100_000]) {
		t.Fatal("other data was read of the beginning")
	}
}

func TestVerify(t *testing.T) {
	for _, able := range []bool{true, false} {
		t.Run(fmt.Sprint("can ", able), func(t *testing.T) {
			d := newLimited(t, func(i *backends.Info) {
				i.MaxTransfer = 2048
				if !able {
					i.Caps &^= backends.CanVerify
				}
			})
			c := newBed(t, UnitConfig{Device: d}).open(0, 1)
			data := pattern(5, 8192)
			for _, size := range []int{10, 12, 16} {
				v := scsi.Verify{Size: size, LBA: 7, Blocks: 16, ByteCheck: scsi.ByteCheckData}
				w := v
				w.Write = true
				c.good(cdb(w), data, 0)
				c.good(cdb(v), data, 0)
				bad := bytes.Clone(data)
				bad[5000] ^= 1
				s := c.fails(scsi.CodeMiscompareDuringVerify, cdb(v), bad, 0)
				if !s.InformationValid || s.Information != 5000 {
					t.Errorf("miscompare at %d, want 5000", s.Information)
				}
				v.ByteCheck = scsi.ByteCheckMedium
				c.good(cdb(v), nil, 0)
				v.ByteCheck = scsi.ByteCheckOneBlock
				c.fails(scsi.CodeMiscompareDuringVerify, cdb(v), data[:512], 0)
				v.ByteCheck = scsi.ByteCheckReserved
				c.fails(scsi.CodeInvalidFieldInCDB, cdb(v), nil, 0)
			}
			c.good(writeCDB(100, 2), append(bytes.Clone(data[:512]), data[:512]...), 0)
			c.good(cdb(scsi.Verify{LBA: 100, Blocks: 2, ByteCheck: scsi.ByteCheckOneBlock}), data[:512], 0)
		})
	}
}

func TestCompareAndWrite(t *testing.T) {
	c := newBed(t, UnitConfig{}).open(0, 1)
	old, next := pattern(1, 1024), pattern(2, 1024)
	c.good(writeCDB(4, 2), old, 0)
	caw := cdb(scsi.CompareAndWrite{LBA: 4, Blocks: 2})
	c.good(caw, append(bytes.Clone(old), next...), 0)
	if got := c.good(readCDB(4, 2), nil, 1024); !bytes.Equal(got, next) {
		t.Fatal("not written")
	}
	old = bytes.Clone(next)
	old[700] ^= 0xff
	s := c.fails(scsi.CodeMiscompareDuringVerify, caw, append(old, next...), 0)
	if s.Information != 700 {
		t.Errorf("miscompare at %d, want 700", s.Information)
	}
	// B26: the Data-Out has to be just as long as the CDB says.
	c.fails(codeInvalidInformationUnit, caw, make([]byte, 1024), 0)
	c.fails(codeInvalidInformationUnit, caw, make([]byte, 4096), 0)
	c.good(cdb(scsi.CompareAndWrite{LBA: 4}), nil, 0)
}

func TestORWrite(t *testing.T) {
	d := newLimited(t, func(i *backends.Info) { i.MaxTransfer = 4096 })
	c := newBed(t, UnitConfig{Device: d}).open(0, 1)
	old, mask := pattern(1, 20480), pattern(9, 20480)
	c.good(writeCDB(8, 40), old, 0)
	orw := cdb(scsi.ReadWrite{Write: true, Size: 16, LBA: 8, Blocks: 40})
	orw[0] = byte(scsi.OpORWrite16)
	c.good(orw, mask, 0)
	for i := range old {
		old[i] |= mask[i]
	}
	if got := c.good(readCDB(8, 40), nil, len(old)); !bytes.Equal(got, old) {
		t.Fatal("the bits were not set")
	}
}

// TestP12WriteAtomic: it is offered only where the device promises more than one
// block, and only up to what it promises.
func TestP12WriteAtomic(t *testing.T) {
	d := newLimited(t, func(i *backends.Info) { i.MaxAtomic = 8192 })
	c := newBed(t, UnitConfig{Device: d}).open(0, 1)
	data := pattern(4, 8192)
	c.good(cdb(scsi.WriteAtomic{LBA: 3, Blocks: 16}), data, 0)
	if got := c.good(readCDB(3, 16), nil, 8192); !bytes.Equal(got, data) {
		t.Error("other data was read than written")
	}
	c.fails(scsi.CodeInvalidFieldInCDB, cdb(scsi.WriteAtomic{LBA: 3, Blocks: 17}), make([]byte, 17*512), 0)
	c.fails(scsi.CodeInvalidFieldInCDB, cdb(scsi.WriteAtomic{LBA: 3, Blocks: 16, Boundary: 4}), data, 0)
	c.fails(codeInvalidInformationUnit, cdb(scsi.WriteAtomic{LBA: 3, Blocks: 16}), data[:4096], 0)
	for _, most := range []uint32{0, 512} {
		d := newLimited(t, func(i *backends.Info) { i.MaxAtomic = most })
		c := newBed(t, UnitConfig{Device: d}).open(0, 1)
		c.fails(scsi.CodeInvalidOpcode, cdb(scsi.WriteAtomic{Blocks: 1}), data[:512], 0)
		if page := c.vpd(scsi.PageBlockLimits); page[47] != 0 {
			t.Errorf("MAXIMUM ATOMIC TRANSFER LENGTH is told")
		}
	}
}
