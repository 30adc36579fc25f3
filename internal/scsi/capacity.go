// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrCapacity: a capacity that no disk can have, or that is not supported.
var ErrCapacity = errors.New("impossible capacity")

// Capacity is READ CAPACITY parameter data (SBC-3).
type Capacity struct {
	// Blocks is the number of logical blocks: the last LBA + 1. 0 where the last
	// LBA is 2^64-1, which Validate refuses.
	Blocks uint64
	// BlockSize of a logical block in bytes.
	BlockSize uint32
	// PhysicalExponent: a physical block holds 2^n logical ones.
	PhysicalExponent uint8
	// LowestAligned is the LBA of the first physical block, 14 bits.
	LowestAligned uint16
	// Provisioned (LBPME): UNMAP or WRITE SAME can unmap blocks.
	Provisioned bool
	// ReadZeros (LBPRZ): unmapped blocks read as zeroes.
	ReadZeros bool
	// ProtectionType is 0 without protection information (PROT_EN = 0), else
	// P_TYPE + 1.
	ProtectionType uint8
}

const (
	capacity10Bytes  = 8
	capacity16Bytes  = 32
	maxLowestAligned = 0x3fff
)

// Bytes returns the size; call it after Validate.
func (c Capacity) Bytes() uint64 { return c.Blocks * uint64(c.BlockSize) }

// Validate refuses what cannot be used: no blocks, a block size that is not a
// power of two from 512 to 65536, 2^63 bytes or more, protection information
// beyond type 3. Errors are ErrCapacity.
func (c Capacity) Validate() error {
	switch {
	case c.Blocks == 0:
		return fmt.Errorf("no blocks, or 2^64 of them: %w", ErrCapacity)
	case c.BlockSize < 512 || c.BlockSize > 65536 || c.BlockSize&(c.BlockSize-1) != 0:
		return fmt.Errorf("block size %d: %w", c.BlockSize, ErrCapacity)
	case c.Blocks > (1<<63-1)/uint64(c.BlockSize):
		return fmt.Errorf("%d blocks of %d bytes: %w", c.Blocks, c.BlockSize, ErrCapacity)
	case c.ProtectionType > 3:
		return fmt.Errorf("protection type %d: %w", c.ProtectionType, ErrCapacity)
	}
	return nil
}

// DecodeCapacity10 reads READ CAPACITY(10) data. more tells that the last LBA
// does not fit into 32 bits: Blocks is 0 then, ask READ CAPACITY(16).
func DecodeCapacity10(b []byte) (c Capacity, more bool, err error) {
	if len(b) < capacity10Bytes {
		return Capacity{}, false, truncated("READ CAPACITY(10) data", len(b), capacity10Bytes)
	}
	last := binary.BigEndian.Uint32(b)
	c.BlockSize = binary.BigEndian.Uint32(b[4:])
	if last == 0xffffffff {
		return c, true, nil
	}
	c.Blocks = uint64(last) + 1
	return c, false, nil
}

// Append10 appends READ CAPACITY(10) data (8 bytes).
func (c Capacity) Append10(dst []byte) []byte {
	last := uint32(0xffffffff)
	if c.Blocks != 0 && c.Blocks-1 < 0xffffffff {
		last = uint32(c.Blocks - 1)
	}
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(dst, last), c.BlockSize)
}

// DecodeCapacity16 reads READ CAPACITY(16) data.
func DecodeCapacity16(b []byte) (Capacity, error) {
	if len(b) < capacity16Bytes {
		return Capacity{}, truncated("READ CAPACITY(16) data", len(b), capacity16Bytes)
	}
	c := Capacity{
		Blocks:           binary.BigEndian.Uint64(b) + 1,
		BlockSize:        binary.BigEndian.Uint32(b[8:]),
		PhysicalExponent: b[13] & 0x0f,
		Provisioned:      b[14]&0x80 != 0,
		ReadZeros:        b[14]&0x40 != 0,
		LowestAligned:    binary.BigEndian.Uint16(b[14:]) & maxLowestAligned,
	}
	if b[12]&0x01 != 0 {
		c.ProtectionType = b[12]>>1&7 + 1
	}
	return c, nil
}

// Append16 appends READ CAPACITY(16) data (32 bytes).
func (c Capacity) Append16(dst []byte) []byte {
	var b [capacity16Bytes]byte
	binary.BigEndian.PutUint64(b[:], c.Blocks-1)
	binary.BigEndian.PutUint32(b[8:], c.BlockSize)
	if c.ProtectionType != 0 {
		b[12] = (c.ProtectionType-1)&7<<1 | 0x01
	}
	b[13] = c.PhysicalExponent & 0x0f
	binary.BigEndian.PutUint16(b[14:], c.LowestAligned&maxLowestAligned)
	b[14] |= bit(c.Provisioned, 0x80) | bit(c.ReadZeros, 0x40)
	return append(dst, b[:]...)
}
