// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// vpd reads a VPD page.
func (c *client) vpd(page scsi.VPDPage) []byte {
	c.tb.Helper()
	return c.good(cdb(scsi.Inquiry{VPD: true, Page: page, AllocationLength: 512}), nil, 512)
}

func TestStandardInquiry(t *testing.T) {
	c := newBed(t, UnitConfig{Vendor: "ACME", Product: "DISK ONE", Revision: "7"}).open(0, 1)
	q, err := scsi.DecodeStandardInquiry(c.good(cdb(scsi.Inquiry{AllocationLength: 255}), nil, 255))
	if err != nil {
		t.Fatal(err)
	}
	if q.Peripheral != scsi.PeripheralDisk || q.Removable || q.Vendor != "ACME" || q.Product != "DISK ONE" || q.Revision != "7" ||
		!q.CommandQueue || !q.ThirdPartyCopy || q.PortGroupAccess != scsi.ALUAImplicit {
		t.Errorf("got %+v", q)
	}
	c.fails(scsi.CodeInvalidFieldInCDB, scsi.CDB{byte(scsi.OpInquiry), 0, 0x80, 0, 255}, nil, 255)
	c.fails(scsi.CodeInvalidFieldInCDB, cdb(scsi.Inquiry{VPD: true, Page: 0x55, AllocationLength: 255}), nil, 255)
}

// TestVPDPages: every page that page 00h lists is there, in ascending order, and
// no other.
func TestVPDPages(t *testing.T) {
	c := newBed(t, UnitConfig{}).open(0, 1)
	pages, err := scsi.DecodeSupportedPages(c.vpd(scsi.PageSupported))
	if err != nil || !slices.IsSorted(pages) {
		t.Fatalf("pages %x, %v", pages, err)
	}
	for page := range 256 {
		cmd := c.do(cdb(scsi.Inquiry{VPD: true, Page: scsi.VPDPage(page), AllocationLength: 512}), nil, 512)
		if there := cmd.Status == scsi.StatusGood; there != slices.Contains(pages, byte(page)) {
			t.Errorf("page %02x: there %v", page, there)
		}
	}
}

// TestIdentity: the names follow from the UUID and the port, and units have
// different ones.
func TestIdentity(t *testing.T) {
	x := newBed(t, UnitConfig{})
	other, err := NewUnit(UnitConfig{Device: memory(t, 1<<20), UUID: [16]byte{9}})
	if err != nil {
		t.Fatal(err)
	}
	x.add(1, other)
	ids := make(map[string]bool)
	for port := uint16(1); port <= 2; port++ {
		c := x.open(0, port)
		page := c.vpd(scsi.PageIdentification)
		list, err := scsi.DecodeDesignators(nil, page)
		if err != nil {
			t.Fatal(err)
		}
		id, err := scsi.SelectIdentity(list, scsi.StandardInquiry{}, "")
		if err != nil || id.Weak {
			t.Fatalf("identity %v, weak %v, %v", id, id.Weak, err)
		}
		ids[id.ID] = true
		if p, group, hasPort, hasGroup := scsi.PortOf(list); p != port || group != port || !hasPort || !hasGroup {
			t.Errorf("port %d: told as %d in group %d", port, p, group)
		}
	}
	if len(ids) != 1 {
		t.Errorf("one unit has the identities %v", ids)
	}
	if bytes.Equal(x.unit.naa().Value, other.naa().Value) {
		t.Error("two units have one identity")
	}
}

// TestThinTruth: what is told of logical block provisioning is what the device
// does (promise P18).
func TestThinTruth(t *testing.T) {
	for name, tt := range map[string]struct {
		without     backends.Caps
		unmap, zero bool
	}{
		"thin":          {0, true, true},
		"thin, garbage": {backends.UnmapZeroes, true, false},
		"thick":         {backends.CanUnmap | backends.UnmapZeroes, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := newLimited(t, func(i *backends.Info) { i.Caps &^= tt.without })
			c := newBed(t, UnitConfig{Device: d}).open(0, 1)
			v, err := scsi.DecodeProvisioning(c.vpd(scsi.PageProvisioning))
			if err != nil || v.Unmap != tt.unmap || v.WriteSame16 != tt.unmap || (v.ReadZeros == 1) != tt.zero {
				t.Errorf("page B2h: %+v, %v", v, err)
			}
			capacity, err := scsi.DecodeCapacity16(c.good(cdb(scsi.ReadCapacity16{AllocationLength: 32}), nil, 32))
			if err != nil || capacity.Provisioned != tt.unmap || capacity.ReadZeros != tt.zero || capacity.Bytes() != 4<<20 {
				t.Errorf("capacity: %+v, %v", capacity, err)
			}
			un := cdb(scsi.Unmap{ParameterListLength: 24})
			list := scsi.AppendUnmapList(nil, []scsi.BlockRange{{LBA: 0, Blocks: 8}})
			ws := cdb(scsi.WriteSame{Size: 16, Blocks: 8, Unmap: true})
			if tt.unmap {
				c.good(un, list, 0)
				c.good(ws, make([]byte, 512), 0)
			} else {
				c.fails(scsi.CodeInvalidOpcode, un, list, 0)
				c.fails(scsi.CodeInvalidFieldInCDB, ws, make([]byte, 512), 0)
			}
		})
	}
}

func TestBlocksOf4096(t *testing.T) {
	c := newBed(t, UnitConfig{BlockSize: 4096}).open(0, 1)
	data := pattern(1, 8192)
	c.good(writeCDB(1022, 2), data, 0)
	if got := c.good(readCDB(1022, 2), nil, 8192); !bytes.Equal(got, data) {
		t.Error("other data was read than written")
	}
	c.fails(scsi.CodeLBAOutOfRange, readCDB(1023, 2), nil, 8192)
	capacity, _, err := scsi.DecodeCapacity10(c.good(cdb(scsi.ReadCapacity10{}), nil, 8))
	if err != nil || capacity.Blocks != 1024 || capacity.BlockSize != 4096 {
		t.Errorf("capacity %+v, %v", capacity, err)
	}
}

// TestB24NoUnit: a LUN without a unit, and addresses that name none.
func TestB24NoUnit(t *testing.T) {
	c := newBed(t, UnitConfig{}).open(0, 1)
	fields := map[string]scsi.LUNField{
		"unmapped": scsi.LUN(7).Field(), "flat": scsi.LUN(300).Field(), "extended": scsi.LUN(20000).Field(),
		"well known": scsi.WellKnownField(scsi.WellKnownReportLUNs), "second level": {0, 0, 0, 1}, "nonsense": {0xff, 0xff},
	}
	for name, field := range fields {
		t.Run(name, func(t *testing.T) {
			try := func(x scsi.CDB, in int) *Command {
				cmd := c.command(0, x, nil, in)
				cmd.LUN = field
				if c.n.Begin(cmd) {
					t.Fatal("let in")
				}
				return cmd
			}
			q := try(cdb(scsi.Inquiry{AllocationLength: 96}), 96)
			if q.Status != scsi.StatusGood || q.In.Len() != 96 || q.In.Bytes()[0] != byte(scsi.PeripheralNoUnit) {
				t.Errorf("INQUIRY: %v with %d bytes", q.Status, q.In.Len())
			}
			s := try(cdb(scsi.RequestSense{AllocationLength: 18}), 18)
			if got, err := scsi.DecodeSense(s.In.Bytes()); err != nil || !got.Is(scsi.CodeLUNotSupported) {
				t.Errorf("REQUEST SENSE: %v, %v", got, err)
			}
			r := try(cdb(scsi.ReportLUNs{AllocationLength: 64}), 64)
			if list, err := scsi.DecodeLUNList(r.In.Bytes(), 9); err != nil || len(list.LUNs) != 1 {
				t.Errorf("REPORT LUNS: %+v, %v", list, err)
			}
			for _, x := range []scsi.CDB{tur(), readCDB(0, 1), writeCDB(0, 1)} {
				if got := senseOf(t, try(x, 0)); !got.Is(scsi.CodeLUNotSupported) {
					t.Errorf("%v: %v", x.Opcode(), got)
				}
			}
			for _, call := range []func(Done) bool{
				func(d Done) bool { return c.n.AbortTaskSet(&c.batch, field, d) },
				func(d Done) bool { return c.n.ClearTaskSet(&c.batch, field, d) },
				func(d Done) bool { return c.n.LogicalUnitReset(&c.batch, field, d) },
			} {
				if call(nil) {
					t.Error("a task management function finds a unit")
				}
			}
		})
	}
}

// TestInventory: units come and go; the nexuses are told, and REPORT LUNS ends
// that.
func TestInventory(t *testing.T) {
	x := newBed(t, UnitConfig{})
	c, o := x.open(0, 1), x.open(1, 1)
	u, err := NewUnit(UnitConfig{Device: memory(t, 1<<20), UUID: [16]byte{5}})
	if err != nil {
		t.Fatal(err)
	}
	x.add(4, u)
	list, err := scsi.DecodeLUNList(c.good(cdb(scsi.ReportLUNs{AllocationLength: 64}), nil, 64), 9)
	if err != nil || len(list.LUNs) != 2 || list.LUNs[1].LUN != 4 {
		t.Fatalf("LUNs %+v, %v", list, err)
	}
	c.good(tur(), nil, 0)
	o.fails(scsi.CodeReportedLUNsChanged, tur(), nil, 0)
	if got := senseOf(t, c.at(4, tur(), nil, 0)); !got.Is(scsi.CodeResetOccurred) {
		t.Errorf("the new unit: %v", got)
	}
	done, res := doneOf(t)
	x.target.Remove(&c.batch, 4, done)
	c.batch.Run()
	if !res.OK() {
		t.Error("not removed")
	}
	c.fails(scsi.CodeReportedLUNsChanged, tur(), nil, 0)
	if got := senseOf(t, c.at(4, tur(), nil, 0)); !got.Is(scsi.CodeLUNotSupported) {
		t.Errorf("the removed unit: %v", got)
	}
	if err := x.target.Add(0, Mapping{Unit: u}); err == nil {
		t.Error("a LUN was given twice")
	}
}

// TestSupportedOpcodes: what is told of a command is what becomes of its CDB: a
// bit outside of the usage map is refused, with a pointer to it.
func TestSupportedOpcodes(t *testing.T) {
	x := newBed(t, UnitConfig{})
	c := x.open(0, 1)
	list, err := scsi.DecodeSupportedCommands(c.good(cdb(scsi.ReportSupportedOpcodes{Timeouts: true, AllocationLength: 8192}), nil, 8192))
	if err != nil || len(list) != len(x.unit.table) {
		t.Fatalf("%d commands, want %d, %v", len(list), len(x.unit.table), err)
	}
	for _, s := range list {
		ask := scsi.ReportSupportedOpcodes{Options: scsi.ReportOneOpcode, Requested: s.Opcode, Action: s.Action, AllocationLength: 64}
		if s.HasAction {
			ask.Options = scsi.ReportOneAction
		}
		one, err := scsi.DecodeCommandSupport(c.good(cdb(ask), nil, 64))
		if err != nil || one.Support != scsi.SupportedStandard || one.CDBBytes != int(s.CDBBytes) || one.Usage[0] != byte(s.Opcode) {
			t.Errorf("%v: %+v, %v", s.Opcode, one, err)
			continue
		}
		for i := 1; i < one.CDBBytes; i++ {
			bits := ^one.Usage[i]
			if i == 1 && s.HasAction {
				bits &^= 0x1f
			}
			for bit := range 8 {
				if bits&(1<<bit) == 0 {
					continue
				}
				var bad scsi.CDB
				bad[0] = byte(s.Opcode)
				if s.HasAction {
					bad[1] = byte(s.Action)
				}
				bad[i] |= 1 << bit
				got := c.fails(scsi.CodeInvalidFieldInCDB, bad, nil, 0)
				if got.Field != uint16(i) || int(got.Bit) != bit {
					t.Fatalf("%v, byte %d bit %d: told as byte %d bit %d", s.Opcode, i, bit, got.Field, got.Bit)
				}
			}
		}
	}
	ask := scsi.ReportSupportedOpcodes{Options: scsi.ReportOneOpcode, Requested: scsi.OpServiceActionOut16, AllocationLength: 64}
	if one, err := scsi.DecodeCommandSupport(c.good(cdb(ask), nil, 64)); err != nil || one.Support != scsi.NotSupported {
		t.Errorf("SERVICE ACTION OUT(16): %+v, %v", one, err)
	}
	tmf := c.good(scsi.CDB{byte(scsi.OpMaintenanceIn), scsi.ActionReportSupportedTMF, 0, 0, 0, 0, 0, 0, 0, 4}, nil, 4)
	if binary.BigEndian.Uint32(tmf) != 0xda<<24 {
		t.Errorf("task management functions %x", tmf)
	}
}

func TestPortGroups(t *testing.T) {
	x := newBed(t, UnitConfig{})
	c := x.open(0, 1)
	ask := cdb(scsi.ReportPortGroups{Extended: true, AllocationLength: 128})
	groups, _, err := scsi.DecodePortGroups(c.good(ask, nil, 128))
	if err != nil || len(groups) != 2 || groups[1].State != scsi.ActiveOptimized || !slices.Equal(groups[1].Ports, []uint16{2}) {
		t.Fatalf("groups %+v, %v", groups, err)
	}
	groups[1].State = scsi.ActiveNonOptimized
	if err := x.target.SetPortGroups(groups); err != nil {
		t.Fatal(err)
	}
	c.fails(scsi.CodeAccessStateChanged, tur(), nil, 0)
	groups, _, err = scsi.DecodePortGroups(c.good(ask, nil, 128))
	if err != nil || groups[1].State != scsi.ActiveNonOptimized {
		t.Errorf("groups %+v, %v", groups, err)
	}
	if x.target.SetPortGroups(groups[:1]) == nil {
		t.Error("a port without a group is accepted")
	}
}

// TestB26ReportLUNsShort: any allocation length is taken, and the list is cut to it.
func TestB26ReportLUNsShort(t *testing.T) {
	c := newBed(t, UnitConfig{}).open(0, 1)
	all := c.good(cdb(scsi.ReportLUNs{AllocationLength: 64}), nil, 64)
	for _, n := range []uint32{0, 4, 8, 15} {
		if got := c.good(cdb(scsi.ReportLUNs{AllocationLength: n}), nil, 64); string(got) != string(all[:n]) {
			t.Errorf("%d bytes: %x, want %x", n, got, all[:n])
		}
	}
}
