// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"encoding/binary"
	"hash/crc32"
)

// DigestLength is the length of a header or data digest in bytes.
const DigestLength = 4

// castagnoli is the table of generator 0x11edc6f41; the hash uses the CPU's instruction where there is one.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CRC32C is a digest over the bytes given to Update so far. The zero value is the digest of nothing.
// RFC 7143 13.1 (HeaderDigest and DataDigest).
type CRC32C uint32

// Update returns the digest extended by b. The padding of a segment belongs to it.
func (c CRC32C) Update(b []byte) CRC32C { return CRC32C(crc32.Update(uint32(c), castagnoli, b)) }

// padding is read only; a local array would escape to the heap.
var padding [3]byte

// Pad returns the digest extended by n zero bytes, n from 0 to 3.
func (c CRC32C) Pad(n int) CRC32C { return c.Update(padding[:n]) }

// Put writes the digest word: with the bit order that 13.1 prescribes, that is the usual CRC in little-endian order.
// dst has at least 4 bytes.
func (c CRC32C) Put(dst []byte) { binary.LittleEndian.PutUint32(dst, uint32(c)) }

// Matches reports whether wire, at least 4 bytes, is the digest word of c.
func (c CRC32C) Matches(wire []byte) bool { return binary.LittleEndian.Uint32(wire) == uint32(c) }
