// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"errors"
	"testing"
)

// encoder is what every command struct is.
type encoder interface{ Encode(*[16]byte) int }

// any1 makes a decoder of one command comparable with the others.
func any1[T encoder](f func(*[16]byte) (T, error)) func(*[16]byte) (encoder, error) {
	return func(b *[16]byte) (encoder, error) { return f(b) }
}

type cdbCase struct {
	name   string
	cmd    encoder
	decode func(*[16]byte) (encoder, error)
	wire   string
	dir    Direction
	bytes  uint64 // at 512 bytes a block
}

func cdbCases() []cdbCase {
	return append(blockCDBs(), parameterCDBs()...)
}

func blockCDBs() []cdbCase {
	rw, verify := any1(DecodeReadWrite), any1(DecodeVerify)
	sync, same := any1(DecodeSynchronizeCache), any1(DecodeWriteSame)
	return []cdbCase{
		{
			"READ(6)",
			ReadWrite{Size: 6, LBA: 0x1fabcd, Blocks: 256},
			rw,
			"08 1fabcd 00 00 # LBA 21 bits, 0 = 256 blocks, control", DataIn, 256 * 512,
		},
		{
			"WRITE(6)",
			ReadWrite{Write: true, Size: 6, LBA: 1, Blocks: 2},
			rw,
			"0a 000001 02 00", DataOut, 1024,
		},
		{
			"READ(10)",
			ReadWrite{Size: 10, LBA: 0x01020304, Blocks: 0x0506, FUA: true, DPO: true, Protect: 1, Group: 0x3f},
			rw,
			"28 38 01020304 3f 0506 00 # protect 1, DPO, FUA; LBA; group; blocks; control", DataIn, 0x0506 * 512,
		},
		{
			"WRITE(10)",
			ReadWrite{Write: true, Size: 10, LBA: 0xffffffff, Blocks: 0xffff, FUA: true},
			rw,
			"2a 08 ffffffff 00 ffff 00", DataOut, 0xffff * 512,
		},
		{"WRITE(10) of nothing", ReadWrite{Write: true, Size: 10, LBA: 7}, rw, "2a 00 00000007 00 0000 00", NoData, 0},
		{
			"READ(12)",
			ReadWrite{Size: 12, LBA: 0x01020304, Blocks: 0x05060708, DPO: true, Group: 9},
			rw,
			"a8 10 01020304 05060708 09 00", DataIn, 0x05060708 * 512,
		},
		{
			"WRITE(12)",
			ReadWrite{Write: true, Size: 12, LBA: 3, Blocks: 1, Protect: 7},
			rw,
			"aa e0 00000003 00000001 00 00", DataOut, 512,
		},
		{
			"READ(16)",
			ReadWrite{Size: 16, LBA: 0x0102030405060708, Blocks: 0x090a0b0c, FUA: true, Group: 1},
			rw,
			"88 08 0102030405060708 090a0b0c 01 00", DataIn, 0x090a0b0c * 512,
		},
		{
			"WRITE(16), last LBA",
			ReadWrite{Write: true, Size: 16, LBA: 1<<64 - 1, Blocks: 1<<32 - 1, FUA: true},
			rw,
			"8a 08 ffffffffffffffff ffffffff 00 00", DataOut, (1<<32 - 1) * 512,
		},
		{
			"WRITE ATOMIC(16)",
			WriteAtomic{LBA: 0x1122, Boundary: 0x0304, Blocks: 0x0506, FUA: true},
			any1(DecodeWriteAtomic),
			"9c 08 0000000000001122 0304 0506 00 00 # LBA, boundary, blocks", DataOut, 0x0506 * 512,
		},
		{
			"COMPARE AND WRITE",
			CompareAndWrite{LBA: 0x99, Blocks: 3, DPO: true, FUA: true},
			any1(DecodeCompareAndWrite),
			"89 18 0000000000000099 000000 03 00 00 # blocks in byte 13", DataOut, 3 * 2 * 512,
		},
		{"VERIFY(10), medium", Verify{Size: 10, LBA: 5, Blocks: 6}, verify, "2f 00 00000005 00 0006 00", NoData, 0},
		{
			"VERIFY(10), data",
			Verify{Size: 10, LBA: 5, Blocks: 6, ByteCheck: ByteCheckData},
			verify,
			"2f 02 00000005 00 0006 00", DataOut, 6 * 512,
		},
		{
			"VERIFY(12), one block",
			Verify{Size: 12, LBA: 5, Blocks: 6, ByteCheck: ByteCheckOneBlock, DPO: true},
			verify,
			"af 16 00000005 00000006 00 00", DataOut, 512,
		},
		{
			"VERIFY(16), data",
			Verify{Size: 16, LBA: 5, Blocks: 6, ByteCheck: ByteCheckData, Group: 2},
			verify,
			"8f 02 0000000000000005 00000006 02 00", DataOut, 6 * 512,
		},
		{"WRITE AND VERIFY(10)", Verify{Write: true, Size: 10, LBA: 1, Blocks: 1}, verify, "2e 00 00000001 00 0001 00", DataOut, 512},
		{"WRITE AND VERIFY(12)", Verify{Write: true, Size: 12, LBA: 1, Blocks: 1}, verify, "ae 00 00000001 00000001 00 00", DataOut, 512},
		{
			"WRITE AND VERIFY(16)",
			Verify{Write: true, Size: 16, LBA: 1, Blocks: 1, Protect: 3},
			verify,
			"8e 60 0000000000000001 00000001 00 00", DataOut, 512,
		},
		{"SYNCHRONIZE CACHE(10)", SynchronizeCache{Size: 10}, sync, "35 00 00000000 00 0000 00", NoData, 0},
		{
			"SYNCHRONIZE CACHE(16)",
			SynchronizeCache{Size: 16, LBA: 1 << 40, Blocks: 9, Immediate: true, Group: 4},
			sync,
			"91 02 0000010000000000 00000009 04 00", NoData, 0,
		},
		{"PRE-FETCH(10)", Prefetch{Size: 10, LBA: 8, Blocks: 16, Immediate: true}, any1(DecodePrefetch), "34 02 00000008 00 0010 00", NoData, 0},
		{"PRE-FETCH(16)", Prefetch{Size: 16, LBA: 8, Blocks: 16}, any1(DecodePrefetch), "90 00 0000000000000008 00000010 00 00", NoData, 0},
		{"WRITE SAME(10)", WriteSame{Size: 10, LBA: 2, Blocks: 3, Unmap: true}, same, "41 08 00000002 00 0003 00", DataOut, 512},
		{
			"WRITE SAME(16)",
			WriteSame{Size: 16, LBA: 2, Blocks: 3, Unmap: true, Anchor: true, Protect: 1},
			same,
			"93 38 0000000000000002 00000003 00 00", DataOut, 512,
		},
		{
			"WRITE SAME(16), NDOB",
			WriteSame{Size: 16, LBA: 2, Blocks: 3, NoDataOut: true},
			same,
			"93 01 0000000000000002 00000003 00 00", NoData, 0,
		},
	}
}

func parameterCDBs() []cdbCase {
	sense, selct := any1(DecodeModeSense), any1(DecodeModeSelect)
	return []cdbCase{
		{
			"SANITIZE",
			Sanitize{Action: ActionOverwrite, Immediate: true, Unrestricted: true, ParameterListLength: 516},
			any1(DecodeSanitize), "48 a1 0000000000 0204 00", DataOut, 516,
		},
		{"UNMAP", Unmap{Anchor: true, Group: 1, ParameterListLength: 24}, any1(DecodeUnmap), "42 01 00000000 01 0018 00", DataOut, 24},
		{
			"GET LBA STATUS",
			GetLBAStatus{LBA: 0x0102, AllocationLength: 24, ReportType: 1},
			any1(DecodeGetLBAStatus),
			"9e 12 0000000000000102 00000018 01 00", DataIn, 24,
		},
		{"TEST UNIT READY", TestUnitReady{}, any1(DecodeTestUnitReady), "00 00 00 00 00 00", NoData, 0},
		{"INQUIRY", Inquiry{AllocationLength: 36}, any1(DecodeInquiry), "12 00 00 0024 00", DataIn, 36},
		{
			"INQUIRY VPD",
			Inquiry{VPD: true, Page: PageIdentification, AllocationLength: 0x1000},
			any1(DecodeInquiry),
			"12 01 83 1000 00", DataIn, 0x1000,
		},
		{"REQUEST SENSE", RequestSense{Descriptor: true, AllocationLength: 252}, any1(DecodeRequestSense), "03 01 0000 fc 00", DataIn, 252},
		{
			"REPORT LUNS",
			ReportLUNs{Select: SelectAll, AllocationLength: 16},
			any1(DecodeReportLUNs),
			"a0 00 02 000000 00000010 00 00", DataIn, 16,
		},
		{"READ CAPACITY(10)", ReadCapacity10{}, any1(DecodeReadCapacity10), "25 00 00000000 0000 00 00", DataIn, 8},
		{
			"READ CAPACITY(16)",
			ReadCapacity16{AllocationLength: 32},
			any1(DecodeReadCapacity16),
			"9e 10 0000000000000000 00000020 00 00", DataIn, 32,
		},
		{
			"START STOP UNIT",
			StartStopUnit{Immediate: true, PowerCondition: 2, Modifier: 1, NoFlush: true, LoadEject: true, Start: true},
			any1(DecodeStartStopUnit), "1b 01 00 01 27 00", NoData, 0,
		},
		{
			"MODE SENSE(6)",
			ModeSense{Size: 6, NoBlockDescriptors: true, Page: CachingMode, AllocationLength: 255},
			sense,
			"1a 08 08 00 ff 00", DataIn, 255,
		},
		{
			"MODE SENSE(10)",
			ModeSense{Size: 10, LongLBA: true, Control: SavedValues, Page: AllModePages, Subpage: 0xff, AllocationLength: 0x1000},
			sense, "5a 10 ff ff 000000 1000 00", DataIn, 0x1000,
		},
		{"MODE SELECT(6)", ModeSelect{Size: 6, PageFormat: true, ParameterListLength: 24}, selct, "15 10 0000 18 00", DataOut, 24},
		{
			"MODE SELECT(10)",
			ModeSelect{Size: 10, PageFormat: true, SavePages: true, ParameterListLength: 0x120},
			selct,
			"55 11 0000000000 0120 00", DataOut, 0x120,
		},
		{
			"PERSISTENT RESERVE IN",
			PersistentReserveIn{Action: ReadFullStatus, AllocationLength: 0x2000},
			any1(DecodePersistentReserveIn),
			"5e 03 0000000000 2000 00", DataIn, 0x2000,
		},
		{
			"PERSISTENT RESERVE OUT",
			PersistentReserveOut{Action: PreemptAndAbort, Type: WriteExclusiveRegistrantsOnly, ParameterListLength: 24},
			any1(DecodePersistentReserveOut), "5f 05 05 0000 00000018 00", DataOut, 24,
		},
		{
			"REPORT TARGET PORT GROUPS",
			ReportPortGroups{AllocationLength: 0x1000},
			any1(DecodeReportPortGroups),
			"a3 0a 00000000 00001000 00 00", DataIn, 0x1000,
		},
		{
			"REPORT TARGET PORT GROUPS, extended",
			ReportPortGroups{Extended: true, AllocationLength: 8},
			any1(DecodeReportPortGroups),
			"a3 2a 00000000 00000008 00 00", DataIn, 8,
		},
		{"SET TARGET PORT GROUPS", SetPortGroups{ParameterListLength: 8}, any1(DecodeSetPortGroups), "a4 0a 00000000 00000008 00 00", DataOut, 8},
		{
			"REPORT SUPPORTED OPERATION CODES",
			ReportSupportedOpcodes{Timeouts: true, Options: ReportOneAction, Requested: OpServiceActionIn16, Action: 0x10, AllocationLength: 64},
			any1(DecodeReportSupportedOpcodes), "a3 0c 82 9e 0010 00000040 00 00", DataIn, 64,
		},
	}
}

func TestCDB(t *testing.T) {
	for _, tc := range cdbCases() {
		t.Run(tc.name, func(t *testing.T) {
			want := fixture(t, tc.wire)
			cdb := CDB{0: 0xee, 15: 0xee} // Encode clears what was there
			n := tc.cmd.Encode((*[16]byte)(&cdb))
			wantBytes(t, "Encode", cdb[:n], want)
			for i, b := range cdb[n:] {
				if b != 0 {
					t.Errorf("byte %d behind the CDB is %02x, want 0", n+i, b)
				}
			}
			if got, err := cdb.Len(); err != nil || got != n {
				t.Errorf("Len() = %d, %v, want %d", got, err, n)
			}
			if got, err := tc.decode((*[16]byte)(&cdb)); err != nil || got != tc.cmd {
				t.Errorf("decoded %+v, %v, want %+v", got, err, tc.cmd)
			}
			if dir, bytes, err := cdb.Transfer(512); err != nil || dir != tc.dir || bytes != tc.bytes {
				t.Errorf("Transfer = %v, %d, %v, want %v, %d", dir, bytes, err, tc.dir, tc.bytes)
			}
			if name := cdb.Opcode().String(); len(name) < 5 || name[:4] == "opco" {
				t.Errorf("opcode %02x has no name", cdb[0])
			}
		})
	}
}

// Each decoder refuses every command of the others.
func TestCDBDecodeOtherCommand(t *testing.T) {
	cases := cdbCases()
	for _, a := range cases {
		var b [16]byte
		a.cmd.Encode(&b)
		for _, other := range cases {
			got, err := other.decode(&b)
			if err != nil {
				if !errors.Is(err, ErrOpcode) {
					t.Errorf("%s decoded as %s: %v, want ErrOpcode", a.name, other.name, err)
				}
				continue
			}
			if got != a.cmd {
				t.Errorf("%s decoded as %s: %+v", a.name, other.name, got)
			}
		}
	}
}

func TestCDBDoesNotFit(t *testing.T) {
	for name, cmd := range map[string]encoder{
		"READ(6) of 0 blocks":       ReadWrite{Size: 6},
		"READ(6) of 257 blocks":     ReadWrite{Size: 6, Blocks: 257},
		"READ(6) above 21 bits":     ReadWrite{Size: 6, LBA: 1 << 21, Blocks: 1},
		"WRITE(6) with FUA":         ReadWrite{Write: true, Size: 6, Blocks: 1, FUA: true},
		"READ(6) with a group":      ReadWrite{Size: 6, Blocks: 1, Group: 1},
		"READ(10) above 32 bits":    ReadWrite{Size: 10, LBA: 1 << 32},
		"READ(10) of 65536 blocks":  ReadWrite{Size: 10, Blocks: 65536},
		"READ(12) above 32 bits":    ReadWrite{Size: 12, LBA: 1 << 32},
		"READ of 8 bytes":           ReadWrite{Size: 8, Blocks: 1},
		"protect 8":                 ReadWrite{Protect: 8},
		"group 64":                  ReadWrite{Group: 64},
		"VERIFY(6)":                 Verify{Size: 6, Blocks: 1},
		"byte check 4":              Verify{ByteCheck: 4},
		"SYNCHRONIZE CACHE(12)":     SynchronizeCache{Size: 12},
		"WRITE SAME(10) with NDOB":  WriteSame{Size: 10, NoDataOut: true},
		"WRITE SAME(12)":            WriteSame{Size: 12},
		"MODE SENSE(6) of 256":      ModeSense{AllocationLength: 256},
		"MODE SENSE(6) long":        ModeSense{LongLBA: true},
		"MODE SENSE(12)":            ModeSense{Size: 12},
		"MODE SELECT(6) of 256":     ModeSelect{ParameterListLength: 256},
		"MODE SELECT(16)":           ModeSelect{Size: 16},
		"mode page 40h":             ModeSense{Page: 0x40},
		"PR IN action 32":           PersistentReserveIn{Action: 32},
		"PR OUT type 16":            PersistentReserveOut{Type: 16},
		"power condition 16":        StartStopUnit{PowerCondition: 16},
		"reporting options 8":       ReportSupportedOpcodes{Options: 8},
		"WRITE ATOMIC protect 8":    WriteAtomic{Protect: 8},
		"COMPARE AND WRITE group64": CompareAndWrite{Group: 64},
	} {
		var b [16]byte
		if n := cmd.Encode(&b); n != 0 {
			t.Errorf("%s: Encode = %d, want 0", name, n)
		}
	}
}

// Size 0 chooses 10 bytes as long as the range fits, since every target knows
// those.
func TestCDBChoosesSize(t *testing.T) {
	for _, tc := range []struct {
		lba    uint64
		blocks uint32
		want   int
	}{{0, 1, 10}, {1<<32 - 1, 65535, 10}, {1 << 32, 1, 16}, {0, 65536, 16}} {
		var b [16]byte
		for _, cmd := range []encoder{
			ReadWrite{LBA: tc.lba, Blocks: tc.blocks},
			Verify{LBA: tc.lba, Blocks: tc.blocks},
			SynchronizeCache{LBA: tc.lba, Blocks: tc.blocks},
			WriteSame{LBA: tc.lba, Blocks: tc.blocks},
		} {
			if got := cmd.Encode(&b); got != tc.want {
				t.Errorf("%+v: %d bytes, want %d", cmd, got, tc.want)
			}
		}
	}
	var b [16]byte
	if got := (WriteSame{Blocks: 1, NoDataOut: true}).Encode(&b); got != 16 {
		t.Errorf("WRITE SAME with NDOB: %d bytes, want 16", got)
	}
}

func TestCDBGroups(t *testing.T) {
	for op := range 256 {
		c := CDB{0: byte(op), 5: 0x04, 9: 0x04, 11: 0x04, 15: 0x04}
		n, err := c.Len()
		want := [8]int{6, 10, 10, 0, 16, 12, 0, 0}[op>>5]
		if n != want || (err != nil) != (want == 0) {
			t.Errorf("opcode %02x: Len() = %d, %v, want %d", op, n, err, want)
		}
		if c.NACA() != (want != 0) {
			t.Errorf("opcode %02x: NACA() = %v", op, c.NACA())
		}
		if _, _, err := c.Transfer(512); err == nil && want == 0 {
			t.Errorf("opcode %02x: Transfer gives no error", op)
		}
	}
}

func TestCDBRefusedFields(t *testing.T) {
	if _, err := DecodeReadCapacity10(&[16]byte{0x25, 8: 1}); !errors.Is(err, ErrMalformed) {
		t.Errorf("READ CAPACITY(10) with PMI: %v, want ErrMalformed", err)
	}
	if _, err := DecodeReadCapacity10(&[16]byte{0x25, 5: 1}); !errors.Is(err, ErrMalformed) {
		t.Errorf("READ CAPACITY(10) with LBA: %v, want ErrMalformed", err)
	}
	if _, err := DecodeReportPortGroups(&[16]byte{0xa3, 0x4a}); !errors.Is(err, ErrMalformed) {
		t.Errorf("REPORT TARGET PORT GROUPS format 2: %v, want ErrMalformed", err)
	}
}

// Reserved bits do not change what is decoded.
func TestCDBReservedBits(t *testing.T) {
	got, err := DecodeCompareAndWrite(&[16]byte{0x89, 0, 9: 7, 10: 0xff, 11: 0xff, 12: 0xff, 13: 2})
	if want := (CompareAndWrite{LBA: 7, Blocks: 2}); err != nil || got != want {
		t.Errorf("COMPARE AND WRITE = %+v, %v, want %+v", got, err, want)
	}
}

func TestTransferOther(t *testing.T) {
	for _, tc := range []struct {
		name  string
		cdb   CDB
		dir   Direction
		bytes uint64
	}{
		{"ORWRITE(16)", CDB{0x8b, 13: 2}, DataOut, 8192},
		{"LOG SENSE", CDB{0x4d, 7: 1}, DataIn, 256},
		{"LOG SELECT", CDB{0x4c, 8: 9}, DataOut, 9},
		{"EXTENDED COPY", CDB{0x83, 13: 40}, DataOut, 40},
		{"RECEIVE COPY RESULTS", CDB{0x84, 3, 13: 44}, DataIn, 44},
		{"largest READ(16)", CDB{0x88, 10: 0xff, 11: 0xff, 12: 0xff, 13: 0xff}, DataIn, (1<<32 - 1) * 4096},
		{"VERIFY(10) one block of none", CDB{0x2f, 0x06}, NoData, 0},
		{"INQUIRY of nothing", CDB{0x12}, NoData, 0},
	} {
		if dir, n, err := tc.cdb.Transfer(4096); err != nil || dir != tc.dir || n != tc.bytes {
			t.Errorf("%s: %v, %d, %v, want %v, %d", tc.name, dir, n, err, tc.dir, tc.bytes)
		}
	}
	if dir, _, err := (&CDB{0x7f}).Transfer(512); !errors.Is(err, ErrOpcode) || dir != NoData {
		t.Errorf("variable length CDB: %v, %v, want ErrOpcode", dir, err)
	}
}

func FuzzCDB(f *testing.F) {
	for _, tc := range cdbCases() {
		var b [16]byte
		tc.cmd.Encode(&b)
		f.Add(b[:])
	}
	cases := cdbCases()
	f.Fuzz(func(t *testing.T, in []byte) {
		var cdb CDB
		copy(cdb[:], in)
		b := (*[16]byte)(&cdb)
		_, _, _ = cdb.Transfer(4096)
		_ = cdb.Opcode().String()
		for _, tc := range cases {
			cmd, err := tc.decode(b)
			if err != nil {
				continue
			}
			var out [16]byte
			n := cmd.Encode(&out)
			if want, err := cdb.Len(); err != nil || n != want {
				t.Fatalf("%+v: Encode = %d, want %d", cmd, n, want)
			}
			if again, err := tc.decode(&out); err != nil || again != cmd {
				t.Errorf("%+v decodes again as %+v, %v", cmd, again, err)
			}
		}
	})
}
