// SPDX-License-Identifier: Apache-2.0

package scsi

import "encoding/binary"

// CachingPage is mode page 08h (SBC-3), as far as pathgate needs it.
type CachingPage struct {
	// WriteCache (WCE): GOOD may come before the data is on the medium.
	WriteCache bool
	// ReadCacheDisabled (RCD): every read goes to the medium.
	ReadCacheDisabled bool
	// NonVolatileDisabled is NV_DIS.
	NonVolatileDisabled bool
}

const (
	cachingPageBytes    = 20
	cachingPageBytesOld = 12 // SCSI-2
	controlPageBytes    = 12
	controlPageBytesOld = 8 // SCSI-2
)

// modePageBody checks that b is the page, at least least bytes long.
func modePageBody(b []byte, code ModePage, name string, least int) error {
	if len(b) < 2 {
		return truncated(name, len(b), 2)
	}
	if b[0]&(modeSubpageFormat|0x3f) != byte(code) {
		return malformed(name, "another page")
	}
	n := 2 + int(b[1])
	switch {
	case n > len(b):
		return truncated(name, len(b), n)
	case n < least:
		return malformed(name, "page is too short")
	}
	return nil
}

// DecodeCachingPage reads mode page 08h, header included.
func DecodeCachingPage(b []byte) (CachingPage, error) {
	if err := modePageBody(b, CachingMode, "caching mode page", cachingPageBytesOld); err != nil {
		return CachingPage{}, err
	}
	c := CachingPage{WriteCache: b[2]&0x04 != 0, ReadCacheDisabled: b[2]&0x01 != 0}
	if b[1] >= 11 {
		c.NonVolatileDisabled = b[12]&0x01 != 0
	}
	return c, nil
}

// Append appends mode page 08h (20 bytes).
func (c CachingPage) Append(dst []byte) []byte {
	var b [cachingPageBytes]byte
	b[0], b[1] = byte(CachingMode), cachingPageBytes-2
	b[2] = bit(c.WriteCache, 0x04) | bit(c.ReadCacheDisabled, 0x01)
	b[12] = bit(c.NonVolatileDisabled, 0x01)
	return append(dst, b[:]...)
}

// ControlPage is mode page 0Ah (SPC-4), as far as pathgate needs it.
type ControlPage struct {
	// TaskSets is TST: 0 = one task set, 1 = one for each nexus.
	TaskSets uint8
	// DescriptorSense (D_SENSE): sense data comes in descriptor format.
	DescriptorSense bool
	// QueueAlgorithm: 0 = restricted, 1 = unrestricted reordering.
	QueueAlgorithm uint8
	// ErrorQueue is QERR, 2 bits.
	ErrorQueue uint8
	// SoftwareWriteProtect (SWP).
	SoftwareWriteProtect bool
	// TaskAborted (TAS): aborted commands of other nexuses end with TASK ABORTED.
	TaskAborted bool
	// BusyTimeout in units of 100 ms; ffffh = no limit.
	BusyTimeout uint16
}

// DecodeControlPage reads mode page 0Ah, header included.
func DecodeControlPage(b []byte) (ControlPage, error) {
	if err := modePageBody(b, ControlMode, "control mode page", controlPageBytesOld); err != nil {
		return ControlPage{}, err
	}
	c := ControlPage{
		TaskSets: b[2] >> 5, DescriptorSense: b[2]&0x04 != 0,
		QueueAlgorithm: b[3] >> 4, ErrorQueue: b[3] >> 1 & 3,
		SoftwareWriteProtect: b[4]&0x08 != 0, TaskAborted: b[5]&0x40 != 0,
	}
	if b[1] >= controlPageBytes-2 {
		c.BusyTimeout = binary.BigEndian.Uint16(b[8:])
	}
	return c, nil
}

// Append appends mode page 0Ah (12 bytes).
func (c ControlPage) Append(dst []byte) []byte {
	var b [controlPageBytes]byte
	b[0], b[1] = byte(ControlMode), controlPageBytes-2
	b[2] = c.TaskSets<<5 | bit(c.DescriptorSense, 0x04)
	b[3] = c.QueueAlgorithm<<4 | c.ErrorQueue&3<<1
	b[4] = bit(c.SoftwareWriteProtect, 0x08)
	b[5] = bit(c.TaskAborted, 0x40)
	binary.BigEndian.PutUint16(b[8:], c.BusyTimeout)
	return append(dst, b[:]...)
}
