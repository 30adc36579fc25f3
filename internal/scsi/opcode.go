// SPDX-License-Identifier: Apache-2.0

package scsi

import "fmt"

// Opcode is byte 0 of a CDB.
type Opcode uint8

// Operation codes of SPC-4 and SBC-4 that a disk meets.
const (
	OpTestUnitReady        Opcode = 0x00
	OpRequestSense         Opcode = 0x03
	OpFormatUnit           Opcode = 0x04
	OpRead6                Opcode = 0x08
	OpWrite6               Opcode = 0x0a
	OpInquiry              Opcode = 0x12
	OpModeSelect6          Opcode = 0x15
	OpReserve6             Opcode = 0x16
	OpRelease6             Opcode = 0x17
	OpModeSense6           Opcode = 0x1a
	OpStartStopUnit        Opcode = 0x1b
	OpReceiveDiagnostic    Opcode = 0x1c
	OpSendDiagnostic       Opcode = 0x1d
	OpPreventAllow         Opcode = 0x1e
	OpReadCapacity10       Opcode = 0x25
	OpRead10               Opcode = 0x28
	OpWrite10              Opcode = 0x2a
	OpWriteVerify10        Opcode = 0x2e
	OpVerify10             Opcode = 0x2f
	OpPrefetch10           Opcode = 0x34
	OpSynchronizeCache10   Opcode = 0x35
	OpReadDefectData10     Opcode = 0x37
	OpWriteSame10          Opcode = 0x41
	OpUnmap                Opcode = 0x42
	OpSanitize             Opcode = 0x48
	OpLogSelect            Opcode = 0x4c
	OpLogSense             Opcode = 0x4d
	OpModeSelect10         Opcode = 0x55
	OpReserve10            Opcode = 0x56
	OpRelease10            Opcode = 0x57
	OpModeSense10          Opcode = 0x5a
	OpPersistentReserveIn  Opcode = 0x5e
	OpPersistentReserveOut Opcode = 0x5f
	OpVariableLength       Opcode = 0x7f
	OpExtendedCopy         Opcode = 0x83
	OpReceiveCopyResults   Opcode = 0x84
	OpATAPassThrough16     Opcode = 0x85
	OpRead16               Opcode = 0x88
	OpCompareAndWrite      Opcode = 0x89
	OpWrite16              Opcode = 0x8a
	OpORWrite16            Opcode = 0x8b
	OpWriteVerify16        Opcode = 0x8e
	OpVerify16             Opcode = 0x8f
	OpPrefetch16           Opcode = 0x90
	OpSynchronizeCache16   Opcode = 0x91
	OpWriteSame16          Opcode = 0x93
	OpWriteAtomic16        Opcode = 0x9c
	OpServiceActionIn16    Opcode = 0x9e
	OpServiceActionOut16   Opcode = 0x9f
	OpReportLUNs           Opcode = 0xa0
	OpMaintenanceIn        Opcode = 0xa3
	OpMaintenanceOut       Opcode = 0xa4
	OpRead12               Opcode = 0xa8
	OpWrite12              Opcode = 0xaa
	OpWriteVerify12        Opcode = 0xae
	OpVerify12             Opcode = 0xaf
	OpReadDefectData12     Opcode = 0xb7
)

// Service actions, in the low 5 bits of CDB byte 1.
const (
	ActionReadCapacity16         = 0x10 // of SERVICE ACTION IN(16)
	ActionGetLBAStatus           = 0x12 // of SERVICE ACTION IN(16)
	ActionReportPortGroups       = 0x0a // of MAINTENANCE IN: REPORT TARGET PORT GROUPS
	ActionReportSupportedOpcodes = 0x0c // of MAINTENANCE IN
	ActionReportSupportedTMF     = 0x0d // of MAINTENANCE IN: task management functions
	ActionReportTimestamp        = 0x0f // of MAINTENANCE IN
	ActionSetPortGroups          = 0x0a // of MAINTENANCE OUT: SET TARGET PORT GROUPS
)

// String returns the command's name in the standard, or its number.
func (o Opcode) String() string {
	if s := opcodeName(o); s != "" {
		return s
	}
	return fmt.Sprintf("opcode %02Xh", uint8(o))
}

// opcodeName is the table of names; a switch so that it is no mutable global.
func opcodeName(o Opcode) string {
	switch o {
	case OpTestUnitReady:
		return "TEST UNIT READY"
	case OpRequestSense:
		return "REQUEST SENSE"
	case OpFormatUnit:
		return "FORMAT UNIT"
	case OpRead6:
		return "READ(6)"
	case OpWrite6:
		return "WRITE(6)"
	case OpInquiry:
		return "INQUIRY"
	case OpModeSelect6:
		return "MODE SELECT(6)"
	case OpReserve6:
		return "RESERVE(6)"
	case OpRelease6:
		return "RELEASE(6)"
	case OpModeSense6:
		return "MODE SENSE(6)"
	case OpStartStopUnit:
		return "START STOP UNIT"
	case OpReceiveDiagnostic:
		return "RECEIVE DIAGNOSTIC RESULTS"
	case OpSendDiagnostic:
		return "SEND DIAGNOSTIC"
	case OpPreventAllow:
		return "PREVENT ALLOW MEDIUM REMOVAL"
	case OpReadCapacity10:
		return "READ CAPACITY(10)"
	case OpRead10:
		return "READ(10)"
	case OpWrite10:
		return "WRITE(10)"
	case OpWriteVerify10:
		return "WRITE AND VERIFY(10)"
	case OpVerify10:
		return "VERIFY(10)"
	case OpPrefetch10:
		return "PRE-FETCH(10)"
	case OpSynchronizeCache10:
		return "SYNCHRONIZE CACHE(10)"
	case OpReadDefectData10:
		return "READ DEFECT DATA(10)"
	case OpWriteSame10:
		return "WRITE SAME(10)"
	case OpUnmap:
		return "UNMAP"
	case OpSanitize:
		return "SANITIZE"
	case OpLogSelect:
		return "LOG SELECT"
	case OpLogSense:
		return "LOG SENSE"
	case OpModeSelect10:
		return "MODE SELECT(10)"
	case OpReserve10:
		return "RESERVE(10)"
	case OpRelease10:
		return "RELEASE(10)"
	case OpModeSense10:
		return "MODE SENSE(10)"
	case OpPersistentReserveIn:
		return "PERSISTENT RESERVE IN"
	case OpPersistentReserveOut:
		return "PERSISTENT RESERVE OUT"
	default:
		return longOpcodeName(o)
	}
}

func longOpcodeName(o Opcode) string {
	switch o {
	case OpVariableLength:
		return "variable length CDB"
	case OpExtendedCopy:
		return "EXTENDED COPY"
	case OpReceiveCopyResults:
		return "RECEIVE COPY RESULTS"
	case OpATAPassThrough16:
		return "ATA PASS-THROUGH(16)"
	case OpRead16:
		return "READ(16)"
	case OpCompareAndWrite:
		return "COMPARE AND WRITE"
	case OpWrite16:
		return "WRITE(16)"
	case OpORWrite16:
		return "ORWRITE(16)"
	case OpWriteVerify16:
		return "WRITE AND VERIFY(16)"
	case OpVerify16:
		return "VERIFY(16)"
	case OpPrefetch16:
		return "PRE-FETCH(16)"
	case OpSynchronizeCache16:
		return "SYNCHRONIZE CACHE(16)"
	case OpWriteSame16:
		return "WRITE SAME(16)"
	case OpWriteAtomic16:
		return "WRITE ATOMIC(16)"
	case OpServiceActionIn16:
		return "SERVICE ACTION IN(16)"
	case OpServiceActionOut16:
		return "SERVICE ACTION OUT(16)"
	case OpReportLUNs:
		return "REPORT LUNS"
	case OpMaintenanceIn:
		return "MAINTENANCE IN"
	case OpMaintenanceOut:
		return "MAINTENANCE OUT"
	case OpRead12:
		return "READ(12)"
	case OpWrite12:
		return "WRITE(12)"
	case OpWriteVerify12:
		return "WRITE AND VERIFY(12)"
	case OpVerify12:
		return "VERIFY(12)"
	case OpReadDefectData12:
		return "READ DEFECT DATA(12)"
	default:
		return ""
	}
}
