// SPDX-License-Identifier: Apache-2.0

package scsi

import "encoding/binary"

// ModePage is a mode page code, 6 bits.
type ModePage uint8

// Mode pages of a disk (SPC-4 and SBC-3).
const (
	ErrorRecoveryMode   ModePage = 0x01 // read-write error recovery
	DisconnectMode      ModePage = 0x02 // disconnect-reconnect
	CachingMode         ModePage = 0x08
	ControlMode         ModePage = 0x0a
	InformationalMode   ModePage = 0x1c // informational exceptions control
	AllModePages        ModePage = 0x3f
	AllModeSubpages              = 0xff // as subpage: all of them
	modePageSaveable             = 0x80 // PS
	modeSubpageFormat            = 0x40 // SPF
	modeWriteProtect             = 0x80 // WP, device-specific parameter of SBC-3
	modeDPOFUA                   = 0x10
	modeHeader6                  = 4
	modeHeader10                 = 8
	shortDescriptor              = 8
	longDescriptorBytes          = 16
)

// ModeData is mode parameter data: the header, and the rest as bytes.
type ModeData struct {
	// MediumType is 0 for a disk.
	MediumType uint8
	// WriteProtected (WP): the medium is write-protected now.
	WriteProtected bool
	// DPOFUA: READ and WRITE take the DPO and FUA bits.
	DPOFUA bool
	// LongLBA: the block descriptors are long ones. Only in the 10-byte form.
	LongLBA bool
	// Descriptors are the block descriptors, Pages the mode pages; from a decoder
	// both borrow the input.
	Descriptors, Pages []byte
}

// DecodeModeData reads MODE SENSE(6) or (10) data; size is that of the CDB.
func DecodeModeData(b []byte, size int) (ModeData, error) {
	header := modeHeader(size)
	if len(b) < header {
		return ModeData{}, truncated("mode data", len(b), header)
	}
	n := 1 + int(b[0])
	if header == modeHeader10 {
		n = 2 + int(binary.BigEndian.Uint16(b))
	}
	switch {
	case n > len(b):
		return ModeData{}, truncated("mode data", len(b), n)
	case n < header:
		return ModeData{}, malformed("mode data", "length is shorter than the header")
	}
	return decodeModeList(b[:n], header)
}

// DecodeModeSelectList reads the parameter list of MODE SELECT(6) or (10), where
// the mode data length is reserved and all of b counts. An empty list is no
// error: it changes nothing.
func DecodeModeSelectList(b []byte, size int) (ModeData, error) {
	if len(b) == 0 {
		return ModeData{}, nil
	}
	header := modeHeader(size)
	if len(b) < header {
		return ModeData{}, truncated("mode parameter list", len(b), header)
	}
	return decodeModeList(b, header)
}

func modeHeader(size int) int {
	if size == 10 {
		return modeHeader10
	}
	return modeHeader6
}

func decodeModeList(b []byte, header int) (ModeData, error) {
	kind, specific, descriptors := b[1], b[2], int(b[3])
	long := false
	if header == modeHeader10 {
		kind, specific, descriptors = b[2], b[3], int(binary.BigEndian.Uint16(b[6:]))
		long = b[4]&0x01 != 0
	}
	if header+descriptors > len(b) {
		return ModeData{}, truncated("mode block descriptors", len(b), header+descriptors)
	}
	m := ModeData{
		MediumType: kind, WriteProtected: specific&modeWriteProtect != 0, DPOFUA: specific&modeDPOFUA != 0, LongLBA: long,
		Descriptors: b[header : header+descriptors : header+descriptors], Pages: b[header+descriptors:],
	}
	unit := shortDescriptor
	if long {
		unit = longDescriptorBytes
	}
	if descriptors%unit != 0 {
		return ModeData{}, malformed("mode block descriptors", "length is no multiple of a descriptor")
	}
	return m, m.check()
}

// check walks the pages, so that a lying length is found in decoding.
func (m ModeData) check() error {
	for p := m.Pages; len(p) > 0; {
		n, err := modePageBytes(p)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// modePageBytes returns the length of the first page in p, with its header.
func modePageBytes(p []byte) (int, error) {
	header := 2
	if p[0]&modeSubpageFormat != 0 {
		header = 4
	}
	if len(p) < header {
		return 0, truncated("mode page", len(p), header)
	}
	n := header + int(p[1])
	if header == 4 {
		n = header + int(binary.BigEndian.Uint16(p[2:]))
	}
	if n > len(p) {
		return 0, truncated("mode page", len(p), n)
	}
	return n, nil
}

// Page returns the first page with the code and subpage, header included; nil
// when there is none. It borrows m.Pages.
func (m ModeData) Page(code ModePage, subpage uint8) []byte {
	for p := m.Pages; len(p) > 0; {
		n, err := modePageBytes(p)
		if err != nil {
			return nil
		}
		sub := uint8(0)
		if p[0]&modeSubpageFormat != 0 {
			sub = p[1]
		}
		if ModePage(p[0]&0x3f) == code && sub == subpage {
			return p[:n:n]
		}
		p = p[n:]
	}
	return nil
}

// Append appends the data in the form of MODE SENSE(6) or (10). It returns nil
// if it does not fit the form.
func (m ModeData) Append(dst []byte, size int) []byte {
	specific := bit(m.WriteProtected, modeWriteProtect) | bit(m.DPOFUA, modeDPOFUA)
	n := modeHeader(size) + len(m.Descriptors) + len(m.Pages)
	if modeHeader(size) == modeHeader6 {
		if n-1 > 0xff || m.LongLBA {
			return nil
		}
		dst = append(dst, byte(n-1), m.MediumType, specific, byte(len(m.Descriptors)))
	} else {
		if n-2 > 0xffff {
			return nil
		}
		dst = append(dst, byte((n-2)>>8), byte(n-2), m.MediumType, specific, bit(m.LongLBA, 0x01), 0,
			byte(len(m.Descriptors)>>8), byte(len(m.Descriptors)))
	}
	return append(append(dst, m.Descriptors...), m.Pages...)
}
