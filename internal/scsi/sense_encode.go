// SPDX-License-Identifier: Apache-2.0

package scsi

import "encoding/binary"

// FixedSenseBytes is the length of the fixed format sense data written here.
const FixedSenseBytes = 18

// MaxSenseBytes is the most that sense data can be (SPC-4: additional length
// at most 244).
const MaxSenseBytes = 252

// AppendFixed appends s in fixed format (18 bytes) and returns the result. An
// Information or CommandSpecific above 32 bits does not fit the format and is
// left out, as SPC-4 wants. SpecificOther is left out.
func (s Sense) AppendFixed(dst []byte) []byte {
	var b [FixedSenseBytes]byte
	b[0] = senseFixed
	if s.Deferred {
		b[0] = senseFixedDeferred
	}
	b[2] = byte(s.Key)&0x0f | bit(s.FileMark, 0x80) | bit(s.EOM, 0x40) | bit(s.ILI, 0x20)
	if s.InformationValid && s.Information <= 0xffffffff {
		b[0] |= 0x80
		binary.BigEndian.PutUint32(b[3:], uint32(s.Information))
	}
	b[7] = FixedSenseBytes - 8
	if s.CommandSpecific <= 0xffffffff {
		binary.BigEndian.PutUint32(b[8:], uint32(s.CommandSpecific))
	}
	b[12], b[13] = s.ASC, s.ASCQ
	s.putSpecific(b[15:18])
	return append(dst, b[:]...)
}

// AppendDescriptor appends s in descriptor format (8 bytes and 4 to 12 for each
// descriptor that it needs) and returns the result.
func (s Sense) AppendDescriptor(dst []byte) []byte {
	at := len(dst)
	code := byte(senseDescriptor)
	if s.Deferred {
		code = senseDescriptorDeferred
	}
	dst = append(dst, code, byte(s.Key)&0x0f, s.ASC, s.ASCQ, 0, 0, 0, 0)
	if s.InformationValid {
		dst = append(dst, descInformation, 10, 0x80, 0)
		dst = binary.BigEndian.AppendUint64(dst, s.Information)
	}
	if s.CommandSpecific != 0 {
		dst = append(dst, descCommandSpecific, 10, 0, 0)
		dst = binary.BigEndian.AppendUint64(dst, s.CommandSpecific)
	}
	var specific [3]byte
	if s.putSpecific(specific[:]); specific[0] != 0 {
		dst = append(dst, descKeySpecific, 6, 0, 0, specific[0], specific[1], specific[2], 0)
	}
	switch {
	case s.FileMark || s.EOM:
		dst = append(dst, descStream, 2, 0, bit(s.FileMark, 0x80)|bit(s.EOM, 0x40)|bit(s.ILI, 0x20))
	case s.ILI:
		dst = append(dst, descBlock, 2, 0, 0x20)
	}
	dst[at+7] = byte(len(dst) - at - 8)
	return dst
}

// putSpecific writes the 3 bytes of the sense key specific field; zero where
// there is nothing to say.
func (s Sense) putSpecific(d []byte) {
	switch s.Specific {
	case SpecificField:
		d[0] = 0x80 | bit(s.InCDB, 0x40)
		if s.Bit >= 0 {
			d[0] |= 0x08 | byte(s.Bit)&0x07
		}
		binary.BigEndian.PutUint16(d[1:], s.Field)
	case SpecificProgress, SpecificRetries:
		d[0] = 0x80
		binary.BigEndian.PutUint16(d[1:], s.Progress)
	case SpecificNone, SpecificOther:
	}
}
