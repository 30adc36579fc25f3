// SPDX-License-Identifier: Apache-2.0

package scsi

import "encoding/binary"

// Transfer returns which way the command's data goes and how many bytes it
// may be: exactly that many for a block range or a parameter list, at most that
// many for an allocation length. blockSize is the logical block size in bytes;
// protection information is not counted. A command that moves nothing is
// NoData, 0. Operation codes without a known layout are ErrOpcode. A peer's
// numbers may make bytes almost 2^64; the caller checks limits before it
// allocates. It does not allocate.
func (c *CDB) Transfer(blockSize uint32) (Direction, uint64, error) {
	b := (*[16]byte)(c)
	bs := uint64(blockSize)
	switch c.Opcode() {
	case OpTestUnitReady, OpStartStopUnit, OpPreventAllow, OpReserve6, OpRelease6,
		OpSynchronizeCache10, OpSynchronizeCache16, OpPrefetch10, OpPrefetch16:
		return NoData, 0, nil
	case OpRead6, OpRead10, OpRead12, OpRead16, OpWrite6, OpWrite10, OpWrite12, OpWrite16:
		rw, _ := DecodeReadWrite(b)
		if rw.Write {
			return transfer(DataOut, uint64(rw.Blocks)*bs)
		}
		return transfer(DataIn, uint64(rw.Blocks)*bs)
	case OpORWrite16:
		_, n, _ := getRange(b, 16)
		return transfer(DataOut, uint64(n)*bs)
	case OpWriteAtomic16:
		wa, _ := DecodeWriteAtomic(b)
		return transfer(DataOut, uint64(wa.Blocks)*bs)
	case OpCompareAndWrite:
		cw, _ := DecodeCompareAndWrite(b)
		return transfer(DataOut, 2*uint64(cw.Blocks)*bs)
	case OpWriteSame10, OpWriteSame16:
		if ws, _ := DecodeWriteSame(b); ws.NoDataOut {
			return NoData, 0, nil
		}
		return transfer(DataOut, bs)
	case OpVerify10, OpVerify12, OpVerify16, OpWriteVerify10, OpWriteVerify12, OpWriteVerify16:
		return verifyTransfer(b, bs)
	case OpReadCapacity10:
		return DataIn, 8, nil
	default:
		return c.parameterTransfer()
	}
}

func transfer(d Direction, bytes uint64) (Direction, uint64, error) {
	if bytes == 0 {
		return NoData, 0, nil
	}
	return d, bytes, nil
}

func verifyTransfer(b *[16]byte, bs uint64) (Direction, uint64, error) {
	v, _ := DecodeVerify(b)
	switch {
	case v.Write || v.ByteCheck == ByteCheckData:
		return transfer(DataOut, uint64(v.Blocks)*bs)
	case v.ByteCheck == ByteCheckOneBlock && v.Blocks != 0:
		return transfer(DataOut, bs)
	default:
		return NoData, 0, nil
	}
}

// parameterTransfer covers the commands whose length is in bytes.
func (c *CDB) parameterTransfer() (Direction, uint64, error) {
	switch c.Opcode() {
	case OpInquiry:
		return transfer(DataIn, uint64(binary.BigEndian.Uint16(c[3:])))
	case OpRequestSense, OpModeSense6:
		return transfer(DataIn, uint64(c[4]))
	case OpModeSense10, OpPersistentReserveIn, OpLogSense:
		return transfer(DataIn, uint64(binary.BigEndian.Uint16(c[7:])))
	case OpReportLUNs, OpMaintenanceIn:
		return transfer(DataIn, uint64(binary.BigEndian.Uint32(c[6:])))
	case OpServiceActionIn16, OpReceiveCopyResults:
		return transfer(DataIn, uint64(binary.BigEndian.Uint32(c[10:])))
	case OpModeSelect6:
		return transfer(DataOut, uint64(c[4]))
	case OpModeSelect10, OpUnmap, OpLogSelect, OpSanitize:
		return transfer(DataOut, uint64(binary.BigEndian.Uint16(c[7:])))
	case OpPersistentReserveOut:
		return transfer(DataOut, uint64(binary.BigEndian.Uint32(c[5:])))
	case OpMaintenanceOut:
		return transfer(DataOut, uint64(binary.BigEndian.Uint32(c[6:])))
	case OpExtendedCopy:
		return transfer(DataOut, uint64(binary.BigEndian.Uint32(c[10:])))
	default:
		return NoData, 0, ErrOpcode
	}
}
