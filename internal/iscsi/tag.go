// SPDX-License-Identifier: Apache-2.0

package iscsi

import "encoding/binary"

// NoTag is the reserved value of both tag types: no task, no transfer. RFC 7143 11.2.1.8 (Initiator Task Tag).
const NoTag = 0xffffffff

// InitiatorTaskTag (ITT) names a task within a session; the initiator assigns it.
type InitiatorTaskTag uint32

// TargetTransferTag (TTT) names a transfer or an operation; the target assigns it.
type TargetTransferTag uint32

// LUNField is the eight-byte LUN of SAM as it stands in bytes 8-15 of a header. It is carried unchanged; its meaning is
// in package scsi. RFC 7143 11.2.1.7 (LUN).
type LUNField [8]byte

// Uint64 returns the field as a big-endian number.
func (l LUNField) Uint64() uint64 { return binary.BigEndian.Uint64(l[:]) }
