// SPDX-License-Identifier: Apache-2.0

package iscsi

import "testing"

const nopOutFixture = `
	40 80 0000            # I, NOP-Out; F; reserved
	00 000005             # no AHS; 5 bytes of ping data
	0001 0000 0000 0000   # LUN
	0a0b0c0d              # ITT
	ffffffff              # TTT: not an answer
	00000010              # CmdSN
	00000020              # ExpStatSN
	00000000 00000000 00000000 00000000 # reserved`

func TestNOPOut(t *testing.T) {
	golden(t, nopOutFixture, NOPOut{
		Immediate: true, DataSegmentLength: 5, LUN: LUNField{0, 1}, ITT: 0x0a0b0c0d, TTT: NoTag,
		CmdSN: SerialOf(0x10), ExpStatSN: SerialOf(0x20),
	}, 7+8+24+64+32+32+32+32, DecodeNOPOut)
	refuse(t, nopOutFixture, DecodeNOPOut, "no ITT and not immediate", func(h *BHS) {
		h.putITT(NoTag)
		h[0] &^= bitImmediate
	})
	refuse(t, nopOutFixture, DecodeNOPOut, "AHS", set(4, 1))
}

const scsiCommandFixture = `
	41 e1 0000            # I, SCSI Command; F R W, simple; reserved
	02 000200             # 2 words of AHS; 512 bytes of immediate data
	0005 0000 0000 0000   # LUN
	00000011              # ITT
	00001000              # expected data transfer length (write)
	00000022              # CmdSN
	00000033              # ExpStatSN
	2a00 0000 0001 0000   # CDB: WRITE(10)
	0800 0000 0000 0000   # CDB, last 8 bytes`

func TestSCSICommand(t *testing.T) {
	golden(t, scsiCommandFixture, SCSICommand{
		Immediate: true, Final: true, Read: true, Write: true, Attribute: Simple, TotalAHSLength: 8, DataSegmentLength: 512,
		LUN: LUNField{0, 5}, ITT: 0x11, ExpectedDataTransferLength: 4096, CmdSN: SerialOf(0x22), ExpStatSN: SerialOf(0x33),
		CDB: [16]byte{0x2a, 0, 0, 0, 0, 1, 0, 0, 8},
	}, 7+6+8+24+64+32+32+32+32+128, DecodeSCSICommand)

	refuse(t, scsiCommandFixture, DecodeSCSICommand, "task attribute 5", set(1, 0xe5))
	refuse(t, scsiCommandFixture, DecodeSCSICommand, "no ITT", set(offITT, 0xff, 0xff, 0xff, 0xff))
	refuse(t, scsiCommandFixture, DecodeSCSICommand, "neither W nor F", set(1, 0x41))
	refuse(t, scsiCommandFixture, DecodeSCSICommand, "immediate data without W", set(1, 0xc1))
	refuse(t, scsiCommandFixture, DecodeSCSICommand, "length without direction", func(h *BHS) {
		h[1] = 0x81
		h.SetDataSegmentLength(0)
	})
}

const taskManagementRequestFixture = `
	42 81 0000            # I, task management; F, ABORT TASK
	00 000000             # no AHS, no data
	0001 0000 0000 0000   # LUN
	00000101              # ITT
	00000099              # Referenced Task Tag
	00000007              # CmdSN
	00000008              # ExpStatSN
	00000006              # RefCmdSN
	00000000              # ExpDataSN, reserved here
	00000000 00000000     # reserved`

func TestTaskManagementRequest(t *testing.T) {
	golden(t, taskManagementRequestFixture, TaskManagementRequest{
		Immediate: true, Function: AbortTask, LUN: LUNField{0, 1}, ITT: 0x101, ReferencedTaskTag: 0x99,
		CmdSN: SerialOf(7), ExpStatSN: SerialOf(8), RefCmdSN: SerialOf(6),
	}, 7+7+8+24+64+32+32+32+32+32, decodeTaskManagementNormal)

	refuse(t, taskManagementRequestFixture, DecodeTaskManagementRequest, "no ITT", set(offITT, 0xff, 0xff, 0xff, 0xff))
	refuse(t, taskManagementRequestFixture, DecodeTaskManagementRequest, "data segment", set(7, 4))
	refuse(t, taskManagementRequestFixture, DecodeTaskManagementRequest, "AHS", set(4, 1))
	refuse(t, taskManagementRequestFixture, DecodeTaskManagementRequest, "ABORT TASK of no task", set(20, 0xff, 0xff, 0xff, 0xff))
}

// decodeTaskManagementNormal drops what Encode drops because the function does not use it.
func decodeTaskManagementNormal(h *BHS) (TaskManagementRequest, error) {
	p, err := DecodeTaskManagementRequest(h)
	if err != nil {
		return p, err
	}
	var n BHS
	p.Encode(&n)
	return DecodeTaskManagementRequest(&n)
}

func TestTaskManagementRequestReservedFields(t *testing.T) {
	all := TaskManagementRequest{
		LUN: LUNField{1, 2, 3, 4, 5, 6, 7, 8}, ITT: 1, ReferencedTaskTag: 2, RefCmdSN: SerialOf(3), ExpDataSN: SerialOf(4),
	}
	for f := AbortTask; f <= QueryAsynchronousEvent+1; f++ {
		p := all
		p.Function = f
		var h BHS
		p.Encode(&h)
		got, err := DecodeTaskManagementRequest(&h)
		if err != nil {
			t.Fatalf("%v: %v", f, err)
		}
		if want := f.NamesTask(); (got.ReferencedTaskTag != NoTag) != want {
			t.Errorf("%v: referenced tag %#x, want one: %v", f, got.ReferencedTaskTag, want)
		}
		if want := f.NamesLUN(); (got.LUN == all.LUN) != want {
			t.Errorf("%v: LUN %x, want one: %v", f, got.LUN, want)
		}
		if want := f == AbortTask || f == QueryTask; (got.RefCmdSN == all.RefCmdSN) != want {
			t.Errorf("%v: RefCmdSN %v, want one: %v", f, got.RefCmdSN, want)
		}
		if want := f == TaskReassign; (got.ExpDataSN == all.ExpDataSN) != want {
			t.Errorf("%v: ExpDataSN %v, want one: %v", f, got.ExpDataSN, want)
		}
	}
}

const loginRequestFixture = `
	43 87 0000            # I, Login; T, CSG 1, NSG 3; Version-max, Version-min
	00 000040             # no AHS; 64 bytes of text
	80123456 789a         # ISID: random, 0x123456, qualifier 0x789a
	0000                  # TSIH: new session
	00000001              # ITT
	0002 0000             # CID; reserved
	00000003              # CmdSN
	00000004              # ExpStatSN
	00000000 00000000 00000000 00000000 # reserved`

func TestLoginRequest(t *testing.T) {
	golden(t, loginRequestFixture, LoginRequest{
		Transit: true, CurrentStage: OperationalNegotiation, NextStage: FullFeaturePhase, DataSegmentLength: 64,
		ISID: RandomISID(0x123456, 0x789a), ITT: 1, CID: 2, CmdSN: SerialOf(3), ExpStatSN: SerialOf(4),
	}, 6+6+16+8+24+48+16+32+16+32+32, DecodeLoginRequest)
	loginFlagCases(t, loginRequestFixture, DecodeLoginRequest)
	refuse(t, loginRequestFixture, DecodeLoginRequest, "no ITT", set(offITT, 0xff, 0xff, 0xff, 0xff))
}

// loginFlagCases is every combination of T, C, CSG and NSG. HAZARDS B12.
func loginFlagCases[P pdu](t *testing.T, fixture string, decode func(*BHS) (P, error)) {
	t.Helper()
	for f := range 256 {
		transit, more, csg, nsg := f&0x80 != 0, f&0x40 != 0, f>>2&3, f&3
		legal := csg <= 1 && !(transit && more) && (!transit || nsg > csg && nsg != 2)
		h := header(t, fixture)
		h[1] = byte(f)
		if _, err := decode(&h); (err == nil) != legal {
			t.Errorf("T %v C %v CSG %d NSG %d: error %v, want legal %v", transit, more, csg, nsg, err, legal)
		}
	}
}

const textRequestFixture = `
	44 80 0000            # I, Text; F
	00 000010             # no AHS; 16 bytes of text
	0001 0000 0000 0000   # LUN
	00000055              # ITT
	ffffffff              # TTT: a new request
	00000006              # CmdSN
	00000007              # ExpStatSN
	00000000 00000000 00000000 00000000 # reserved`

func TestTextRequest(t *testing.T) {
	golden(t, textRequestFixture, TextRequest{
		Immediate: true, Final: true, DataSegmentLength: 16, LUN: LUNField{0, 1}, ITT: 0x55, TTT: NoTag,
		CmdSN: SerialOf(6), ExpStatSN: SerialOf(7),
	}, 7+2+8+24+64+32+32+32+32, DecodeTextRequest)
	refuse(t, textRequestFixture, DecodeTextRequest, "C and F", set(1, 0xc0))
	refuse(t, textRequestFixture, DecodeTextRequest, "no ITT", set(offITT, 0xff, 0xff, 0xff, 0xff))
}

const dataOutFixture = `
	05 80 0000            # Data-Out; F
	00 001000             # no AHS; 4096 bytes
	0003 0000 0000 0000   # LUN of the R2T
	00000071              # ITT
	00000072              # TTT of the R2T
	00000000              # reserved
	00000073              # ExpStatSN
	00000000              # reserved
	00000004              # DataSN
	00010000              # buffer offset
	00000000              # reserved`

func TestDataOut(t *testing.T) {
	golden(t, dataOutFixture, DataOut{
		Final: true, DataSegmentLength: 4096, LUN: LUNField{0, 3}, ITT: 0x71, TTT: 0x72, ExpStatSN: SerialOf(0x73),
		DataSN: SerialOf(4), BufferOffset: 65536,
	}, 6+1+8+24+64+32+32+32+32+32, DecodeDataOut)
	refuse(t, dataOutFixture, DecodeDataOut, "no ITT", set(offITT, 0xff, 0xff, 0xff, 0xff))
	refuse(t, dataOutFixture, DecodeDataOut, "offset overflow", set(offBufferOffset, 0xff, 0xff, 0xf0, 0x01))
}

const logoutRequestFixture = `
	46 81 0000            # I, Logout; close the connection
	00 000000             # no AHS, no data
	0000000000000000      # reserved
	00000081              # ITT
	0009 0000             # CID; reserved
	00000082              # CmdSN
	00000083              # ExpStatSN
	00000000 00000000 00000000 00000000 # reserved`

func TestLogoutRequest(t *testing.T) {
	golden(t, logoutRequestFixture, LogoutRequest{
		Immediate: true, Reason: LogoutCloseConnection, ITT: 0x81, CID: 9, CmdSN: SerialOf(0x82), ExpStatSN: SerialOf(0x83),
	}, 7+7+8+24+32+16+32+32, DecodeLogoutRequest)
	refuse(t, logoutRequestFixture, DecodeLogoutRequest, "reason 3", set(1, 0x83))
	refuse(t, logoutRequestFixture, DecodeLogoutRequest, "data segment", set(7, 1))
	refuse(t, logoutRequestFixture, DecodeLogoutRequest, "no ITT", set(offITT, 0xff, 0xff, 0xff, 0xff))
}

const snackFixture = `
	10 80 0000            # SNACK; F, Data/R2T
	00 000000             # no AHS, no data
	0001 0000 0000 0000   # LUN
	00000091              # ITT
	ffffffff              # TTT: none
	00000000              # reserved
	00000092              # ExpStatSN
	00000000 00000000     # reserved
	00000005              # BegRun
	00000006              # RunLength`

func TestSNACK(t *testing.T) {
	golden(t, snackFixture, SNACK{
		Type: SNACKData, LUN: LUNField{0, 1}, ITT: 0x91, Tag: NoTag, ExpStatSN: SerialOf(0x92), BegRun: SerialOf(5), RunLength: 6,
	}, 6+4+8+24+64+32+32+32+32+32, DecodeSNACK)

	for _, c := range []struct {
		name string
		p    SNACK
		ok   bool
	}{
		{"data", SNACK{Type: SNACKData, ITT: 1, Tag: NoTag}, true},
		{"data without task", SNACK{Type: SNACKData, ITT: NoTag, Tag: NoTag}, false},
		{"status", SNACK{Type: SNACKStatus, ITT: NoTag, Tag: NoTag, RunLength: 3}, true},
		{"status with a task", SNACK{Type: SNACKStatus, ITT: 1, Tag: NoTag}, false},
		{"acknowledgement", SNACK{Type: SNACKDataACK, ITT: NoTag, Tag: 5, BegRun: SerialOf(9)}, true},
		{"acknowledgement with a run", SNACK{Type: SNACKDataACK, ITT: NoTag, Tag: 5, RunLength: 1}, false},
		{"acknowledgement without a tag", SNACK{Type: SNACKDataACK, ITT: NoTag, Tag: NoTag}, false},
		{"R-Data", SNACK{Type: SNACKRData, ITT: 1, Tag: 5}, true},
		{"R-Data with tag 0", SNACK{Type: SNACKRData, ITT: 1}, false},
		{"R-Data from a number on", SNACK{Type: SNACKRData, ITT: 1, Tag: 5, BegRun: SerialOf(1)}, false},
		{"type 4", SNACK{Type: 4, ITT: 1, Tag: NoTag}, false},
	} {
		var h BHS
		c.p.Encode(&h)
		got, err := DecodeSNACK(&h)
		if !c.ok {
			wantCode(t, c.name, err, CodeFormat)
		} else if err != nil || got != c.p {
			t.Errorf("%s: got %+v, %v", c.name, got, err)
		}
	}
}
