// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// VPDPage is the code of a vital product data page.
type VPDPage uint8

// VPD pages (SPC-4 and SBC-3).
const (
	PageSupported       VPDPage = 0x00 // supported VPD pages
	PageSerialNumber    VPDPage = 0x80 // unit serial number
	PageIdentification  VPDPage = 0x83 // device identification
	PageExtendedInquiry VPDPage = 0x86 // extended INQUIRY data
	PageModePolicy      VPDPage = 0x87 // mode page policy
	PagePorts           VPDPage = 0x88 // SCSI ports
	PageThirdPartyCopy  VPDPage = 0x8f // third-party copy
	PageBlockLimits     VPDPage = 0xb0 // block limits
	PageCharacteristics VPDPage = 0xb1 // block device characteristics
	PageProvisioning    VPDPage = 0xb2 // logical block provisioning
)

const vpdHeaderBytes = 4

// VPDPayload checks the header of a VPD page and returns the bytes behind it;
// they borrow b. Another page than want is ErrMalformed: a target that does not
// know a page may answer with standard data.
func VPDPayload(b []byte, want VPDPage) ([]byte, error) {
	if len(b) < vpdHeaderBytes {
		return nil, truncated("VPD page", len(b), vpdHeaderBytes)
	}
	if VPDPage(b[1]) != want {
		return nil, fmt.Errorf("VPD page %02Xh instead of %02Xh: %w", b[1], uint8(want), ErrMalformed)
	}
	n := vpdHeaderBytes + int(binary.BigEndian.Uint16(b[2:]))
	if n > len(b) {
		return nil, truncated(fmt.Sprintf("VPD page %02Xh", b[1]), len(b), n)
	}
	return b[vpdHeaderBytes:n], nil
}

// AppendVPD appends a VPD page with the payload. The payload must be at most
// 65535 bytes, which is an invariant of every page built here.
func AppendVPD(dst []byte, p Peripheral, page VPDPage, payload []byte) []byte {
	if len(payload) > 0xffff {
		panic("scsi: VPD payload above 65535 bytes")
	}
	dst = append(dst, byte(p), byte(page), byte(len(payload)>>8), byte(len(payload)))
	return append(dst, payload...)
}

// vpdAtLeast is VPDPayload for pages of fixed layout, whose last fields came
// with later revisions: the payload is copied into dst, zero where it ends.
// Less than least bytes is ErrMalformed.
func vpdAtLeast(b []byte, page VPDPage, dst []byte, least int) error {
	p, err := VPDPayload(b, page)
	if err != nil {
		return err
	}
	if len(p) < least {
		return fmt.Errorf("VPD page %02Xh: %d bytes, at least %d: %w", uint8(page), len(p), least, ErrMalformed)
	}
	copy(dst, p)
	return nil
}

// DecodeSupportedPages reads VPD page 00h. The result borrows b; each byte is a
// page code, in ascending order if the target is right.
func DecodeSupportedPages(b []byte) ([]byte, error) { return VPDPayload(b, PageSupported) }

// DecodeSerialNumber reads VPD page 80h. Spaces and NULs at both ends are
// removed: targets pad on either side. It comes from the peer: quote it.
func DecodeSerialNumber(b []byte) (string, error) {
	p, err := VPDPayload(b, PageSerialNumber)
	if err != nil {
		return "", err
	}
	return strings.Trim(string(p), " \x00"), nil
}

// AppendSerialNumber appends VPD page 80h.
func AppendSerialNumber(dst []byte, p Peripheral, serial string) []byte {
	return AppendVPD(dst, p, PageSerialNumber, []byte(serial))
}

// ExtendedInquiry is VPD page 86h (SPC-4), as far as a disk needs it.
type ExtendedInquiry struct {
	// Simple, OrderedTags and HeadOfQueue are the task attributes SIMPSUP,
	// ORDSUP and HEADSUP.
	Simple, OrderedTags, HeadOfQueue bool
	// VolatileCache is V_SUP; NonVolatileCache is NV_SUP.
	VolatileCache, NonVolatileCache bool
	// ClearNexusLoss is LUICLR: clears unit attentions by nexus.
	ClearNexusLoss bool
	// GroupNumbers is GROUP_SUP.
	GroupNumbers bool
	// SelfTestMinutes is EXTENDED SELF-TEST COMPLETION MINUTES.
	SelfTestMinutes uint16
}

// DecodeExtendedInquiry reads VPD page 86h.
func DecodeExtendedInquiry(b []byte) (ExtendedInquiry, error) {
	var p [60]byte
	if err := vpdAtLeast(b, PageExtendedInquiry, p[:], 4); err != nil {
		return ExtendedInquiry{}, err
	}
	return ExtendedInquiry{
		GroupNumbers: p[1]&0x10 != 0, HeadOfQueue: p[1]&0x04 != 0, OrderedTags: p[1]&0x02 != 0, Simple: p[1]&0x01 != 0,
		NonVolatileCache: p[2]&0x02 != 0, VolatileCache: p[2]&0x01 != 0,
		ClearNexusLoss: p[3]&0x01 != 0, SelfTestMinutes: binary.BigEndian.Uint16(p[6:]),
	}, nil
}

// Append appends VPD page 86h (64 bytes).
func (e ExtendedInquiry) Append(dst []byte, p Peripheral) []byte {
	var b [60]byte
	b[1] = bit(e.GroupNumbers, 0x10) | bit(e.HeadOfQueue, 0x04) | bit(e.OrderedTags, 0x02) | bit(e.Simple, 0x01)
	b[2] = bit(e.NonVolatileCache, 0x02) | bit(e.VolatileCache, 0x01)
	b[3] = bit(e.ClearNexusLoss, 0x01)
	binary.BigEndian.PutUint16(b[6:], e.SelfTestMinutes)
	return AppendVPD(dst, p, PageExtendedInquiry, b[:])
}
