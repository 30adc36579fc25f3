// SPDX-License-Identifier: Apache-2.0

package scsi

import "testing"

// The commands of the data path and the decoding of sense must not allocate.
func TestNoAllocations(t *testing.T) {
	var (
		b     [16]byte
		cdb   CDB
		sink  int
		list  = make([]byte, 0, 64)
		one   = []BlockRange{{LBA: 1, Blocks: 2}}
		out   = make([]BlockRange, 0, 4)
		unmap = AppendUnmapList(nil, one)
		fixed = CodeMiscompareDuringVerify.Sense().AppendFixed(nil)
		desc  = Sense{Key: NotReady, ASC: 4, ASCQ: 0x0a, InformationValid: true, Information: 1 << 40}.AppendDescriptor(nil)
		field = LUN(300).Field()
	)
	for name, f := range map[string]func(){
		"READ(16) encode":   func() { sink += ReadWrite{LBA: 1 << 33, Blocks: 8}.Encode(&b) },
		"WRITE(10) encode":  func() { sink += ReadWrite{Write: true, LBA: 9, Blocks: 8, FUA: true}.Encode(&b) },
		"READ/WRITE decode": func() { c, _ := DecodeReadWrite(&b); sink += int(c.Blocks) },
		"SYNCHRONIZE CACHE": func() { sink += SynchronizeCache{}.Encode(&b) },
		"WRITE SAME":        func() { sink += WriteSame{Blocks: 1, Unmap: true}.Encode(&b) },
		"UNMAP":             func() { sink += Unmap{ParameterListLength: 24}.Encode(&b) },
		"UNMAP list":        func() { list = AppendUnmapList(list[:0], one) },
		"UNMAP list decode": func() { out, _ = DecodeUnmapList(out[:0], unmap, 4) },
		"COMPARE AND WRITE": func() { sink += CompareAndWrite{Blocks: 1}.Encode(&b) },
		"VERIFY":            func() { sink += Verify{Blocks: 1}.Encode(&b) },
		"unknown opcode":    func() { _, err := DecodeReadWrite(&[16]byte{0xff}); sink += bool01(err == ErrOpcode) },
		"CDB length":        func() { n, _ := cdb.Len(); sink += n },
		"CDB transfer":      func() { _, n, _ := cdb.Transfer(512); sink += int(n) },
		"fixed sense":       func() { s, _ := DecodeSense(fixed); sink += int(s.ASC) },
		"descriptor sense":  func() { s, _ := DecodeSense(desc); sink += int(s.Condition()) },
		"sense encode":      func() { list = CodeInvalidOpcode.Sense().AppendFixed(list[:0]) },
		"LUN to field":      func() { field = LUN(sink & 0xff).Field() },
		"LUN from field":    func() { l, _ := field.LUN(); sink += int(l) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
}

func bool01(v bool) int {
	if v {
		return 1
	}
	return 0
}

func BenchmarkReadWriteEncode(b *testing.B) {
	var cdb [16]byte
	for b.Loop() {
		ReadWrite{Write: true, LBA: 1 << 33, Blocks: 8, FUA: true}.Encode(&cdb)
	}
}

func BenchmarkReadWriteDecode(b *testing.B) {
	var cdb [16]byte
	ReadWrite{Write: true, LBA: 1 << 33, Blocks: 8, FUA: true}.Encode(&cdb)
	for b.Loop() {
		_, _ = DecodeReadWrite(&cdb)
	}
}
