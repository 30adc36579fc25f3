// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"encoding/binary"
	"math/bits"

	"pathgate/internal/scsi"
)

// Descriptors of VPD page 8Fh (SPC-4, Third-party Copy VPD page).
const (
	copyCommands    = 0x0001 // supported commands
	copyLimits      = 0x0004 // parameter data
	copyDescriptors = 0x0008 // supported descriptors
	copyTargetIDs   = 0x000c // supported target descriptor identifiers
	copyOperations  = 0x8001 // general copy operations
)

// copyConcurrent is how many copies are known to work at a time; more are not
// refused.
const copyConcurrent = 1

// copySegmentBytes is the most that a segment descriptor can say.
func (u *Unit) copySegmentBytes() uint32 { return (1<<16 - 1) * u.cfg.BlockSize }

// copyPage makes VPD page 8Fh, which a unit that copies has to have. What it tells
// is what RECEIVE COPY RESULTS tells.
func (u *Unit) copyPage() []byte {
	be := binary.BigEndian
	var page []byte
	add := func(kind uint16, data []byte) {
		data = append(data, make([]byte, -len(data)&3)...)
		page = be.AppendUint16(page, kind)
		page = be.AppendUint16(page, uint16(len(data)))
		page = append(page, data...)
	}
	add(copyCommands, u.copySupported())
	limits := make([]byte, 28)
	be.PutUint16(limits[4:], copyTargets)
	be.PutUint16(limits[6:], copySegments)
	be.PutUint32(limits[8:], copyListBytes)
	add(copyLimits, limits)
	add(copyDescriptors, []byte{2, scsi.CopyBlockToBlock, scsi.CopyIdentification})
	add(copyTargetIDs, []byte{0, 0}) // no others than those of target descriptors
	general := make([]byte, 32)
	be.PutUint32(general[0:], copyConcurrent)
	be.PutUint32(general[4:], copyConcurrent)
	be.PutUint32(general[8:], u.copySegmentBytes())
	general[12] = uint8(bits.Len32(u.cfg.BlockSize) - 1)
	add(copyOperations, general)
	return scsi.AppendVPD(nil, scsi.PeripheralDisk, scsi.PageThirdPartyCopy, page)
}

// copySupported lists the commands of copies that the table has, each operation
// code with its service actions.
func (u *Unit) copySupported() []byte {
	list := []byte{0}
	for _, op := range []scsi.Opcode{scsi.OpExtendedCopy, scsi.OpReceiveCopyResults} {
		at := len(list)
		list = append(list, byte(op), 0)
		for i := range u.table {
			if e := &u.table[i]; e.op == op {
				list = append(list, byte(e.action))
				list[at+1]++
			}
		}
	}
	list[0] = byte(len(list) - 1)
	return list
}
