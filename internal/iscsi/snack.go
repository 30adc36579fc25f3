// SPDX-License-Identifier: Apache-2.0

package iscsi

import "strconv"

// SNACKType is the function of a SNACK Request. RFC 7143 11.16.1 (Type).
type SNACKType uint8

// The SNACK types.
const (
	SNACKData    SNACKType = 0 // resend Data-In or R2T PDUs
	SNACKStatus  SNACKType = 1 // resend numbered responses
	SNACKDataACK SNACKType = 2 // acknowledge Data-In PDUs
	SNACKRData   SNACKType = 3 // resend Data-In PDUs, cut anew
)

// String returns the RFC's words.
func (t SNACKType) String() string {
	switch t {
	case SNACKData:
		return "Data/R2T SNACK"
	case SNACKStatus:
		return "Status SNACK"
	case SNACKDataACK:
		return "DataACK"
	case SNACKRData:
		return "R-Data SNACK"
	}
	return "SNACK type " + strconv.Itoa(int(t))
}

const (
	snackTypeMask = 0x0f
	offBegRun     = 40
	offRunLength  = 44
)

// SNACK asks for PDUs again, or acknowledges data; only sessions with ErrorRecoveryLevel above 0 use it.
// RFC 7143 11.16 (SNACK Request).
type SNACK struct {
	Type      SNACKType
	LUN       LUNField          // copied from the Data-In that SNACKDataACK acknowledges
	ITT       InitiatorTaskTag  // NoTag for SNACKStatus and SNACKDataACK
	Tag       TargetTransferTag // TTT of the Data-In, or the SNACK Tag of SNACKRData; else NoTag
	ExpStatSN Serial
	BegRun    Serial // first number wanted; the next DataSN expected for SNACKDataACK; 0 for SNACKRData
	RunLength uint32 // 0: all from BegRun on; 0 for SNACKDataACK and SNACKRData
}

// DecodeSNACK reads the header. CodeFormat: reserved type, tags or run that do not go with the type (11.16.4-7).
func DecodeSNACK(h *BHS) (SNACK, error) {
	if err := h.expectEmpty(OpSNACK); err != nil {
		return SNACK{}, err
	}
	p := SNACK{
		Type:      SNACKType(h.Flags() & snackTypeMask),
		LUN:       h.LUN(),
		ITT:       h.ITT(),
		Tag:       h.TTT(),
		ExpStatSN: h.ExpStatSN(),
		BegRun:    h.serial(offBegRun),
		RunLength: h.u32(offRunLength),
	}
	var ok bool
	switch p.Type {
	case SNACKData:
		ok = p.ITT != NoTag && p.Tag == NoTag
	case SNACKStatus:
		ok = p.ITT == NoTag && p.Tag == NoTag
	case SNACKDataACK:
		ok = p.ITT == NoTag && p.Tag != NoTag && p.RunLength == 0
	case SNACKRData:
		ok = p.ITT != NoTag && p.Tag != NoTag && p.Tag != 0 && p.RunLength == 0 && p.BegRun == Serial{}
	}
	if !ok {
		return SNACK{}, fault(CodeFormat, p.Type.String()+" with contradictory fields")
	}
	return p, nil
}

// Encode writes all of h.
func (p SNACK) Encode(h *BHS) {
	h.start(OpSNACK, false, bitFinal|byte(p.Type)&snackTypeMask)
	h.putLUN(p.LUN)
	h.putITT(p.ITT)
	h.put32(offTTT, uint32(p.Tag))
	h.SetExpStatSN(p.ExpStatSN)
	h.put32(offBegRun, p.BegRun.n)
	h.put32(offRunLength, p.RunLength)
}
