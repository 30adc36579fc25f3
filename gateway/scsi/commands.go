// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"pathgate/backends"
	"pathgate/internal/scsi"
)

// Usage maps are written as their bytes behind the operation code.
const (
	all  = 0xff
	dpo  = 0x10
	fua  = 0x08
	grp  = 0x1f // GROUP NUMBER is accepted and means nothing
	act  = 0x1f // service action
	immd = 0x02 // IMMED of SYNCHRONIZE CACHE and PRE-FETCH
)

// commands is the table of all commands, in ascending order of operation codes.
// One table, which is the reason for its length.
func commands() []entry {
	const none = noAction
	list := []entry{
		{op: scsi.OpTestUnitReady, action: none, size: 6, access: accessOpen, run: testUnitReady},
		{op: scsi.OpRequestSense, action: none, size: 6, quiet: true, usage: use(0x01, 0, 0, all), check: checkRequestSense, run: requestSense},
		{op: scsi.OpFormatUnit, action: none, size: 6, access: accessWrite, changes: true, erases: true, usage: use(0x3f), check: checkFormat, run: formatUnit},
		{op: scsi.OpRead6, action: none, size: 6, access: accessRead, usage: use(0x1f, all, all, all), check: checkReadWrite, run: readLong},
		{op: scsi.OpWrite6, action: none, size: 6, access: accessWrite, changes: true, usage: use(0x1f, all, all, all), check: checkReadWrite, run: writeLong},
		{op: scsi.OpInquiry, action: none, size: 6, quiet: true, usage: use(0x01, all, all, all), check: checkInquiry, run: inquiry},
		{op: scsi.OpModeSelect6, action: none, size: 6, access: accessWrite, usage: use(0x11, 0, 0, all), check: checkModeSelect, run: modeSelect},
		{op: scsi.OpReserve6, action: none, size: 6, run: reserve},
		{op: scsi.OpRelease6, action: none, size: 6, run: release},
		{op: scsi.OpModeSense6, action: none, size: 6, access: accessRead, usage: use(0x08, all, all, all), check: checkModeSense, run: modeSense},
		{op: scsi.OpStartStopUnit, action: none, size: 6, access: accessOpen, usage: use(0x01, 0, 0x0f, 0xf7), run: startStop},
		{op: scsi.OpReceiveDiagnostic, action: none, size: 6, access: accessRead, usage: use(0x01, all, all, all), check: checkDiagnostic, run: receiveDiagnostic},
		{op: scsi.OpSendDiagnostic, action: none, size: 6, access: accessWrite, usage: use(0x17), run: selfTest},
		{op: scsi.OpPreventAllow, action: none, size: 6, access: accessOpen, usage: use(0, 0, 0, 0x03), run: preventAllow},
		{op: scsi.OpReadCapacity10, action: none, size: 10, access: accessOpen, usage: use(0, all, all, all, all, 0, 0, 0x01), check: checkReadCapacity10, run: readCapacity10},
		{op: scsi.OpRead10, action: none, size: 10, access: accessRead, usage: use(dpo|fua, all, all, all, all, grp, all, all), check: checkReadWrite, run: readLong},
		{op: scsi.OpWrite10, action: none, size: 10, access: accessWrite, changes: true, usage: use(dpo|fua, all, all, all, all, grp, all, all), check: checkReadWrite, run: writeLong},
		{op: scsi.OpWriteVerify10, action: none, size: 10, access: accessWrite, changes: true, usage: use(dpo|0x06, all, all, all, all, grp, all, all), check: checkVerify, run: writeVerify},
		{op: scsi.OpVerify10, action: none, size: 10, access: accessRead, usage: use(dpo|0x06, all, all, all, all, grp, all, all), check: checkVerify, run: verify},
		{op: scsi.OpPrefetch10, action: none, size: 10, access: accessRead, usage: use(immd, all, all, all, all, grp, all, all), check: checkPrefetch, run: prefetch},
		{op: scsi.OpSynchronizeCache10, action: none, size: 10, access: accessWrite, usage: use(immd, all, all, all, all, grp, all, all), check: checkSynchronize, run: synchronize},
		{op: scsi.OpReadDefectData10, action: none, size: 10, access: accessRead, usage: use(0, 0x1f, 0, 0, 0, 0, all, all), check: checkDefects, run: readDefects},
		{op: scsi.OpWriteSame10, action: none, size: 10, access: accessWrite, changes: true, usage: use(0x18, all, all, all, all, grp, all, all), check: checkWriteSame, run: writeSame},
		{op: scsi.OpUnmap, action: none, size: 10, access: accessWrite, changes: true, needs: backends.CanUnmap, usage: use(0x01, 0, 0, 0, 0, grp, all, all), check: checkUnmap, run: unmap},
		{op: scsi.OpSanitize, action: scsi.ActionOverwrite, size: 10, access: accessWrite, changes: true, erases: true, usage: use(0xa0|act, 0, 0, 0, 0, 0, all, all), check: checkSanitize, run: sanitize},
		{op: scsi.OpSanitize, action: scsi.ActionBlockErase, size: 10, access: accessWrite, changes: true, erases: true, needs: backends.CanUnmap, usage: use(0xa0|act, 0, 0, 0, 0, 0, all, all), check: checkSanitize, run: sanitize},
		{op: scsi.OpSanitize, action: scsi.ActionExitFailureMode, size: 10, access: accessWrite, changes: true, erases: true, usage: use(0xa0|act, 0, 0, 0, 0, 0, all, all), check: checkSanitize, run: exitFailure},
		{op: scsi.OpLogSense, action: none, size: 10, access: accessOpen, usage: use(0, all, all, 0, 0, 0, all, all), check: checkLogSense, run: logSense},
		{op: scsi.OpModeSelect10, action: none, size: 10, access: accessWrite, usage: use(0x11, 0, 0, 0, 0, 0, all, all), check: checkModeSelect, run: modeSelect},
		{op: scsi.OpReserve10, action: none, size: 10, run: reserve},
		{op: scsi.OpRelease10, action: none, size: 10, run: release},
		{op: scsi.OpModeSense10, action: none, size: 10, access: accessRead, usage: use(0x18, all, all, 0, 0, 0, all, all), check: checkModeSense, run: modeSense},
		{op: scsi.OpPersistentReserveIn, action: 0, size: 10, access: accessOpen, usage: use(act, 0, 0, 0, 0, 0, all, all), check: checkAllocation, run: reserveIn},
		{op: scsi.OpPersistentReserveIn, action: 1, size: 10, access: accessOpen, usage: use(act, 0, 0, 0, 0, 0, all, all), check: checkAllocation, run: reserveIn},
		{op: scsi.OpPersistentReserveIn, action: 2, size: 10, access: accessOpen, usage: use(act, 0, 0, 0, 0, 0, all, all), check: checkAllocation, run: reserveIn},
		{op: scsi.OpPersistentReserveIn, action: 3, size: 10, access: accessOpen, usage: use(act, 0, 0, 0, 0, 0, all, all), check: checkAllocation, run: reserveIn},
		{op: scsi.OpPersistentReserveOut, action: 0, size: 10, access: accessOpen, usage: use(act, all, 0, 0, all, all, all, all), check: checkReserveOut, run: reserveOut},
		{op: scsi.OpPersistentReserveOut, action: 1, size: 10, access: accessOpen, usage: use(act, all, 0, 0, all, all, all, all), check: checkReserveOut, run: reserveOut},
		{op: scsi.OpPersistentReserveOut, action: 2, size: 10, access: accessOpen, usage: use(act, all, 0, 0, all, all, all, all), check: checkReserveOut, run: reserveOut},
		{op: scsi.OpPersistentReserveOut, action: 3, size: 10, access: accessOpen, usage: use(act, all, 0, 0, all, all, all, all), check: checkReserveOut, run: reserveOut},
		{op: scsi.OpPersistentReserveOut, action: 4, size: 10, access: accessOpen, usage: use(act, all, 0, 0, all, all, all, all), check: checkReserveOut, run: reserveOut},
		{op: scsi.OpPersistentReserveOut, action: 5, size: 10, access: accessOpen, usage: use(act, all, 0, 0, all, all, all, all), check: checkReserveOut, run: reserveOut},
		{op: scsi.OpPersistentReserveOut, action: 6, size: 10, access: accessOpen, usage: use(act, all, 0, 0, all, all, all, all), check: checkReserveOut, run: reserveOut},
		{op: scsi.OpPersistentReserveOut, action: 7, size: 10, access: accessOpen, usage: use(act, all, 0, 0, all, all, all, all), check: checkReserveOut, run: reserveOut},
		{op: scsi.OpExtendedCopy, action: scsi.ActionExtendedCopy, size: 16, access: accessWrite, usage: use(act, 0, 0, 0, 0, 0, 0, 0, 0, all, all, all, all), check: checkExtendedCopy, run: extendedCopy},
		{op: scsi.OpReceiveCopyResults, action: scsi.ActionCopyStatus, size: 16, access: accessWrite, usage: use(act, all, 0, 0, 0, 0, 0, 0, 0, all, all, all, all), check: checkCopyResults, run: copyStatus},
		{op: scsi.OpReceiveCopyResults, action: scsi.ActionOperatingParameters, size: 16, access: accessWrite, usage: use(act, 0, 0, 0, 0, 0, 0, 0, 0, all, all, all, all), check: checkCopyResults, run: copyParameters},
		{op: scsi.OpRead16, action: none, size: 16, access: accessRead, usage: use(dpo|fua, all, all, all, all, all, all, all, all, all, all, all, all, grp), check: checkReadWrite, run: readLong},
		{op: scsi.OpCompareAndWrite, action: none, size: 16, access: accessWrite, changes: true, needs: backends.CanCompareAndWrite, usage: use(dpo|fua, all, all, all, all, all, all, all, all, 0, 0, 0, all, grp), check: checkCompareAndWrite, run: nothing},
		{op: scsi.OpWrite16, action: none, size: 16, access: accessWrite, changes: true, usage: use(dpo|fua, all, all, all, all, all, all, all, all, all, all, all, all, grp), check: checkReadWrite, run: writeLong},
		{op: scsi.OpORWrite16, action: none, size: 16, access: accessWrite, changes: true, needs: backends.CanCompareAndWrite, usage: use(dpo|fua, all, all, all, all, all, all, all, all, all, all, all, all, grp), check: checkORWrite, run: orWrite},
		{op: scsi.OpWriteVerify16, action: none, size: 16, access: accessWrite, changes: true, usage: use(dpo|0x06, all, all, all, all, all, all, all, all, all, all, all, all, grp), check: checkVerify, run: writeVerify},
		{op: scsi.OpVerify16, action: none, size: 16, access: accessRead, usage: use(dpo|0x06, all, all, all, all, all, all, all, all, all, all, all, all, grp), check: checkVerify, run: verify},
		{op: scsi.OpPrefetch16, action: none, size: 16, access: accessRead, usage: use(immd, all, all, all, all, all, all, all, all, all, all, all, all, grp), check: checkPrefetch, run: prefetch},
		{op: scsi.OpSynchronizeCache16, action: none, size: 16, access: accessWrite, usage: use(immd, all, all, all, all, all, all, all, all, all, all, all, all, grp), check: checkSynchronize, run: synchronize},
		{op: scsi.OpWriteSame16, action: none, size: 16, access: accessWrite, changes: true, usage: use(0x19, all, all, all, all, all, all, all, all, all, all, all, all, grp), check: checkWriteSame, run: writeSame},
		{op: scsi.OpWriteAtomic16, action: none, size: 16, access: accessWrite, changes: true, needs: canWriteAtomic, usage: use(dpo|fua, all, all, all, all, all, all, all, all, 0, 0, all, all, grp), check: checkWriteAtomic, run: nothing},
		{op: scsi.OpServiceActionIn16, action: scsi.ActionReadCapacity16, size: 16, access: accessOpen, usage: use(act, all, all, all, all, all, all, all, all, all, all, all, all, 0x01), check: checkReadCapacity16, run: readCapacity16},
		{op: scsi.OpServiceActionIn16, action: scsi.ActionGetLBAStatus, size: 16, access: accessRead, usage: use(act, all, all, all, all, all, all, all, all, all, all, all, all), check: checkLBAStatus, run: lbaStatus},
		{op: scsi.OpReportLUNs, action: none, size: 12, quiet: true, usage: use(0, all, 0, 0, 0, all, all, all, all), check: checkReportLUNs, run: reportLUNs},
		{op: scsi.OpMaintenanceIn, action: scsi.ActionReportPortGroups, size: 12, access: accessOpen, usage: use(0xe0|act, 0, 0, 0, 0, all, all, all, all), check: checkPortGroups, run: reportPortGroups},
		{op: scsi.OpMaintenanceIn, action: scsi.ActionReportSupportedOpcodes, size: 12, access: accessOpen, usage: use(act, 0x87, all, all, all, all, all, all, all), check: checkSupported, run: reportSupported},
		{op: scsi.OpMaintenanceIn, action: scsi.ActionReportSupportedTMF, size: 12, access: accessOpen, usage: use(act, 0x80, 0, 0, 0, all, all, all, all), check: checkSupportedTMF, run: reportSupportedTMF},
		{op: scsi.OpRead12, action: none, size: 12, access: accessRead, usage: use(dpo|fua, all, all, all, all, all, all, all, all, grp), check: checkReadWrite, run: readLong},
		{op: scsi.OpWrite12, action: none, size: 12, access: accessWrite, changes: true, usage: use(dpo|fua, all, all, all, all, all, all, all, all, grp), check: checkReadWrite, run: writeLong},
		{op: scsi.OpWriteVerify12, action: none, size: 12, access: accessWrite, changes: true, usage: use(dpo|0x06, all, all, all, all, all, all, all, all, grp), check: checkVerify, run: writeVerify},
		{op: scsi.OpVerify12, action: none, size: 12, access: accessRead, usage: use(dpo|0x06, all, all, all, all, all, all, all, all, grp), check: checkVerify, run: verify},
		{op: scsi.OpReadDefectData12, action: none, size: 12, access: accessRead, usage: use(0x1f, all, all, all, all, all, all, all, all), check: checkDefects, run: readDefects},
	}
	for i := range list {
		list[i].usage[0] = byte(list[i].op)
	}
	return list
}

// use makes a usage map of the bytes behind the operation code.
func use(b ...byte) (m [16]byte) {
	copy(m[1:], b)
	return m
}
