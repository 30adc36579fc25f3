// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"errors"
	"slices"
	"testing"
)

func TestDesignators(t *testing.T) {
	list := []Designator{
		NAARegistered(0x001405, 0x123456789, 0xabcdef0123456789),
		NAALocal(0x1234),
		T10Designator("PATHGATE", "disk-1"),
		PortDesignator(DesignatorRelativePort, 3),
		PortDesignator(DesignatorPortGroup, 0x102),
		NameDesignator(OfDevice, "iqn.x:a"),
	}
	wire := fixture(t, `00 83 0062
		01 03 00 10 60014051 23456789 abcdef01 23456789 # binary, NAA 6: company 001405h
		01 03 00 08 30000000 00001234                   # NAA 3
		02 01 00 0e 5041544847415445 6469736b2d31       # ASCII, T10
		51 94 00 04 00000003                            # iSCSI, PIV, port: relative target port
		51 95 00 04 00000102                            # target port group
		53 a8 00 08 69716e2e783a6100                    # UTF-8, PIV, device: name, NUL, padded to 4
		`)
	wire[3] = byte(len(wire) - 4)
	wantBytes(t, "AppendDesignators", AppendDesignators(nil, PeripheralDisk, list), wire)
	got, err := DecodeDesignators(nil, wire)
	if err != nil || !slices.EqualFunc(got, list, equalDesignator) {
		t.Errorf("decoded %+v, %v, want %+v", got, err, list)
	}
	wantPrefixErrors(t, wire, func(b []byte) error { _, err := DecodeDesignators(nil, b); return err })

	port, group, hasPort, hasGroup := PortOf(got)
	if port != 3 || group != 0x102 || !hasPort || !hasGroup {
		t.Errorf("PortOf = %d, %d, %v, %v, want 3, 258", port, group, hasPort, hasGroup)
	}
	if _, _, hasPort, hasGroup := PortOf(list[:3]); hasPort || hasGroup {
		t.Error("PortOf finds a port where there is none")
	}
}

func equalDesignator(a, b Designator) bool {
	return a.Association == b.Association && a.Type == b.Type && a.CodeSet == b.CodeSet &&
		a.Protocol == b.Protocol && a.HasProtocol == b.HasProtocol && slices.Equal(a.Value, b.Value)
}

func TestB37DesignatorPages(t *testing.T) {
	if list, err := DecodeDesignators(nil, fixture(t, "00 83 0000")); err != nil || len(list) != 0 {
		t.Errorf("empty page: %v, %v, want nothing", list, err)
	}
	for name, wire := range map[string]string{
		"inner length lies": "00 83 0008 01 03 00 09 60000000",
		"header cut":        "00 83 0003 01 03 00",
	} {
		if list, err := DecodeDesignators(nil, fixture(t, wire)); !errors.Is(err, ErrMalformed) || len(list) != 0 {
			t.Errorf("%s: %v, %v, want ErrMalformed", name, list, err)
		}
	}
	big := AppendDesignators(nil, 0, slices.Repeat([]Designator{NAALocal(1)}, 5000))
	if list, err := DecodeDesignators(nil, big); err != nil || len(list) != 5000 {
		t.Errorf("5000 designators: %d, %v", len(list), err)
	}
}

func naa(v ...byte) Designator { return Designator{Type: DesignatorNAA, CodeSet: CodeBinary, Value: v} }

func eui(v ...byte) Designator {
	return Designator{Type: DesignatorEUI64, CodeSet: CodeBinary, Value: v}
}

func TestSelectIdentity(t *testing.T) {
	inq := StandardInquiry{Vendor: "ACME", Product: "Big Disk"}
	naa5 := naa(0x50, 0x01, 0x40, 0x51, 0, 0, 0, 1)
	naa6 := NAARegistered(0x001405, 1, 2)
	eui8 := eui(0x00, 0x14, 0x05, 1, 2, 3, 4, 5)
	t10 := T10Designator("ACME", "a:b c\x1b[2J   ")
	ofPort := naa(0x50, 0x01, 0x40, 0x51, 0, 0, 0, 9)
	ofPort.Association = OfPort
	const serial = "  s:1 "
	for _, tc := range []struct {
		name string
		list []Designator
		want Identity
	}{
		{"NAA 6 before all", []Designator{t10, eui8, naa5, naa6}, Identity{ID: "naa.60014050000000010000000000000002"}},
		{"NAA 5", []Designator{t10, naa5}, Identity{ID: "naa.5001405100000001"}},
		{"NAA 2", []Designator{naa(0x21, 0x23, 0x00, 0x14, 0x05, 1, 2, 3)}, Identity{ID: "naa.2123001405010203"}},
		{"EUI-64 before T10", []Designator{t10, eui8}, Identity{ID: "eui.0014050102030405"}},
		{
			"EUI-64 of 16 bytes",
			[]Designator{eui(0, 0, 0, 0, 0, 0, 0, 1, 0x00, 0x14, 0x05, 0, 0, 0, 0, 2)},
			Identity{ID: "eui.00000000000000010014050000000002"},
		},
		{"T10, escaped", []Designator{t10}, Identity{ID: "t10.ACME:a:b%20c%1B%5B2J"}},
		{"two of a kind, any order", []Designator{naa(0x50, 1, 0x40, 0x51, 0, 0, 0, 2), naa5}, Identity{ID: "naa.5001405100000001"}},
		{"port's own name is not the unit's", []Designator{ofPort, t10}, Identity{ID: "t10.ACME:a:b%20c%1B%5B2J"}},
		{
			"wrong length passed over",
			[]Designator{naa(0x60, 1, 0x40, 0x51, 0, 0, 0, 1), naa(), naa(0x40, 0, 0, 0, 0, 0, 0, 1), eui8},
			Identity{ID: "eui.0014050102030405"},
		},
		{"zero EUI-64 passed over", []Designator{eui(0, 0, 0, 0, 0, 0, 0, 0), t10}, Identity{ID: "t10.ACME:a:b%20c%1B%5B2J"}},
		{
			"empty T10 passed over",
			[]Designator{T10Designator("ACME", "  "), {Type: DesignatorT10, Value: []byte("ACME")}},
			Identity{ID: "serial.ACME:Big%20Disk:s:1", Weak: true},
		},

		{"weak: NAA 3", []Designator{NAALocal(0x100000001)}, Identity{ID: "naa.3000000100000001", Weak: true}},
		{"weak: NAA 5 of company 0", []Designator{naa(0x50, 0, 0, 0x01, 0, 0, 0, 1)}, Identity{ID: "naa.5000000100000001", Weak: true}},
		{"weak: NAA 6 of company 0", []Designator{NAARegistered(0, 0xfffffffff, 2)}, Identity{ID: "naa.6000000fffffffff0000000000000002", Weak: true}},
		{"company 1 is not 0", []Designator{NAARegistered(1, 0, 2)}, Identity{ID: "naa.60000010000000000000000000000002"}},
		{"company with the first 4 bits only", []Designator{NAARegistered(0xf00000, 0, 2)}, Identity{ID: "naa.6f000000000000000000000000000002"}},
		{"weak: NAA 2 of company 0", []Designator{naa(0x2f, 0xff, 0, 0, 0, 1, 2, 3)}, Identity{ID: "naa.2fff000000010203", Weak: true}},
		{"weak: EUI-64 of company 0", []Designator{eui(0, 0, 0, 1, 2, 3, 4, 5)}, Identity{ID: "eui.0000000102030405", Weak: true}},
		{"weak: T10 IET", []Designator{T10Designator("IET", "00010001")}, Identity{ID: "t10.IET:00010001", Weak: true}},
		{"T10 IETX is not IET", []Designator{T10Designator("IETX", "1")}, Identity{ID: "t10.IETX:1"}},
		{"weak: serial number", nil, Identity{ID: "serial.ACME:Big%20Disk:s:1", Weak: true}},
	} {
		got, err := SelectIdentity(tc.list, inq, serial)
		if err != nil || got != tc.want {
			t.Errorf("%s: %+v, %v, want %+v", tc.name, got, err, tc.want)
		}
		if got.IsZero() || got.String() != got.ID {
			t.Errorf("%s: IsZero or String wrong for %+v", tc.name, got)
		}
		slices.Reverse(tc.list)
		if again, _ := SelectIdentity(tc.list, inq, serial); again != got {
			t.Errorf("%s: in reverse order %+v, want %+v", tc.name, again, got)
		}
	}
	if got, err := SelectIdentity(nil, inq, " \x00 "); !errors.Is(err, ErrNoIdentity) || !got.IsZero() {
		t.Errorf("no serial number: %+v, %v, want ErrNoIdentity", got, err)
	}
}

// Parts cannot run into each other.
func TestSerialIdentityParts(t *testing.T) {
	a, _ := SelectIdentity(nil, StandardInquiry{Vendor: "A:B", Product: "C"}, "1")
	b, _ := SelectIdentity(nil, StandardInquiry{Vendor: "A", Product: "B:C"}, "1")
	if a == b {
		t.Errorf("vendor A:B and product B:C give the same identity %v", a)
	}
}

func FuzzDecodeDesignators(f *testing.F) {
	f.Add(AppendDesignators(nil, 0, []Designator{NAALocal(7), NameDesignator(OfPort, "iqn.x:y"), T10Designator("V", "i")}))
	f.Add(captured(f)["vpd83"])
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := DecodeDesignators(nil, b)
		if err != nil {
			return
		}
		again, err := DecodeDesignators(nil, AppendDesignators(nil, 0, list))
		if err != nil || !slices.EqualFunc(list, again, equalDesignator) {
			t.Errorf("%+v decodes again as %+v, %v", list, again, err)
		}
		PortOf(list)
		id, err := SelectIdentity(list, StandardInquiry{}, "s")
		if err != nil {
			t.Fatalf("no identity in spite of a serial number: %v", err)
		}
		for _, c := range []byte(id.ID) {
			if c <= ' ' || c >= 0x7f {
				t.Errorf("identity %q holds byte %02x", id.ID, c)
			}
		}
	})
}
