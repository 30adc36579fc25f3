// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"errors"
	"strings"
	"testing"
)

type senseCase struct {
	name       string
	sense      Sense
	fixed      string // "" = the fixed format cannot hold it
	descriptor string
}

func senseCases() []senseCase {
	return []senseCase{
		{
			"invalid field in CDB, byte 2 bit 5",
			Sense{Key: IllegalRequest, ASC: 0x24, Specific: SpecificField, Field: 2, InCDB: true, Bit: 5},
			`70 00 05          # response code, obsolete, key
			 00000000 0a       # information, additional length
			 00000000          # command specific
			 24 00 00          # ASC, ASCQ, FRU
			 cd 0002           # SKSV, C/D, BPV, bit 5; field 2`,
			`72 05 24 00 000000 08 # response code, key, ASC, ASCQ, additional length
			 02 06 0000 cd 0002 00 # sense key specific descriptor`,
		},
		{
			"invalid field in parameter list, byte 300, no bit",
			Sense{Key: IllegalRequest, ASC: 0x26, Specific: SpecificField, Field: 300, Bit: NoBit},
			"70 00 05 00000000 0a 00000000 26 00 00 80 012c",
			"72 05 26 00 000000 08 02 06 0000 80 012c 00",
		},
		{
			"miscompare at byte 1023",
			Sense{Key: Miscompare, ASC: 0x1d, InformationValid: true, Information: 1023},
			`f0 00 0e          # VALID, key
			 000003ff 0a       # information
			 00000000 1d 00 00 000000`,
			`72 0e 1d 00 000000 0c
			 00 0a 80 00 00000000000003ff # information descriptor, VALID`,
		},
		{
			"deferred write error at a large LBA",
			Sense{Deferred: true, Key: MediumError, ASC: 0x0c, InformationValid: true, Information: 1 << 40},
			"", "73 03 0c 00 000000 0c 00 0a 80 00 0000010000000000",
		},
		{
			"deferred hardware error with retries",
			Sense{Deferred: true, Key: HardwareError, ASC: 0x44, Specific: SpecificRetries, Progress: 3},
			"71 00 04 00000000 0a 00000000 44 00 00 80 0003",
			"73 04 44 00 000000 08 02 06 0000 80 0003 00",
		},
		{
			"sanitize, half done",
			Sense{Key: NotReady, ASC: 0x04, ASCQ: 0x1b, Specific: SpecificProgress, Progress: 0x8000},
			"70 00 02 00000000 0a 00000000 04 1b 00 80 8000",
			"72 02 04 1b 000000 08 02 06 0000 80 8000 00",
		},
		{
			"READ LONG of a wrong length",
			Sense{Key: IllegalRequest, ASC: 0x24, ILI: true, InformationValid: true, Information: 0xfffffff8},
			"f0 00 25 fffffff8 0a 00000000 24 00 00 000000",
			"72 05 24 00 000000 10 00 0a 80 00 00000000fffffff8 05 02 00 20",
		},
		{
			"file mark, command specific",
			Sense{Key: NoSense, ASCQ: 1, FileMark: true, EOM: true, CommandSpecific: 7},
			"70 00 c0 00000000 0a 00000007 00 01 00 000000",
			"72 00 00 01 000000 10 01 0a 0000 0000000000000007 04 02 00 c0",
		},
		{
			"nothing",
			Sense{},
			"70 00 00 00000000 0a 00000000 00 00 00 000000", "72 00 00 00 000000 00",
		},
	}
}

func TestSense(t *testing.T) {
	for _, tc := range senseCases() {
		t.Run(tc.name, func(t *testing.T) {
			if tc.fixed != "" {
				want := fixture(t, tc.fixed)
				wantBytes(t, "fixed", tc.sense.AppendFixed(nil), want)
				if got, err := DecodeSense(want); err != nil || got != tc.sense {
					t.Errorf("fixed: %+v, %v, want %+v", got, err, tc.sense)
				}
			}
			want := fixture(t, tc.descriptor)
			wantBytes(t, "descriptor", tc.sense.AppendDescriptor(nil), want)
			if got, err := DecodeSense(want); err != nil || got != tc.sense {
				t.Errorf("descriptor: %+v, %v, want %+v", got, err, tc.sense)
			}
		})
	}
}

func TestSensePrefixes(t *testing.T) {
	decode := func(b []byte) error { _, err := DecodeSense(b); return err }
	for _, tc := range senseCases() {
		if tc.fixed != "" {
			wantPrefixErrors(t, fixture(t, tc.fixed), decode)
		}
		wantPrefixErrors(t, fixture(t, tc.descriptor), decode)
	}
}

// The fixed format has 32 bits for the information; SPC-4 wants it left out.
func TestSenseFixedDropsWideInformation(t *testing.T) {
	s := Sense{Key: MediumError, ASC: 0x11, InformationValid: true, Information: 1 << 32, CommandSpecific: 1 << 32}
	got, err := DecodeSense(s.AppendFixed(nil))
	if want := (Sense{Key: MediumError, ASC: 0x11}); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}

func TestSenseShortFixed(t *testing.T) {
	// Additional length 0: key only, as very old devices send it.
	got, err := DecodeSense(fixture(t, "70 00 06 00000000 00"))
	if want := (Sense{Key: UnitAttention}); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}

func TestB33SenseUnreadable(t *testing.T) {
	for name, tc := range map[string]struct {
		wire string
		want error
	}{
		"empty":                         {"", ErrTruncated},
		"response code 7Fh":             {"7f 00 05 00000000 0a 00000000 24 00 00 000000", ErrMalformed},
		"response code 0":               {"00 00 05 00000000 0a 00000000 24 00 00 000000", ErrMalformed},
		"fixed length lies":             {"70 00 05 00000000 ff 00000000 24 00 00 000000", ErrTruncated},
		"descriptor length lies":        {"72 05 24 00 000000 ff", ErrTruncated},
		"inner descriptor lies":         {"72 05 24 00 000000 04 00 0a 80 00", ErrTruncated},
		"descriptor of one byte":        {"72 05 24 00 000000 01 00", ErrTruncated},
		"short information":             {"72 05 24 00 000000 04 00 02 80 00", ErrMalformed},
		"short sense key specific":      {"72 05 24 00 000000 04 02 02 00 00", ErrMalformed},
		"short block command":           {"72 05 24 00 000000 03 05 01 00", ErrMalformed},
		"short command specific":        {"72 05 24 00 000000 06 01 04 00000000", ErrMalformed},
		"descriptor behind a good one":  {"72 05 24 00 000000 0a 02 06 0000 80 0001 00 00 0a", ErrTruncated},
		"length of the fixed header -1": {"70 00 05 000000 00", ErrTruncated},
	} {
		if got, err := DecodeSense(fixture(t, tc.wire)); !errors.Is(err, tc.want) || got != (Sense{}) {
			t.Errorf("%s: %+v, %v, want %v", name, got, err, tc.want)
		}
	}
}

// Unknown descriptors, here forwarded sense and a vendor's, are passed over.
func TestSenseUnknownDescriptor(t *testing.T) {
	got, err := DecodeSense(fixture(t, "72 06 29 00 000000 0a 0c 04 01020304 80 02 0000"))
	if want := (Sense{Key: UnitAttention, ASC: 0x29}); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}

func TestSenseText(t *testing.T) {
	for _, tc := range []struct {
		sense Sense
		want  string
	}{
		{CodeResetOccurred.Sense(), "6/29/00 power on, reset, or bus device reset occurred"},
		{Sense{Key: MediumError, ASC: 0x99, ASCQ: 0x01}, "3/99/01 MEDIUM ERROR"},
		{
			Sense{Deferred: true, Key: MediumError, ASC: 0x0c, InformationValid: true, Information: 0x20},
			"deferred 3/0C/00 write error, information 0x20",
		},
		{
			Sense{Key: IllegalRequest, ASC: 0x24, Specific: SpecificField, Field: 2, InCDB: true, Bit: 5},
			"5/24/00 invalid field in CDB, CDB byte 2 bit 5",
		},
		{
			Sense{Key: IllegalRequest, ASC: 0x26, Specific: SpecificField, Field: 9, Bit: NoBit},
			"5/26/00 invalid field in parameter list, parameter list byte 9",
		},
		{
			Sense{Key: NotReady, ASC: 4, ASCQ: 0x1b, Specific: SpecificProgress, Progress: 0xffff},
			"2/04/1B logical unit not ready, sanitize in progress, 99% done",
		},
	} {
		if got := tc.sense.String(); got != tc.want {
			t.Errorf("String() = %q, want %q", got, tc.want)
		}
	}
}

// Every sense code that error handling tells apart.
func TestH08Condition(t *testing.T) {
	for _, tc := range []struct {
		codes []SenseCode
		want  Condition
	}{
		{[]SenseCode{CodeNone, 0x01_17_00, 0x01_18_01, 0x0f_00_00}, ConditionNone},
		{[]SenseCode{CodeAccessTransition, CodeBecomingReady, CodeSanitizeInProgress, CodeSpaceAllocation}, ConditionTransition},
		{[]SenseCode{CodePortStandby, CodePortUnavailable}, ConditionPortState},
		{[]SenseCode{CodeAccessStateChanged, CodeImplicitTransitionFailed}, ConditionAccessChanged},
		{[]SenseCode{CodeInitializingRequired, CodeManualIntervention, CodeOffline, CodeMediumNotPresent}, ConditionNotReady},
		{[]SenseCode{CodeUnrecoveredReadError, CodeWriteError, 0x03_14_01}, ConditionMedium},
		{[]SenseCode{CodeInternalTargetFailure, 0x04_15_01}, ConditionHardware},
		{[]SenseCode{CodeInvalidOpcode, 0x05_20_02}, ConditionOpcode},
		{[]SenseCode{CodeLBAOutOfRange, CodeInvalidFieldInCDB, CodeInvalidFieldInParameters, CodeParameterListLength}, ConditionIllegal},
		{[]SenseCode{CodeLUNotSupported}, ConditionNoLU},
		{[]SenseCode{CodeResetOccurred, CodePowerOn, CodeBusReset, CodeDeviceReset, CodeInternalReset, CodeNexusLoss}, ConditionReset},
		{[]SenseCode{CodeCapacityChanged}, ConditionCapacity},
		{[]SenseCode{CodeReportedLUNsChanged, CodeInquiryChanged, CodeDeviceIdentifierChanged}, ConditionIdentity},
		{[]SenseCode{CodeReservationsPreempted, CodeReservationsReleased, CodeRegistrationsPreempted}, ConditionReservation},
		{[]SenseCode{CodeCommandsClearedByOther, CodeSomeCommandsClearedByEvent, CodeCommandsClearedByServer}, ConditionCleared},
		{[]SenseCode{CodeSoftThreshold}, ConditionSoftThreshold},
		{[]SenseCode{CodeModeParametersChanged, CodeReadyChanged, 0x06_3f_01}, ConditionAttention},
		{[]SenseCode{CodeSpaceAllocationFailed}, ConditionSpace},
		{[]SenseCode{CodeWriteProtected, CodeHardwareWriteProtected, CodeSoftwareWriteProtected}, ConditionProtected},
		{[]SenseCode{CodeProtocolServiceCRC}, ConditionCRC},
		{[]SenseCode{CodeAbortedNoAdditional, CodeNotEnoughUnsolicitedData, 0x0b_47_03}, ConditionAborted},
		{[]SenseCode{CodeMiscompareDuringVerify, CodeMiscompareOfUnmappedLBA}, ConditionMiscompare},
		{[]SenseCode{0x08_00_00, 0x09_00_00, 0x0a_00_00, 0x0d_00_00}, ConditionOther},
	} {
		for _, c := range tc.codes {
			if got := c.Sense().Condition(); got != tc.want {
				t.Errorf("%v: Condition() = %v, want %v", c, got, tc.want)
			}
			deferred := c.Sense()
			deferred.Deferred = true
			if got := deferred.Condition(); got != tc.want {
				t.Errorf("deferred %v: Condition() = %v, want %v", c, got, tc.want)
			}
		}
	}
}

func TestSenseCodeParts(t *testing.T) {
	c := MakeSenseCode(NotReady, 0x04, 0x0a)
	if c != CodeAccessTransition || c.Key() != NotReady || c.ASC() != 0x04 || c.ASCQ() != 0x0a {
		t.Errorf("%v has key %v, ASC %02x, ASCQ %02x", c, c.Key(), c.ASC(), c.ASCQ())
	}
	if !c.Sense().Is(c) || c.Sense().Is(CodePortStandby) {
		t.Error("Is does not compare the code")
	}
}

func TestEnumStrings(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{StatusTaskSetFull.String(), "TASK SET FULL"},
		{Status(0x22).String(), "status 22h"},
		{Miscompare.String(), "MISCOMPARE"},
		{SenseKey(0xc).String(), "sense key Ch"},
		{ConditionMiscompare.String(), "miscompare"},
		{ConditionOther.String(), "other"},
		{Condition(200).String(), "unknown"},
		{Opcode(0xff).String(), "opcode FFh"},
		{DataOut.String(), "out"},
		{Direction(9).String(), "Direction(9)"},
		{Transitioning.String(), "transitioning"},
		{AccessState(7).String(), "access state 7h"},
		{ExclusiveAccessAllRegistrants.String(), "exclusive access, all registrants"},
		{ReservationType(2).String(), "reservation type 2h"},
		{LUN(65535).String(), "65535"},
	} {
		if tc.got != tc.want {
			t.Errorf("String() = %q, want %q", tc.got, tc.want)
		}
	}
	for k := range SenseKey(16) {
		if s := k.String(); k != 0xc && strings.HasPrefix(s, "sense key") {
			t.Errorf("sense key %d has no name", k)
		}
	}
}

func FuzzDecodeSense(f *testing.F) {
	for _, tc := range senseCases() {
		f.Add(fixture(f, tc.descriptor))
		f.Add(fixture(f, tc.fixed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeSense(b)
		if err != nil {
			return
		}
		_ = s.String()
		_ = s.Condition()
		if s.Specific == SpecificOther {
			s.Specific = SpecificNone // not written
		}
		if got, err := DecodeSense(s.AppendDescriptor(nil)); err != nil || got != s {
			t.Errorf("descriptor of %+v reads as %+v, %v", s, got, err)
		}
		if s.Information > 0xffffffff || s.CommandSpecific > 0xffffffff {
			return
		}
		if got, err := DecodeSense(s.AppendFixed(nil)); err != nil || got != s {
			t.Errorf("fixed of %+v reads as %+v, %v", s, got, err)
		}
	})
}
