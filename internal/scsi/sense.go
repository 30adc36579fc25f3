// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"encoding/binary"
	"fmt"
)

// SenseKey is the class of what sense data reports (SPC-4, Sense key).
type SenseKey uint8

// Sense keys.
const (
	NoSense        SenseKey = 0x0
	RecoveredError SenseKey = 0x1
	NotReady       SenseKey = 0x2
	MediumError    SenseKey = 0x3
	HardwareError  SenseKey = 0x4
	IllegalRequest SenseKey = 0x5
	UnitAttention  SenseKey = 0x6
	DataProtect    SenseKey = 0x7
	BlankCheck     SenseKey = 0x8
	VendorSpecific SenseKey = 0x9
	CopyAborted    SenseKey = 0xa
	AbortedCommand SenseKey = 0xb
	VolumeOverflow SenseKey = 0xd
	Miscompare     SenseKey = 0xe
	Completed      SenseKey = 0xf
)

// String returns the name in the standard, or the number.
func (k SenseKey) String() string {
	switch k {
	case NoSense:
		return "NO SENSE"
	case RecoveredError:
		return "RECOVERED ERROR"
	case NotReady:
		return "NOT READY"
	case MediumError:
		return "MEDIUM ERROR"
	case HardwareError:
		return "HARDWARE ERROR"
	case IllegalRequest:
		return "ILLEGAL REQUEST"
	case UnitAttention:
		return "UNIT ATTENTION"
	case DataProtect:
		return "DATA PROTECT"
	case BlankCheck:
		return "BLANK CHECK"
	case VendorSpecific:
		return "VENDOR SPECIFIC"
	case CopyAborted:
		return "COPY ABORTED"
	case AbortedCommand:
		return "ABORTED COMMAND"
	case VolumeOverflow:
		return "VOLUME OVERFLOW"
	case Miscompare:
		return "MISCOMPARE"
	case Completed:
		return "COMPLETED"
	default:
		return fmt.Sprintf("sense key %Xh", uint8(k))
	}
}

// SenseSpecific tells what the sense key specific field of a Sense holds.
type SenseSpecific uint8

const (
	// SpecificNone: SKSV is 0.
	SpecificNone SenseSpecific = iota
	// SpecificField: Field, InCDB and Bit point at the wrong field (key
	// ILLEGAL REQUEST).
	SpecificField
	// SpecificProgress: Progress is the part done (keys NO SENSE, NOT READY).
	SpecificProgress
	// SpecificRetries: Progress is the actual retry count (keys RECOVERED,
	// MEDIUM and HARDWARE ERROR).
	SpecificRetries
	// SpecificOther: SKSV is set, but the form is not known here.
	SpecificOther
)

// NoBit is the value of Sense.Bit when the pointer names no bit (BPV = 0).
const NoBit = -1

// Sense is sense data (SPC-4, Sense data) as a value. The zero value is NO
// SENSE. Two Senses are equal when all they say is equal.
type Sense struct {
	// Deferred: the error belongs to an earlier command (71h, 73h), one that
	// was already answered with GOOD.
	Deferred bool
	// Key, ASC and ASCQ name the condition.
	Key       SenseKey
	ASC, ASCQ uint8
	// ILI, EOM and FileMark are bits of stream commands; a disk sets ILI for
	// READ LONG only.
	ILI, EOM, FileMark bool
	// InformationValid tells that Information holds the command's value: an
	// LBA, or the offset of a miscompare.
	InformationValid bool
	Information      uint64
	// CommandSpecific is COMMAND-SPECIFIC INFORMATION, 0 when there is none.
	CommandSpecific uint64
	// Specific tells which of the next fields count; the others are 0.
	Specific SenseSpecific
	// Field is the byte offset of the wrong field, in the CDB if InCDB, else in
	// the parameter list. Bit is its bit number 0-7, or NoBit; it counts with
	// SpecificField only.
	Field uint16
	InCDB bool
	Bit   int8
	// Progress is n/65536 done, or a count of retries.
	Progress uint16
}

// Sense data response codes (SPC-4, Sense data response codes).
const (
	senseFixed              = 0x70
	senseFixedDeferred      = 0x71
	senseDescriptor         = 0x72
	senseDescriptorDeferred = 0x73
)

// DecodeSense reads fixed or descriptor format sense data. Sense that ends
// before ASC and ASCQ is ErrTruncated, but fixed sense that says so by its
// additional length decodes with them as 0. Other response codes and lying
// lengths of the parts are ErrMalformed or ErrTruncated: treat the command as
// CHECK CONDITION without usable sense. It allocates for an error only.
func DecodeSense(b []byte) (Sense, error) {
	if len(b) == 0 {
		return Sense{}, truncated("sense data", 0, 8)
	}
	switch b[0] & 0x7f {
	case senseFixed, senseFixedDeferred:
		return decodeFixed(b)
	case senseDescriptor, senseDescriptorDeferred:
		return decodeDescriptors(b)
	default:
		return Sense{}, fmt.Errorf("sense data: response code %02Xh: %w", b[0]&0x7f, ErrMalformed)
	}
}

func decodeFixed(b []byte) (Sense, error) {
	if len(b) < 8 {
		return Sense{}, truncated("fixed sense data", len(b), 8)
	}
	if n := 8 + int(b[7]); n < len(b) {
		b = b[:n]
	} else if n > len(b) {
		return Sense{}, truncated("fixed sense data", len(b), n)
	}
	s := Sense{
		Deferred: b[0]&0x7f == senseFixedDeferred,
		Key:      SenseKey(b[2] & 0x0f),
		FileMark: b[2]&0x80 != 0, EOM: b[2]&0x40 != 0, ILI: b[2]&0x20 != 0,
		InformationValid: b[0]&0x80 != 0,
	}
	if s.InformationValid {
		s.Information = uint64(binary.BigEndian.Uint32(b[3:]))
	}
	if len(b) >= 12 {
		s.CommandSpecific = uint64(binary.BigEndian.Uint32(b[8:]))
	}
	if len(b) >= 14 {
		s.ASC, s.ASCQ = b[12], b[13]
	}
	if len(b) >= 18 {
		s.setSpecific(b[15:18])
	}
	return s, nil
}

// Sense data descriptor types (SPC-4, Descriptor format sense data).
const (
	descInformation     = 0x00
	descCommandSpecific = 0x01
	descKeySpecific     = 0x02
	descStream          = 0x04
	descBlock           = 0x05
)

func decodeDescriptors(b []byte) (Sense, error) {
	if len(b) < 8 {
		return Sense{}, truncated("descriptor sense data", len(b), 8)
	}
	if n := 8 + int(b[7]); n < len(b) {
		b = b[:n]
	} else if n > len(b) {
		return Sense{}, truncated("descriptor sense data", len(b), n)
	}
	s := Sense{
		Deferred: b[0]&0x7f == senseDescriptorDeferred,
		Key:      SenseKey(b[1] & 0x0f), ASC: b[2], ASCQ: b[3],
	}
	for d := b[8:]; len(d) > 0; {
		if len(d) < 2 || len(d) < 2+int(d[1]) {
			return Sense{}, truncated("sense data descriptor", len(d), 2)
		}
		n := 2 + int(d[1])
		if err := s.setDescriptor(d[0], d[2:n]); err != nil {
			return Sense{}, err
		}
		d = d[n:]
	}
	return s, nil
}

// setDescriptor applies one descriptor; unknown types are passed over.
func (s *Sense) setDescriptor(kind byte, d []byte) error {
	need := 0
	switch kind {
	case descInformation, descCommandSpecific:
		need = 10
	case descKeySpecific:
		need = 6
	case descStream, descBlock:
		need = 2
	}
	if len(d) < need {
		return fmt.Errorf("sense data descriptor %02Xh: length %d: %w", kind, len(d), ErrMalformed)
	}
	switch kind {
	case descInformation:
		s.InformationValid = d[0]&0x80 != 0
		s.Information = 0
		if s.InformationValid {
			s.Information = binary.BigEndian.Uint64(d[2:])
		}
	case descCommandSpecific:
		s.CommandSpecific = binary.BigEndian.Uint64(d[2:])
	case descKeySpecific:
		s.setSpecific(d[2:5])
	case descStream:
		s.FileMark, s.EOM, s.ILI = d[1]&0x80 != 0, d[1]&0x40 != 0, d[1]&0x20 != 0
	case descBlock:
		s.ILI = d[1]&0x20 != 0
	}
	return nil
}

// setSpecific reads the 3 bytes of the sense key specific field; what they
// mean follows from the sense key.
func (s *Sense) setSpecific(d []byte) {
	s.Specific, s.Field, s.InCDB, s.Bit, s.Progress = SpecificNone, 0, false, 0, 0
	if d[0]&0x80 == 0 {
		return
	}
	v := binary.BigEndian.Uint16(d[1:])
	switch s.Key {
	case IllegalRequest:
		s.Specific, s.Field, s.InCDB, s.Bit = SpecificField, v, d[0]&0x40 != 0, NoBit
		if d[0]&0x08 != 0 {
			s.Bit = int8(d[0] & 0x07)
		}
	case NoSense, NotReady:
		s.Specific, s.Progress = SpecificProgress, v
	case RecoveredError, MediumError, HardwareError:
		s.Specific, s.Progress = SpecificRetries, v
	default:
		s.Specific = SpecificOther
	}
}
