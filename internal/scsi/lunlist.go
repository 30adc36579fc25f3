// SPDX-License-Identifier: Apache-2.0

package scsi

import "encoding/binary"

// ReportedLUN is one entry of REPORT LUNS data.
type ReportedLUN struct {
	// LUN is the number; Field the form in which the target sent it, to be used
	// in commands: some targets know a unit by one form only.
	LUN   LUN
	Field LUNField
}

// LUNList is REPORT LUNS parameter data (SPC-4).
type LUNList struct {
	// LUNs in the target's order, each number once.
	LUNs []ReportedLUN
	// Skipped counts entries that name no single unit: well-known ones and
	// unsupported addressing.
	Skipped int
	// Duplicates counts entries that repeat a number.
	Duplicates int
	// Cut tells that there were more numbers than the limit.
	Cut bool
}

const lunListHeader = 8

// DecodeLUNList reads REPORT LUNS data and returns at most limit numbers. A list
// length that is no multiple of 8 is ErrMalformed; one beyond b is ErrTruncated,
// and LUNListBytes tells how much to ask for.
func DecodeLUNList(b []byte, limit int) (LUNList, error) {
	need, err := LUNListBytes(b)
	if err != nil {
		return LUNList{}, err
	}
	if need > int64(len(b)) {
		return LUNList{}, truncated("REPORT LUNS data", len(b), int(min(need, 1<<31-1)))
	}
	var (
		list LUNList
		seen [1 << 16 / 64]uint64 // a bit for each LUN
	)
	for p := b[lunListHeader:need]; len(p) > 0; p = p[8:] {
		f := LUNField(p[:8])
		lun, err := f.LUN()
		switch {
		case err != nil:
			list.Skipped++
		case seen[lun/64]&(1<<(lun%64)) != 0:
			list.Duplicates++
		case len(list.LUNs) >= limit:
			list.Cut = true
			return list, nil
		default:
			seen[lun/64] |= 1 << (lun % 64)
			list.LUNs = append(list.LUNs, ReportedLUN{LUN: lun, Field: f})
		}
	}
	return list, nil
}

// LUNListBytes returns the length of the whole list in bytes, with its header,
// as the first 8 bytes claim it.
func LUNListBytes(b []byte) (int64, error) {
	if len(b) < lunListHeader {
		return 0, truncated("REPORT LUNS data", len(b), lunListHeader)
	}
	n := binary.BigEndian.Uint32(b)
	if n%8 != 0 {
		return 0, malformed("REPORT LUNS data", "list length is no multiple of 8")
	}
	return lunListHeader + int64(n), nil
}

// AppendLUNList appends REPORT LUNS data for the fields.
func AppendLUNList(dst []byte, fields []LUNField) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(8*len(fields)))
	dst = append(dst, 0, 0, 0, 0)
	for i := range fields {
		dst = append(dst, fields[i][:]...)
	}
	return dst
}
