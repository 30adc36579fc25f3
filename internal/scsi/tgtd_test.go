// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"bytes"
	"testing"
)

// What tgtd really answered, decoded; and encoded again where the codec keeps
// every byte.
func TestTgtdIdentity(t *testing.T) {
	got := captured(t)
	q, err := DecodeStandardInquiry(got["inq"])
	want := StandardInquiry{
		Version: 5, HiSup: true, CommandQueue: true, Vendor: "IET", Product: "VIRTUAL-DISK", Revision: "0001",
		VersionDescriptors: [8]uint16{0x04c0, 0x0960, 0x0300},
	}
	if err != nil || q != want {
		t.Errorf("INQUIRY = %+v, %v, want %+v", q, err, want)
	}
	if q.Peripheral.Qualifier() != 0 || q.Peripheral.DeviceType() != 0 {
		t.Errorf("peripheral %02x is no disk", q.Peripheral)
	}
	if q, err := DecodeStandardInquiry(got["inq-lun9"]); err != nil || q.Peripheral != PeripheralNoUnit {
		t.Errorf("INQUIRY to LUN 9 = %+v, %v, want peripheral 7Fh", q, err)
	}
	pages, err := DecodeSupportedPages(got["vpd00"])
	if err != nil || !bytes.Equal(pages, []byte{0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2}) {
		t.Errorf("pages %x, %v", pages, err)
	}
	serial, err := DecodeSerialNumber(got["vpd80"])
	if err != nil || serial != "beaf11" {
		t.Errorf("serial %q, %v, want beaf11", serial, err)
	}
	list, err := DecodeDesignators(nil, got["vpd83"])
	if err != nil || len(list) != 3 {
		t.Fatalf("%d designators, %v, want 3", len(list), err)
	}
	wantBytes(t, "page 83h", AppendDesignators(nil, PeripheralDisk, list), got["vpd83"])
	id, err := SelectIdentity(list, q, serial)
	if want := (Identity{ID: "naa.60000000000000000e00000000010001", Weak: true}); err != nil || id != want {
		t.Errorf("identity %+v, %v, want %+v", id, err, want)
	}
	id, err = SelectIdentity(list[:1], q, serial)
	if want := (Identity{ID: "t10.IET:00010001", Weak: true}); err != nil || id != want {
		t.Errorf("identity of T10 alone %+v, %v, want %+v", id, err, want)
	}
}

func TestTgtdLimits(t *testing.T) {
	got := captured(t)
	limits, err := DecodeBlockLimits(got["vpdb0"])
	want := BlockLimits{MaxCompareAndWrite: 128, MaxUnmapBlocks: 0xffffffff, MaxUnmapRanges: 0xffffffff}
	if err != nil || limits != want {
		t.Errorf("block limits %+v, %v, want %+v", limits, err, want)
	}
	wantBytes(t, "page B0h", limits.Append(nil, PeripheralDisk), got["vpdb0"])
	if c, err := DecodeCharacteristics(got["vpdb1"]); err != nil || c != (Characteristics{}) {
		t.Errorf("characteristics %+v, %v", c, err)
	}
	p, err := DecodeProvisioning(got["vpdb2"])
	wantP := Provisioning{Unmap: true, WriteSame16: true, WriteSame10: true, ReadZeros: 1, Type: ProvisioningThin}
	if err != nil || p != wantP {
		t.Errorf("provisioning %+v, %v, want %+v", p, err, wantP)
	}
	wantBytes(t, "page B2h", p.Append(nil, PeripheralDisk), got["vpdb2"])

	c, err := DecodeCapacity16(got["cap16"])
	wantC := Capacity{Blocks: 131072, BlockSize: 512, PhysicalExponent: 3, Provisioned: true, ReadZeros: true}
	if err != nil || c != wantC || c.Validate() != nil || c.Bytes() != 64<<20 {
		t.Errorf("capacity %+v, %v, want %+v", c, err, wantC)
	}
	wantBytes(t, "READ CAPACITY(16)", c.Append16(nil), got["cap16"])
	c10, more, err := DecodeCapacity10(got["cap10"])
	if err != nil || more || c10 != (Capacity{Blocks: 131072, BlockSize: 512}) {
		t.Errorf("READ CAPACITY(10) %+v, %v, %v", c10, more, err)
	}
	wantBytes(t, "READ CAPACITY(10)", c.Append10(nil), got["cap10"])
	st, err := DecodeLBAStatus(nil, got["lbast"])
	if err != nil || len(st) != 1 || st[0] != (LBAStatus{BlockRange{0, 131072}, Deallocated}) {
		t.Errorf("LBA status %+v, %v", st, err)
	}
	wantBytes(t, "GET LBA STATUS", AppendLBAStatus(nil, st), got["lbast"])
}

func TestTgtdLists(t *testing.T) {
	got := captured(t)
	luns, err := DecodeLUNList(got["luns"], 256)
	if err != nil || len(luns.LUNs) != 2 || luns.LUNs[0].LUN != 0 || luns.LUNs[1].LUN != 1 {
		t.Errorf("REPORT LUNS %+v, %v", luns, err)
	}
	list, err := DecodeSupportedCommands(got["rsoc"])
	if err != nil || len(list) != 50 {
		t.Fatalf("%d commands, %v", len(list), err)
	}
	wantBytes(t, "supported commands", AppendSupportedCommands(nil, list), got["rsoc"])
	for _, c := range list {
		cdb := CDB{0: byte(c.Opcode)}
		if n, err := cdb.Len(); err != nil || n != int(c.CDBBytes) {
			t.Errorf("%v has %d bytes, tgtd says %d", c.Opcode, n, c.CDBBytes)
		}
	}
	one, err := DecodeCommandSupport(got["rsoc-read16"])
	if err != nil || one.Support != SupportedStandard || one.CDBBytes != 16 || one.Usage[1] != 0xfe {
		t.Errorf("support of READ(16) %+v, %v", one, err)
	}
	wantBytes(t, "support of READ(16)", one.Append(nil), got["rsoc-read16"])
}

func TestTgtdMode(t *testing.T) {
	got := captured(t)
	for name, size := range map[string]int{"ms6-3f": 6, "ms10-08": 10} {
		m, err := DecodeModeData(got[name], size)
		if err != nil || m.WriteProtected || !m.DPOFUA || len(m.Descriptors) != 8 {
			t.Fatalf("%s: %+v, %v", name, m, err)
		}
		wantBytes(t, name, m.Append(nil, size), got[name])
		c, err := DecodeCachingPage(m.Page(CachingMode, 0))
		if err != nil || c != (CachingPage{WriteCache: true}) {
			t.Errorf("%s: caching page %+v, %v", name, c, err)
		}
	}
	m, _ := DecodeModeData(got["ms6-3f"], 6)
	c, err := DecodeControlPage(m.Page(ControlMode, 0))
	if want := (ControlPage{QueueAlgorithm: 1}); err != nil || c != want {
		t.Errorf("control page %+v, %v, want %+v", c, err, want)
	}
	if p := m.Page(ControlMode, 1); len(p) != 0x1c+4 {
		t.Errorf("control extension page has %d bytes, want 32", len(p))
	}
	if p := m.Page(0x1a, 0); p != nil {
		t.Errorf("page 1Ah is %x, want none", p)
	}
}

func TestTgtdReservations(t *testing.T) {
	got := captured(t)
	c, err := DecodeReservationCapabilities(got["prin-caps"])
	want := ReservationCapabilities{
		TypesValid: true,
		Types: ReservationTypesOf(WriteExclusive, ExclusiveAccess, WriteExclusiveRegistrantsOnly,
			ExclusiveAccessRegistrantsOnly, WriteExclusiveAllRegistrants, ExclusiveAccessAllRegistrants),
	}
	if err != nil || c != want {
		t.Errorf("capabilities %+v, %v, want %+v", c, err, want)
	}
	wantBytes(t, "capabilities", c.Append(nil), got["prin-caps"])
	k, err := DecodeRegisteredKeys(got["prin-keys"])
	if err != nil || k.Generation != 1 || len(k.Keys) != 1 || k.Keys[0] != 0xdeadbeef {
		t.Errorf("keys %+v, %v", k, err)
	}
	wantBytes(t, "keys", k.Append(nil), got["prin-keys"])
	r, err := DecodeReservation(got["prin-res"])
	if want := (Reservation{Generation: 1, Held: true, Key: 0xdeadbeef, Type: WriteExclusiveRegistrantsOnly}); err != nil || r != want {
		t.Errorf("reservation %+v, %v, want %+v", r, err, want)
	}
	wantBytes(t, "reservation", r.Append(nil), got["prin-res"])
}

func TestTgtdSense(t *testing.T) {
	got := captured(t)
	for name, want := range map[string]SenseCode{
		"tur-ua": CodeResetOccurred, "vpd86": CodeInvalidFieldInCDB, "rtpg": CodeInvalidFieldInCDB,
		"bad-op": CodeInvalidOpcode, "bad-lba": CodeLBAOutOfRange, "tur-lun9": CodeLUNotSupported,
		"prin-full": CodeInvalidFieldInCDB, "caw-mis": CodeInvalidOpcode,
	} {
		s, err := DecodeSense(got[name])
		if err != nil || s != want.Sense() {
			t.Errorf("%s: %v, %v, want %v", name, s, err, want)
		}
		wantBytes(t, name, s.AppendFixed(nil), got[name])
	}
}
