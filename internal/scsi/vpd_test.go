// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"errors"
	"strings"
	"testing"
)

func TestStandardInquiry(t *testing.T) {
	want := StandardInquiry{
		Version: 6, PortGroupAccess: ALUAImplicit | ALUAExplicit, ThirdPartyCopy: true, MultiPort: true,
		CommandQueue: true, HiSup: true, Vendor: "PATHGATE", Product: "virtual disk", Revision: "1.0",
		VersionDescriptors: [8]uint16{0x0460, 0x04c0, 0x0960},
	}
	wire := fixture(t, `
		00                # peripheral: disk
		00 06             # not removable, SPC-4
		12 5b             # HISUP, format 2; additional length 91
		38                # TPGS 3, 3PC
		10 02             # MULTIP, CMDQUE
		5041544847415445  # vendor
		7669727475616c206469736b20202020 # product
		312e3020          # revision
		0000000000000000000000000000000000000000 0000 # vendor specific, reserved
		0460 04c0 0960    # SPC-4, SBC-3, iSCSI
		0000 0000 0000 0000 0000
		00000000000000000000000000000000000000000000`)
	wantBytes(t, "Append", want.Append(nil), wire)
	if got, err := DecodeStandardInquiry(wire); err != nil || got != want {
		t.Errorf("decoded %+v, %v, want %+v", got, err, want)
	}
	// 36 bytes are enough: the rest was not asked for.
	short := want
	short.VersionDescriptors = [8]uint16{}
	if got, err := DecodeStandardInquiry(wire[:36]); err != nil || got != short {
		t.Errorf("36 bytes: %+v, %v, want %+v", got, err, short)
	}
	wantPrefixErrors(t, wire[:36], func(b []byte) error { _, err := DecodeStandardInquiry(b); return err })

	wire[4] = 30
	if _, err := DecodeStandardInquiry(wire); !errors.Is(err, ErrMalformed) {
		t.Errorf("additional length 30: %v, want ErrMalformed", err)
	}
}

// vpdCase is one page, both ways.
type vpdCase struct {
	name   string
	wire   string
	append func([]byte) []byte
	equal  func([]byte) (bool, error)
}

func vpdPage[T comparable](name, wire string, v T, app func(T, []byte, Peripheral) []byte, dec func([]byte) (T, error)) vpdCase {
	return vpdCase{
		name, wire,
		func(dst []byte) []byte { return app(v, dst, PeripheralDisk) },
		func(b []byte) (bool, error) { got, err := dec(b); return got == v, err },
	}
}

func vpdCases() []vpdCase {
	z := func(n int) string { return strings.Repeat("00", n) }
	return []vpdCase{
		vpdPage("serial number", "00 80 0006 706731323334", "pg1234",
			func(s string, dst []byte, p Peripheral) []byte { return AppendSerialNumber(dst, p, s) }, DecodeSerialNumber),
		vpdPage("extended inquiry", "00 86 003c 00 17 01 01 0000 001e "+z(52)+` # GROUP_SUP, HEAD, ORD, SIMP; V_SUP; LUICLR; 30 min`,
			ExtendedInquiry{Simple: true, OrderedTags: true, HeadOfQueue: true, VolatileCache: true, ClearNexusLoss: true, GroupNumbers: true, SelfTestMinutes: 30},
			ExtendedInquiry.Append, DecodeExtendedInquiry),
		vpdPage("block limits", `00 b0 003c
			01 20       # WSNZ, maximum compare and write
			0008        # optimal granularity
			00002000    # maximum transfer
			00000800    # optimal transfer
			00000100    # maximum prefetch
			00010000    # maximum unmap LBA count
			00000040    # maximum unmap descriptors
			00000010    # unmap granularity
			80000007    # UGAVALID, alignment
			0000000000400000 # maximum write same
			00000011 00000012 00000013 00000014 00000015 # atomic`,
			BlockLimits{
				WriteSameNonZero: true, MaxCompareAndWrite: 32, OptimalGranularity: 8, MaxTransfer: 8192, OptimalTransfer: 2048,
				MaxPrefetch: 256, MaxUnmapBlocks: 65536, MaxUnmapRanges: 64, UnmapGranularity: 16, UnmapAlignment: 7,
				UnmapAlignmentValid: true, MaxWriteSame: 1 << 22, MaxAtomic: 0x11, AtomicAlignment: 0x12,
				AtomicGranularity: 0x13, MaxAtomicBoundary: 0x14, MaxAtomicBoundarySize: 0x15,
			},
			BlockLimits.Append, DecodeBlockLimits),
		vpdPage("characteristics", "00 b1 003c 0001 00 65 03 "+z(55)+" # not rotating, WABEREQ 1, WACEREQ 2, below 1.8 inch, FUAB, VBULS",
			Characteristics{RotationRate: NotRotating, FormFactor: 5, BlockErase: 1, CryptoErase: 2, FUAB: true, VBULS: true}, Characteristics.Append, DecodeCharacteristics),
		vpdPage("provisioning", "00 b2 0004 05 e6 02 00 # threshold 2^5, LBPU LBPWS LBPWS10 LBPRZ ANC_SUP, thin",
			Provisioning{ThresholdExponent: 5, Unmap: true, WriteSame16: true, WriteSame10: true, ReadZeros: 1, Anchor: true, Type: ProvisioningThin},
			Provisioning.Append, DecodeProvisioning),
	}
}

func TestVPDPages(t *testing.T) {
	for _, tc := range vpdCases() {
		t.Run(tc.name, func(t *testing.T) {
			wire := fixture(t, tc.wire)
			wantBytes(t, "Append", tc.append(nil), wire)
			if same, err := tc.equal(wire); err != nil || !same {
				t.Errorf("decodes to another value, error %v", err)
			}
			wantPrefixErrors(t, wire, func(b []byte) error { _, err := tc.equal(b); return err })
			wire[1] ^= 0x01
			if _, err := tc.equal(wire); !errors.Is(err, ErrMalformed) {
				t.Errorf("another page: %v, want ErrMalformed", err)
			}
		})
	}
}

// SBC-2 has 12 bytes of block limits; LIO sends 16 without thin provisioning.
func TestBlockLimitsShortPages(t *testing.T) {
	for _, n := range []int{12, 16} {
		wire := AppendVPD(nil, PeripheralDisk, PageBlockLimits, fixture(t, "00 00 0008 00002000 00000800 00000100")[:n])
		got, err := DecodeBlockLimits(wire)
		want := BlockLimits{OptimalGranularity: 8, MaxTransfer: 8192, OptimalTransfer: 2048}
		if n == 16 {
			want.MaxPrefetch = 256
		}
		if err != nil || got != want {
			t.Errorf("%d bytes: %+v, %v, want %+v", n, got, err, want)
		}
	}
	if _, err := DecodeBlockLimits(AppendVPD(nil, 0, PageBlockLimits, make([]byte, 11))); !errors.Is(err, ErrMalformed) {
		t.Errorf("11 bytes: %v, want ErrMalformed", err)
	}
}

func TestAppendVPDTooLong(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("65536 bytes of payload: no panic")
		}
	}()
	AppendVPD(nil, 0, PageSupported, make([]byte, 1<<16))
}

func FuzzVPD(f *testing.F) {
	for _, tc := range vpdCases() {
		f.Add(fixture(f, tc.wire))
	}
	for _, b := range captured(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := DecodeBlockLimits(b); err == nil {
			same(t, v, v.Append(nil, 0), DecodeBlockLimits)
		}
		if v, err := DecodeCharacteristics(b); err == nil {
			same(t, v, v.Append(nil, 0), DecodeCharacteristics)
		}
		if v, err := DecodeProvisioning(b); err == nil {
			same(t, v, v.Append(nil, 0), DecodeProvisioning)
		}
		if v, err := DecodeExtendedInquiry(b); err == nil {
			same(t, v, v.Append(nil, 0), DecodeExtendedInquiry)
		}
		if v, err := DecodeSerialNumber(b); err == nil {
			same(t, v, AppendSerialNumber(nil, 0, v), DecodeSerialNumber)
		}
		if v, err := DecodeStandardInquiry(b); err == nil {
			same(t, v, v.Append(nil), DecodeStandardInquiry)
		}
		_, _ = DecodeSupportedPages(b)
	})
}

// same checks that wire decodes to v again.
func same[T comparable](t *testing.T, v T, wire []byte, decode func([]byte) (T, error)) {
	t.Helper()
	if got, err := decode(wire); err != nil || got != v {
		t.Errorf("%+v decodes again as %+v, %v", v, got, err)
	}
}
