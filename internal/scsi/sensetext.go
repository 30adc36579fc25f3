// SPDX-License-Identifier: Apache-2.0

package scsi

// senseText returns what ASC and ASCQ say in the T10 list "SCSI ASC/ASCQ
// assignments", for the codes that a disk or its target may send; "" for others.
// One switch, so that the table is no mutable global: the reason for its length.
func senseText(asc, ascq uint8) string {
	switch uint16(asc)<<8 | uint16(ascq) {
	case 0x0000:
		return "no additional sense information"
	case 0x0016:
		return "operation in progress"
	case 0x0400:
		return "logical unit not ready, cause not reportable"
	case 0x0401:
		return "logical unit is becoming ready"
	case 0x0402:
		return "logical unit not ready, initializing command required"
	case 0x0403:
		return "logical unit not ready, manual intervention required"
	case 0x0404:
		return "logical unit not ready, format in progress"
	case 0x0405:
		return "logical unit not ready, rebuild in progress"
	case 0x0407:
		return "logical unit not ready, operation in progress"
	case 0x0409:
		return "logical unit not ready, self-test in progress"
	case 0x040a:
		return "logical unit not accessible, asymmetric access state transition"
	case 0x040b:
		return "logical unit not accessible, target port in standby state"
	case 0x040c:
		return "logical unit not accessible, target port in unavailable state"
	case 0x0412:
		return "logical unit not ready, offline"
	case 0x0414:
		return "logical unit not ready, space allocation in progress"
	case 0x041b:
		return "logical unit not ready, sanitize in progress"
	case 0x0800:
		return "logical unit communication failure"
	case 0x0801:
		return "logical unit communication time-out"
	case 0x0c00:
		return "write error"
	case 0x0c02:
		return "write error, auto reallocation failed"
	case 0x0c0c:
		return "write error, unexpected unsolicited data"
	case 0x0c0d:
		return "write error, not enough unsolicited data"
	case 0x1001:
		return "logical block guard check failed"
	case 0x1002:
		return "logical block application tag check failed"
	case 0x1003:
		return "logical block reference tag check failed"
	case 0x1100:
		return "unrecovered read error"
	case 0x1101:
		return "read retries exhausted"
	case 0x1400:
		return "recorded entity not found"
	case 0x1501:
		return "mechanical positioning error"
	case 0x1700:
		return "recovered data with no error correction applied"
	case 0x1800:
		return "recovered data with error correction applied"
	case 0x1a00:
		return "parameter list length error"
	case 0x1d00:
		return "miscompare during verify operation"
	case 0x1d01:
		return "miscompare verify of unmapped LBA"
	case 0x2000:
		return "invalid command operation code"
	case 0x2002:
		return "access denied, no access rights"
	case 0x2100:
		return "logical block address out of range"
	case 0x2104:
		return "unaligned write command"
	case 0x2400:
		return "invalid field in CDB"
	case 0x2500:
		return "logical unit not supported"
	case 0x2600:
		return "invalid field in parameter list"
	case 0x2601:
		return "parameter not supported"
	case 0x2602:
		return "parameter value invalid"
	case 0x2604:
		return "invalid release of persistent reservation"
	case 0x2606:
		return "too many target descriptors"
	case 0x2607:
		return "unsupported target descriptor type code"
	case 0x2608:
		return "too many segment descriptors"
	case 0x2609:
		return "unsupported segment descriptor type code"
	case 0x2700:
		return "write protected"
	case 0x2701:
		return "hardware write protected"
	case 0x2702:
		return "logical unit software write protected"
	case 0x2703:
		return "associated write protect"
	case 0x2704:
		return "persistent write protect"
	case 0x2705:
		return "permanent write protect"
	case 0x2706:
		return "conditional write protect"
	case 0x2707:
		return "space allocation failed write protect"
	case 0x2800:
		return "not ready to ready change, medium may have changed"
	case 0x2900:
		return "power on, reset, or bus device reset occurred"
	case 0x2901:
		return "power on occurred"
	case 0x2902:
		return "SCSI bus reset occurred"
	case 0x2903:
		return "bus device reset function occurred"
	case 0x2904:
		return "device internal reset"
	case 0x2907:
		return "I_T nexus loss occurred"
	case 0x2a00:
		return "parameters changed"
	case 0x2a01:
		return "mode parameters changed"
	case 0x2a03:
		return "reservations preempted"
	case 0x2a04:
		return "reservations released"
	case 0x2a05:
		return "registrations preempted"
	case 0x2a06:
		return "asymmetric access state changed"
	case 0x2a07:
		return "implicit asymmetric access state transition failed"
	case 0x2a09:
		return "capacity data has changed"
	case 0x2c00:
		return "command sequence error"
	case 0x2f00:
		return "commands cleared by another initiator"
	case 0x2f01:
		return "commands cleared by power loss notification"
	case 0x2f02:
		return "commands cleared by device server"
	case 0x3100:
		return "medium format corrupted"
	case 0x3101:
		return "format command failed"
	case 0x3103:
		return "sanitize command failed"
	case 0x3807:
		return "thin provisioning soft threshold reached"
	case 0x3900:
		return "saving parameters not supported"
	case 0x3a00:
		return "medium not present"
	case 0x3e01:
		return "logical unit failure"
	case 0x3e02:
		return "timeout on logical unit"
	case 0x3f00:
		return "target operating conditions have changed"
	case 0x3f01:
		return "microcode has been changed"
	case 0x3f03:
		return "INQUIRY data has changed"
	case 0x3f05:
		return "device identifier changed"
	case 0x3f0e:
		return "reported LUNs data has changed"
	case 0x4400:
		return "internal target failure"
	case 0x4401:
		return "persistent reservation information lost"
	case 0x4701:
		return "data phase CRC error detected"
	case 0x4705:
		return "protocol service CRC error"
	case 0x477f:
		return "some commands cleared by iSCSI protocol event"
	case 0x4b00:
		return "data phase error"
	case 0x4b02:
		return "too much write data"
	case 0x4b05:
		return "data offset error"
	case 0x4b07:
		return "connection lost"
	case 0x4e00:
		return "overlapped commands attempted"
	case 0x5500:
		return "system resource failure"
	case 0x5501:
		return "system buffer full"
	case 0x5502:
		return "insufficient reservation resources"
	case 0x5503:
		return "insufficient resources"
	case 0x5504:
		return "insufficient registration resources"
	case 0x5d00:
		return "failure prediction threshold exceeded"
	case 0x670a:
		return "set target port groups command failed"
	default:
		return ""
	}
}
