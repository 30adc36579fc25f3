// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"encoding/binary"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// checkSupported reads REPORT SUPPORTED OPERATION CODES.
func checkSupported(t *task) scsi.Sense {
	c, err := scsi.DecodeReportSupportedOpcodes(t.raw())
	if err != nil {
		return scsi.CodeInvalidFieldInCDB.Sense()
	}
	u := t.l.u
	actions, exists := u.actions(c.Requested)
	switch {
	case c.Options > scsi.ReportOneOpcodeAnyActions,
		c.Options == scsi.ReportOneOpcode && exists && actions,
		c.Options == scsi.ReportOneAction && exists && !actions:
		return badField(2, 2)
	}
	return checkAllocation(t)
}

// actions tells whether an operation code has service actions, and exists.
func (u *Unit) actions(op scsi.Opcode) (actions, exists bool) {
	caps := u.geometry.Load().caps
	for i := range u.table {
		if e := &u.table[i]; e.op == op && caps.Has(e.needs) {
			return e.action != noAction, true
		}
	}
	return false, false
}

// commandSeconds is the recommended timeout that is told: Linux's default for a
// disk.
const commandSeconds = 30

// seconds is the recommended timeout; 0: none, where it depends on the medium.
func (e *entry) seconds() uint32 {
	if e.erases {
		return 0
	}
	return commandSeconds
}

// reportSupported is REPORT SUPPORTED OPERATION CODES, all of it from the table.
func reportSupported(b *backends.Batch, t *task) {
	c, _ := scsi.DecodeReportSupportedOpcodes(t.raw())
	if c.Options == scsi.ReportAllCommands {
		t.reply(scsi.AppendSupportedCommands(nil, t.l.u.supported(c.Timeouts)))
	} else {
		t.reply(t.l.u.support(c))
	}
	t.finish(b, backends.Done())
}

func (u *Unit) supported(timeouts bool) []scsi.SupportedCommand {
	caps := u.geometry.Load().caps
	var list []scsi.SupportedCommand
	for i := range u.table {
		e := &u.table[i]
		if !caps.Has(e.needs) {
			continue
		}
		s := scsi.SupportedCommand{Opcode: e.op, CDBBytes: uint16(e.size)}
		if e.action != noAction {
			s.HasAction, s.Action = true, uint16(e.action)
		}
		if timeouts {
			s.HasTimeouts, s.RecommendedSeconds = true, e.seconds()
		}
		list = append(list, s)
	}
	return list
}

// support tells of one command.
func (u *Unit) support(c scsi.ReportSupportedOpcodes) []byte {
	var cdb scsi.CDB
	cdb[0], cdb[1] = byte(c.Requested), byte(c.Action)
	answer := scsi.CommandSupport{Support: scsi.NotSupported}
	e, _ := u.lookup(&cdb)
	if e != nil && c.Action <= act {
		answer = scsi.CommandSupport{Support: scsi.SupportedStandard, CDBBytes: e.size}
		copy(answer.Usage[:], e.usage[:])
		if e.action != noAction {
			answer.Usage[1] = answer.Usage[1]&^act | byte(e.action)
		}
	}
	data := answer.Append(nil)
	if c.Timeouts && answer.Support == scsi.SupportedStandard {
		data[1] |= 0x80 // CTDP
		data = append(data, 0, 10, 0, 0, 0, 0, 0, 0)
		data = binary.BigEndian.AppendUint32(data, e.seconds())
	}
	return data
}

// checkSupportedTMF reads REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS.
func checkSupportedTMF(t *task) scsi.Sense {
	s := checkAllocation(t)
	if s.Key == scsi.NoSense && t.demand.alloc < 4 {
		return badField(6, scsi.NoBit)
	}
	return s
}

// Functions that REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS tells (SPC-4): abort
// task, abort task set, clear task set, logical unit reset, target reset.
const supportedTMF = 0x80 | 0x40 | 0x10 | 0x08 | 0x02

// reportSupportedTMF is REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS.
func reportSupportedTMF(b *backends.Batch, t *task) {
	data := make([]byte, 4, 16)
	data[0] = supportedTMF
	if t.c.CDB[2]&0x80 != 0 { // REPD
		data = data[:16]
		data[3] = 12
	}
	t.reply(data)
	t.finish(b, backends.Done())
}
