// SPDX-License-Identifier: Apache-2.0

package scripted

import (
	"slices"

	"pathgate/internal/scsi"
)

// asks answers commands that use no medium, whatever the access state; false: it
// is none of them.
func (m *Command) asks(op scsi.Opcode, data []byte) bool {
	if op == scsi.OpReportLUNs {
		m.Answer(m.conn.luns())
		return true
	}
	reply := m.reply(op, data)
	if reply == nil {
		return false
	}
	reply()
	return true
}

// reply makes the answer, to be sent with no lock held; nil: asks has none.
func (m *Command) reply(op scsi.Opcode, data []byte) func() {
	raw := (*[16]byte)(&m.CDB)
	u := m.unit
	if u == nil {
		return func() { m.short(scsi.StandardInquiry{Peripheral: scsi.PeripheralNoUnit}.Append(nil)) }
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch op {
	case scsi.OpInquiry:
		return m.inquire(u)
	case scsi.OpTestUnitReady:
		return m.testUnitReady(u)
	case scsi.OpReadCapacity10:
		return m.gives(u.capacity().Append10(nil))
	case scsi.OpServiceActionIn16:
		if m.CDB.ServiceAction() != scsi.ActionReadCapacity16 {
			return m.fails(scsi.CodeInvalidFieldInCDB)
		}
		return m.gives(u.capacity().Append16(nil))
	case scsi.OpModeSense6, scsi.OpModeSense10:
		size := 6
		if op == scsi.OpModeSense10 {
			size = 10
		}
		page := scsi.CachingPage{WriteCache: u.WriteCache}.Append(nil)
		return m.gives(scsi.ModeData{DPOFUA: u.FUA, WriteProtected: u.ReadOnly, Pages: page}.Append(nil, size))
	case scsi.OpMaintenanceIn:
		if m.CDB.ServiceAction() != scsi.ActionReportPortGroups || u.TPGS == 0 {
			return m.fails(scsi.CodeInvalidFieldInCDB)
		}
		q, _ := scsi.DecodeReportPortGroups(raw)
		return m.gives(scsi.AppendPortGroups(nil, u.Groups, q.Extended, u.Transition))
	case scsi.OpMaintenanceOut:
		return m.setGroups(u, data)
	case scsi.OpPersistentReserveIn:
		p, code := u.reserveIn(raw)
		if code != 0 {
			return m.fails(code)
		}
		return m.gives(p)
	case scsi.OpPersistentReserveOut:
		code, conflict := u.reserveOut(m.conn, raw, data)
		if conflict {
			return func() { m.Status(scsi.StatusReservationConflict) }
		}
		return m.fails(code)
	case scsi.OpRequestSense:
		return m.gives(scsi.CodeNone.Sense().AppendFixed(nil))
	default:
		return nil
	}
}

// gives answers with p, fails with code; 0 is success without data.
func (m *Command) gives(p []byte) func() { return func() { m.short(p) } }

func (m *Command) fails(code scsi.SenseCode) func() {
	if code == scsi.CodeNone {
		return func() { m.Answer(nil) }
	}
	return func() { m.Check(code) }
}

// short answers with at most what the initiator has room for.
func (m *Command) short(p []byte) {
	m.Answer(p[:min(len(p), int(m.ExpectedDataTransferLength))])
}

func (m *Command) inquire(u *Unit) func() {
	q, err := scsi.DecodeInquiry((*[16]byte)(&m.CDB))
	switch {
	case err != nil:
	case !q.VPD:
		return m.gives(scsi.StandardInquiry{
			Version: 6, CommandQueue: true, PortGroupAccess: u.TPGS, Vendor: u.Vendor, Product: u.Product, Revision: u.Revision,
		}.Append(nil))
	default:
		if p, ok := u.page(q.Page, m.conn.p); ok {
			return m.gives(p)
		}
	}
	return m.fails(scsi.CodeInvalidFieldInCDB)
}

// page is a vital product data page.
func (u *Unit) page(page scsi.VPDPage, p *portal) ([]byte, bool) {
	switch page {
	case scsi.PageSerialNumber:
		return scsi.AppendSerialNumber(nil, 0, u.Serial), u.Serial != ""
	case scsi.PageIdentification:
		if u.Page83 != nil {
			return u.Page83, true
		}
		list := slices.Clone(u.Designators)
		if u.TPGS != 0 {
			list = append(list, scsi.PortDesignator(scsi.DesignatorRelativePort, p.Port), scsi.PortDesignator(scsi.DesignatorPortGroup, p.Group))
		}
		return scsi.AppendDesignators(nil, 0, list), true
	case scsi.PageBlockLimits:
		l := scsi.BlockLimits{MaxTransfer: 2048, MaxCompareAndWrite: 8, MaxWriteSame: 1 << 16}
		if u.Thin {
			l.MaxUnmapBlocks, l.MaxUnmapRanges = 1<<16, 64
		}
		return l.Append(nil, 0), true
	case scsi.PageProvisioning:
		return scsi.Provisioning{Unmap: true, WriteSame16: true, Type: scsi.ProvisioningThin}.Append(nil, 0), u.Thin
	default:
		return nil, false
	}
}

func (u *Unit) capacity() scsi.Capacity {
	c := scsi.Capacity{BlockSize: u.Block, Provisioned: u.Thin, ReadZeros: u.Thin}
	if u.Block > 0 {
		c.Blocks = u.Size / uint64(u.Block)
	}
	return c
}

// testUnitReady tells of an access state that serves nothing.
func (m *Command) testUnitReady(u *Unit) func() {
	switch u.accessLocked(m.conn.p.Group) {
	case scsi.Standby:
		return m.fails(scsi.CodePortStandby)
	case scsi.Unavailable, scsi.Offline:
		return m.fails(scsi.CodePortUnavailable)
	case scsi.Transitioning:
		return m.fails(scsi.CodeAccessTransition)
	case scsi.ActiveOptimized, scsi.ActiveNonOptimized, scsi.LBADependent:
	}
	return m.fails(scsi.CodeNone)
}

// setGroups is SET TARGET PORT GROUPS: the states are as asked for at once.
func (m *Command) setGroups(u *Unit, data []byte) func() {
	if m.CDB.ServiceAction() != scsi.ActionSetPortGroups || u.TPGS&scsi.ALUAExplicit == 0 {
		return m.fails(scsi.CodeInvalidOpcode)
	}
	list, err := scsi.DecodeSetPortGroupList(data)
	if err != nil {
		return m.fails(scsi.CodeParameterListLength)
	}
	for _, g := range list {
		if !u.setAccessLocked(g.ID, g.State, scsi.StatusBySetPortGroups, m.conn) {
			return m.fails(scsi.CodeInvalidFieldInParameters)
		}
	}
	return m.fails(scsi.CodeNone)
}

// luns answers REPORT LUNS.
func (c *conn) luns() []byte {
	c.t.mu.Lock()
	f := c.t.onList
	var numbers []uint16
	for lun := range c.t.units[c.portal] {
		numbers = append(numbers, lun)
	}
	c.t.mu.Unlock()
	slices.Sort(numbers)
	var fields []scsi.LUNField
	for _, lun := range numbers {
		fields = append(fields, scsi.LUN(lun).Field())
	}
	if f != nil {
		return f(fields)
	}
	return scsi.AppendLUNList(nil, fields)
}
