// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"slices"

	wire "pathgate/internal/iscsi"
	"pathgate/internal/scsi"
)

func illegal(asc byte) *scsi.Sense {
	s := scsi.MakeSenseCode(scsi.IllegalRequest, asc, 0).Sense()
	return &s
}

// withoutUnitLocked answers for a LUN that is not there.
func (s *session) withoutUnitLocked(c wire.SCSICommand, op scsi.Opcode) {
	switch op {
	case scsi.OpInquiry:
		s.inLocked(c, scsi.StandardInquiry{Peripheral: scsi.PeripheralNoUnit}.Append(nil))
	case scsi.OpReportLUNs:
		s.inLocked(c, s.t.lunsLocked())
	default:
		s.checkLocked(c, *illegal(0x25))
	}
}

func (t *Target) lunsLocked() []byte {
	var fields []scsi.LUNField
	for n := range t.units {
		fields = append(fields, scsi.LUN(n).Field())
	}
	return scsi.AppendLUNList(nil, fields)
}

// askLocked answers what touches no medium.
func (s *session) askLocked(u *Unit, c *wire.SCSICommand, list []byte) ([]byte, *scsi.Sense) {
	cdb := scsi.CDB(c.CDB)
	switch cdb.Opcode() {
	case scsi.OpTestUnitReady, scsi.OpSynchronizeCache10, scsi.OpSynchronizeCache16:
		return nil, nil
	case scsi.OpReportLUNs:
		return s.t.lunsLocked(), nil
	case scsi.OpServiceActionIn16:
		return scsi.Capacity{Blocks: uint64(len(u.m.b) / 512), BlockSize: 512}.Append16(nil), nil
	case scsi.OpModeSense6:
		page := scsi.CachingPage{WriteCache: true}.Append(nil)
		return scsi.ModeData{DPOFUA: true, Pages: page}.Append(nil, 6), nil
	case scsi.OpInquiry:
		q, err := scsi.DecodeInquiry(&c.CDB)
		if err != nil {
			return nil, illegal(0x24)
		}
		return u.pageLocked(q)
	case scsi.OpPersistentReserveIn:
		in, err := scsi.DecodePersistentReserveIn(&c.CDB)
		if err != nil {
			return nil, illegal(0x24)
		}
		if in.Action == scsi.ReadKeys {
			return scsi.RegisteredKeys{Keys: u.keys}.Append(nil), nil
		}
		return scsi.Reservation{}.Append(nil), nil
	case scsi.OpPersistentReserveOut:
		return nil, u.registerLocked(&c.CDB, list)
	default:
		return nil, illegal(0x20)
	}
}

func (u *Unit) pageLocked(q scsi.Inquiry) ([]byte, *scsi.Sense) {
	if !q.VPD {
		return scsi.StandardInquiry{Version: 6, Vendor: "SIM", Product: "DISK", Revision: "1"}.Append(nil), nil
	}
	switch q.Page {
	case scsi.PageSerialNumber:
		return scsi.AppendSerialNumber(nil, 0, "sim"), nil
	case scsi.PageIdentification:
		return scsi.AppendDesignators(nil, 0, []scsi.Designator{u.id}), nil
	case scsi.PageBlockLimits:
		return scsi.BlockLimits{MaxTransfer: 1024}.Append(nil, 0), nil
	default:
		return nil, illegal(0x24)
	}
}

// registerLocked is PERSISTENT RESERVE OUT, as far as registrations go: they belong
// to the unit in this process, and one more comes with each login, as in tgtd.
func (u *Unit) registerLocked(cdb *[16]byte, list []byte) *scsi.Sense {
	out, err := scsi.DecodePersistentReserveOut(cdb)
	if err != nil {
		return illegal(0x24)
	}
	p, err := scsi.DecodeReserveParameters(list)
	if err != nil {
		return illegal(0x1a)
	}
	remove := func(k uint64) {
		u.keys = slices.DeleteFunc(u.keys, func(have uint64) bool { return have == k })
	}
	switch out.Action {
	case scsi.RegisterAndIgnore:
		u.keys = append(u.keys, p.ActionKey)
	case scsi.Register:
		remove(p.Key)
	case scsi.Preempt:
		remove(p.ActionKey)
	default:
		return illegal(0x24)
	}
	return nil
}
