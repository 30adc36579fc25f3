// SPDX-License-Identifier: Apache-2.0

package scsi

import "fmt"

// SenseCode is a sense key, ASC and ASCQ in one number: key<<16 | ASC<<8 | ASCQ.
type SenseCode uint32

// Sense codes that pathgate sends or tells apart. Names follow the T10 list
// "SCSI ASC/ASCQ assignments".
const (
	CodeNone                        SenseCode = 0x00_00_00
	CodeBecomingReady               SenseCode = 0x02_04_01
	CodeInitializingRequired        SenseCode = 0x02_04_02
	CodeManualIntervention          SenseCode = 0x02_04_03
	CodeFormatInProgress            SenseCode = 0x02_04_04
	CodeAccessTransition            SenseCode = 0x02_04_0a // asymmetric access state transition
	CodePortStandby                 SenseCode = 0x02_04_0b
	CodePortUnavailable             SenseCode = 0x02_04_0c
	CodeOffline                     SenseCode = 0x02_04_12
	CodeSpaceAllocation             SenseCode = 0x02_04_14 // space allocation in progress
	CodeSanitizeInProgress          SenseCode = 0x02_04_1b
	CodeMediumNotPresent            SenseCode = 0x02_3a_00
	CodeWriteError                  SenseCode = 0x03_0c_00
	CodeUnrecoveredReadError        SenseCode = 0x03_11_00
	CodeFormatCorrupted             SenseCode = 0x03_31_00 // medium format corrupted
	CodeFormatFailed                SenseCode = 0x03_31_01
	CodeSanitizeFailed              SenseCode = 0x03_31_03
	CodeInternalTargetFailure       SenseCode = 0x04_44_00
	CodeParameterListLength         SenseCode = 0x05_1a_00
	CodeInvalidOpcode               SenseCode = 0x05_20_00
	CodeLBAOutOfRange               SenseCode = 0x05_21_00
	CodeInvalidFieldInCDB           SenseCode = 0x05_24_00
	CodeLUNotSupported              SenseCode = 0x05_25_00
	CodeInvalidFieldInParameters    SenseCode = 0x05_26_00
	CodeInvalidRelease              SenseCode = 0x05_26_04 // of a persistent reservation
	CodeSavingNotSupported          SenseCode = 0x05_39_00
	CodeInsufficientRegistrations   SenseCode = 0x05_55_04 // insufficient registration resources
	CodeSetPortGroupsFailed         SenseCode = 0x05_67_0a
	CodeReadyChanged                SenseCode = 0x06_28_00 // not ready to ready change
	CodeResetOccurred               SenseCode = 0x06_29_00 // power on, reset, or bus device reset
	CodePowerOn                     SenseCode = 0x06_29_01
	CodeBusReset                    SenseCode = 0x06_29_02
	CodeDeviceReset                 SenseCode = 0x06_29_03 // bus device reset function
	CodeInternalReset               SenseCode = 0x06_29_04
	CodeNexusLoss                   SenseCode = 0x06_29_07
	CodeModeParametersChanged       SenseCode = 0x06_2a_01
	CodeReservationsPreempted       SenseCode = 0x06_2a_03
	CodeReservationsReleased        SenseCode = 0x06_2a_04
	CodeRegistrationsPreempted      SenseCode = 0x06_2a_05
	CodeAccessStateChanged          SenseCode = 0x06_2a_06 // asymmetric access state changed
	CodeImplicitTransitionFailed    SenseCode = 0x06_2a_07
	CodeCapacityChanged             SenseCode = 0x06_2a_09
	CodeCommandsClearedByOther      SenseCode = 0x06_2f_00
	CodeSoftThreshold               SenseCode = 0x06_38_07 // thin provisioning soft threshold reached
	CodeInquiryChanged              SenseCode = 0x06_3f_03
	CodeDeviceIdentifierChanged     SenseCode = 0x06_3f_05
	CodeReportedLUNsChanged         SenseCode = 0x06_3f_0e
	CodeWriteProtected              SenseCode = 0x07_27_00
	CodeHardwareWriteProtected      SenseCode = 0x07_27_01
	CodeSoftwareWriteProtected      SenseCode = 0x07_27_02
	CodeSpaceAllocationFailed       SenseCode = 0x07_27_07 // thin pool full
	CodeUnexpectedUnsolicitedData   SenseCode = 0x0b_0c_0c
	CodeNotEnoughUnsolicitedData    SenseCode = 0x0b_0c_0d
	CodeCommandsClearedByPowerLoss  SenseCode = 0x0b_2f_01
	CodeInternalTargetFailureAbort  SenseCode = 0x0b_44_00
	CodeProtocolServiceCRC          SenseCode = 0x0b_47_05
	CodeCommandsClearedByServer     SenseCode = 0x0b_2f_02 // by device server
	CodeSomeCommandsClearedByEvent  SenseCode = 0x0b_47_7f // by iSCSI protocol event
	CodeMiscompareDuringVerify      SenseCode = 0x0e_1d_00
	CodeMiscompareOfUnmappedLBA     SenseCode = 0x0e_1d_01
	CodeInsufficientResources       SenseCode = 0x05_55_03
	CodeInsufficientResourcesAbort  SenseCode = 0x0b_55_03
	CodeSystemBufferFull            SenseCode = 0x0b_55_01
	CodeAbortedNoAdditional         SenseCode = 0x0b_00_00
	CodeOverlappedCommandsAttempted SenseCode = 0x0b_4e_00
)

// MakeSenseCode joins the parts.
func MakeSenseCode(key SenseKey, asc, ascq uint8) SenseCode {
	return SenseCode(key)<<16 | SenseCode(asc)<<8 | SenseCode(ascq)
}

// Key returns the sense key.
func (c SenseCode) Key() SenseKey { return SenseKey(c >> 16) }

// ASC returns the additional sense code.
func (c SenseCode) ASC() uint8 { return uint8(c >> 8) }

// ASCQ returns the additional sense code qualifier.
func (c SenseCode) ASCQ() uint8 { return uint8(c) }

// Sense returns current sense data of the code and nothing else.
func (c SenseCode) Sense() Sense { return Sense{Key: c.Key(), ASC: c.ASC(), ASCQ: c.ASCQ()} }

// String returns key/ASC/ASCQ in hex and the text, if it is known:
// "6/29/00 power on, reset, or bus device reset occurred".
func (c SenseCode) String() string {
	s := fmt.Sprintf("%X/%02X/%02X", uint8(c.Key()), c.ASC(), c.ASCQ())
	if t := senseText(c.ASC(), c.ASCQ()); t != "" {
		return s + " " + t
	}
	return s + " " + c.Key().String()
}

// Code returns the sense's key, ASC and ASCQ.
func (s Sense) Code() SenseCode { return MakeSenseCode(s.Key, s.ASC, s.ASCQ) }

// Is reports whether the sense has exactly that code; deferred or not.
func (s Sense) Is(c SenseCode) bool { return s.Code() == c }

// String returns the code in words, and "deferred", the information and the
// progress where there are any.
func (s Sense) String() string {
	t := s.Code().String()
	if s.Deferred {
		t = "deferred " + t
	}
	if s.InformationValid {
		t += fmt.Sprintf(", information %#x", s.Information)
	}
	switch s.Specific {
	case SpecificField:
		where := "parameter list"
		if s.InCDB {
			where = "CDB"
		}
		t += fmt.Sprintf(", %s byte %d", where, s.Field)
		if s.Bit >= 0 {
			t += fmt.Sprintf(" bit %d", s.Bit)
		}
	case SpecificProgress:
		t += fmt.Sprintf(", %d%% done", uint32(s.Progress)*100/65536)
	case SpecificNone, SpecificRetries, SpecificOther:
	}
	return t
}
