// SPDX-License-Identifier: Apache-2.0

package iscsi

import "testing"

const nopInFixture = `
	20 80 0000            # NOP-In; F
	00 000003             # no AHS; 3 bytes of ping data
	0001 0000 0000 0000   # LUN
	0a0b0c0d              # ITT: an answer
	ffffffff              # TTT: no NOP-Out wanted
	00000001              # StatSN
	00000002              # ExpCmdSN
	00000003              # MaxCmdSN
	00000000 00000000 00000000 # reserved`

func numbersOf(statSN, exp, max uint32) Numbers {
	return Numbers{SerialOf(statSN), SerialOf(exp), SerialOf(max)}
}

func TestNOPIn(t *testing.T) {
	golden(t, nopInFixture, NOPIn{
		DataSegmentLength: 3, LUN: LUNField{0, 1}, ITT: 0x0a0b0c0d, TTT: NoTag, Numbers: numbersOf(1, 2, 3),
	}, 6+8+24+64+32+32+96, DecodeNOPIn)
	refuse(t, nopInFixture, DecodeNOPIn, "both tags", set(offTTT, 0, 0, 0, 1))
	refuse(t, nopInFixture, DecodeNOPIn, "data that answers nothing", set(offITT, 0xff, 0xff, 0xff, 0xff))
	refuse(t, nopInFixture, DecodeNOPIn, "AHS", set(4, 1))
}

const scsiResponseFixture = `
	21 92 00 02           # SCSI Response; bidirectional overflow, underflow; completed; CHECK CONDITION
	00 000014             # no AHS; 20 bytes of sense
	0000000000000000      # reserved
	00000021              # ITT
	00000022              # SNACK Tag
	00000023              # StatSN
	00000024              # ExpCmdSN
	00000025              # MaxCmdSN
	00000026              # ExpDataSN
	00000027              # bidirectional read residual count
	00000028              # residual count`

func TestSCSIResponse(t *testing.T) {
	golden(t, scsiResponseFixture, SCSIResponse{
		Status: 2, DataSegmentLength: 20, ITT: 0x21, SNACKTag: 0x22, Numbers: numbersOf(0x23, 0x24, 0x25),
		ExpDataSN:    SerialOf(0x26),
		Residual:     Residual{Underflow: true, Count: 0x28},
		BidiResidual: Residual{Overflow: true, Count: 0x27},
	}, 6+4+8+8+8+24+32+32+96+32+32+32, DecodeSCSIResponse)

	refuse(t, scsiResponseFixture, DecodeSCSIResponse, "overflow and underflow", set(1, 0x86))
	refuse(t, scsiResponseFixture, DecodeSCSIResponse, "bidirectional overflow and underflow", set(1, 0x98))
	refuse(t, scsiResponseFixture, DecodeSCSIResponse, "response 2", set(2, 2))
	refuse(t, scsiResponseFixture, DecodeSCSIResponse, "response 0x7f", set(2, 0x7f))

	h := header(t, scsiResponseFixture)
	h[1] = 0x80
	if p, err := DecodeSCSIResponse(&h); err != nil || p.Residual != (Residual{}) || p.BidiResidual != (Residual{}) {
		t.Errorf("counts without flags: got %+v, %v, want no residuals", p, err)
	}
	for _, response := range []byte{1, 0x80, 0xff} {
		h := header(t, scsiResponseFixture)
		h[1], h[2] = 0x9e, response // contradictory flags do not matter either
		p, err := DecodeSCSIResponse(&h)
		want := SCSIResponse{Response: ServiceResponse(response), DataSegmentLength: 20, ITT: 0x21, SNACKTag: 0x22, Numbers: numbersOf(0x23, 0x24, 0x25)}
		if err != nil || p != want {
			t.Errorf("response %#x: got %+v, %v, want no status and no residuals", response, p, err)
		}
	}
}

const taskManagementResponseFixture = `
	22 80 01 00           # task management response; task does not exist
	00 000000             # no AHS, no data
	0000000000000000      # reserved
	00000031              # ITT
	00000000              # reserved
	00000032              # StatSN
	00000033              # ExpCmdSN
	00000034              # MaxCmdSN
	00000000 00000000 00000000 # reserved`

func TestTaskManagementResponse(t *testing.T) {
	golden(t, taskManagementResponseFixture, TaskManagementResponse{
		Response: TaskDoesNotExist, ITT: 0x31, Numbers: numbersOf(0x32, 0x33, 0x34),
	}, 6+8+8+24+32+96, DecodeTaskManagementResponse)
	refuse(t, taskManagementResponseFixture, DecodeTaskManagementResponse, "data segment", set(7, 1))
}

const loginResponseFixture = `
	23 81 0000            # Login Response; T, CSG 0, NSG 1; Version-max, Version-active
	00 000018             # no AHS; 24 bytes of text
	001122 334455         # ISID
	0066                  # TSIH
	00000041              # ITT
	00000000              # reserved
	00000042              # StatSN
	00000043              # ExpCmdSN
	00000044              # MaxCmdSN
	0000 0000             # status: success; reserved
	00000000 00000000     # reserved`

func TestLoginResponse(t *testing.T) {
	want := LoginResponse{
		Transit: true, CurrentStage: SecurityNegotiation, NextStage: OperationalNegotiation, DataSegmentLength: 24,
		ISID: ISID{0, 0x11, 0x22, 0x33, 0x44, 0x55}, TSIH: 0x66, ITT: 0x41, Numbers: numbersOf(0x42, 0x43, 0x44),
	}
	golden(t, loginResponseFixture, want, 6+6+16+8+24+48+16+32+96+16, DecodeLoginResponse)
	loginFlagCases(t, loginResponseFixture, DecodeLoginResponse)

	h := header(t, loginResponseFixture)
	h[1] = 0xff // reserved in a login reject
	copy(h[offStatusClass:], []byte{2, 1})
	p, err := DecodeLoginResponse(&h)
	want = LoginResponse{DataSegmentLength: 24, ISID: want.ISID, TSIH: 0x66, ITT: 0x41, Status: LoginAuthenticationFailure}
	if err != nil || p != want {
		t.Errorf("login reject: got %+v, %v, want %+v", p, err, want)
	}
}

const textResponseFixture = `
	24 00 0000            # Text Response; not final
	00 000020             # no AHS; 32 bytes of text
	0001 0000 0000 0000   # LUN
	00000051              # ITT
	00000052              # TTT: go on with this
	00000053              # StatSN
	00000054              # ExpCmdSN
	00000055              # MaxCmdSN
	00000000 00000000 00000000 # reserved`

func TestTextResponse(t *testing.T) {
	golden(t, textResponseFixture, TextResponse{
		DataSegmentLength: 32, LUN: LUNField{0, 1}, ITT: 0x51, TTT: 0x52, Numbers: numbersOf(0x53, 0x54, 0x55),
	}, 6+2+8+24+64+32+32+96, DecodeTextResponse)

	refuse(t, textResponseFixture, DecodeTextResponse, "C and F", set(1, 0xc0))
	refuse(t, textResponseFixture, DecodeTextResponse, "not final without TTT", set(offTTT, 0xff, 0xff, 0xff, 0xff))
	refuse(t, textResponseFixture, DecodeTextResponse, "no ITT", set(offITT, 0xff, 0xff, 0xff, 0xff))

	var out BHS
	TextResponse{Final: true, ITT: 1, TTT: 5}.Encode(&out)
	if out.TTT() != NoTag {
		t.Errorf("TTT of a final response is %#x, want none", out.TTT())
	}
}

const dataInFixture = `
	25 c3 00 00           # Data-In; F A, underflow, S; reserved; GOOD
	00 000200             # no AHS; 512 bytes
	0001 0000 0000 0000   # LUN, because of A
	00000061              # ITT
	00000062              # TTT, because of A
	00000063              # StatSN
	00000064              # ExpCmdSN
	00000065              # MaxCmdSN
	00000006              # DataSN
	00000e00              # buffer offset
	00000100              # residual count`

func TestDataIn(t *testing.T) {
	golden(t, dataInFixture, DataIn{
		Final: true, Acknowledge: true, HasStatus: true, DataSegmentLength: 512, LUN: LUNField{0, 1}, ITT: 0x61, TTT: 0x62,
		Numbers: numbersOf(0x63, 0x64, 0x65), DataSN: SerialOf(6), BufferOffset: 0xe00, Residual: Residual{Underflow: true, Count: 256},
	}, 6+5+8+8+24+64+32+32+96+32+32+32, DecodeDataIn)

	refuse(t, dataInFixture, DecodeDataIn, "status before the last PDU", set(1, 0x43))
	refuse(t, dataInFixture, DecodeDataIn, "overflow and underflow", set(1, 0xc7))
	refuse(t, dataInFixture, DecodeDataIn, "CHECK CONDITION", set(3, 2))
	refuse(t, dataInFixture, DecodeDataIn, "acknowledgement without TTT", set(offTTT, 0xff, 0xff, 0xff, 0xff))
	refuse(t, dataInFixture, DecodeDataIn, "no ITT", set(offITT, 0xff, 0xff, 0xff, 0xff))
	refuse(t, dataInFixture, DecodeDataIn, "offset overflow", set(offBufferOffset, 0xff, 0xff, 0xff, 0x00))

	h := header(t, dataInFixture)
	h[1], h[3] = 0x86, 0x02 // neither A nor S: tags, status and residual mean nothing
	p, err := DecodeDataIn(&h)
	want := DataIn{
		Final: true, DataSegmentLength: 512, ITT: 0x61, TTT: NoTag, Numbers: numbersOf(0, 0x64, 0x65),
		DataSN: SerialOf(6), BufferOffset: 0xe00,
	}
	if err != nil || p != want {
		t.Errorf("without A and S: got %+v, %v, want %+v", p, err, want)
	}
}

const logoutResponseFixture = `
	26 80 02 00           # Logout Response; recovery not supported
	00 000000             # no AHS, no data
	0000000000000000      # reserved
	00000071              # ITT
	00000000              # reserved
	00000072              # StatSN
	00000073              # ExpCmdSN
	00000074              # MaxCmdSN
	00000000              # reserved
	0002 0014             # Time2Wait 2, Time2Retain 20
	00000000              # reserved`

func TestLogoutResponse(t *testing.T) {
	golden(t, logoutResponseFixture, LogoutResponse{
		Status: LogoutRecoveryNotSupported, ITT: 0x71, Numbers: numbersOf(0x72, 0x73, 0x74), Time2Wait: 2, Time2Retain: 20,
	}, 6+8+8+24+32+96+32, DecodeLogoutResponse)
	refuse(t, logoutResponseFixture, DecodeLogoutResponse, "response 4", set(2, 4))
	refuse(t, logoutResponseFixture, DecodeLogoutResponse, "data segment", set(7, 1))
}

const r2tFixture = `
	31 80 0000            # R2T; F
	00 000000             # no AHS, no data
	0001 0000 0000 0000   # LUN
	00000081              # ITT
	00000082              # TTT
	00000083              # StatSN
	00000084              # ExpCmdSN
	00000085              # MaxCmdSN
	00000006              # R2TSN
	00010000              # buffer offset
	00040000              # desired data transfer length`

func TestR2T(t *testing.T) {
	golden(t, r2tFixture, R2T{
		LUN: LUNField{0, 1}, ITT: 0x81, TTT: 0x82, Numbers: numbersOf(0x83, 0x84, 0x85), R2TSN: SerialOf(6),
		BufferOffset: 65536, DesiredDataTransferLength: 262144,
	}, 6+8+24+64+32+32+96+32+32+32, DecodeR2T)
	refuse(t, r2tFixture, DecodeR2T, "length 0", set(offDesiredLength, 0, 0, 0, 0))
	refuse(t, r2tFixture, DecodeR2T, "beyond 2^32", set(offBufferOffset, 0xff, 0xff, 0xff, 0xff))
	refuse(t, r2tFixture, DecodeR2T, "no TTT", set(offTTT, 0xff, 0xff, 0xff, 0xff))
	refuse(t, r2tFixture, DecodeR2T, "no ITT", set(offITT, 0xff, 0xff, 0xff, 0xff))
	refuse(t, r2tFixture, DecodeR2T, "data segment", set(7, 1))
}

const asyncMessageFixture = `
	32 80 0000            # Asynchronous Message; F
	00 000002             # no AHS; SenseLength
	0001 0000 0000 0000   # LUN
	ffffffff              # constant
	00000000              # reserved
	00000091              # StatSN
	00000092              # ExpCmdSN
	00000093              # MaxCmdSN
	02 00 0001            # connection drop; vendor code; CID
	0002 0014             # Time2Wait 2, Time2Retain 20
	00000000              # reserved`

func TestAsyncMessage(t *testing.T) {
	golden(t, asyncMessageFixture, AsyncMessage{
		DataSegmentLength: 2, LUN: LUNField{0, 1}, Numbers: numbersOf(0x91, 0x92, 0x93), Event: AsyncConnectionDrop,
		Parameter1: 1, Parameter2: 2, Parameter3: 20,
	}, 6+8+24+64+96+8+8+48, DecodeAsyncMessage)
	refuse(t, asyncMessageFixture, DecodeAsyncMessage, "AHS", set(4, 1))
}

const rejectFixture = `
	3f 80 04 00           # Reject; protocol error
	00 000030             # no AHS; 48 bytes: the header of the rejected PDU
	0000000000000000      # reserved
	ffffffff              # constant
	00000000              # reserved
	000000a1              # StatSN
	000000a2              # ExpCmdSN
	000000a3              # MaxCmdSN
	000000a4              # DataSN
	00000000 00000000     # reserved`

func TestReject(t *testing.T) {
	golden(t, rejectFixture, Reject{
		Reason: RejectProtocolError, DataSegmentLength: 48, Numbers: numbersOf(0xa1, 0xa2, 0xa3), DataSN: SerialOf(0xa4),
	}, 6+8+8+24+96+32, DecodeReject)
	refuse(t, rejectFixture, DecodeReject, "no header of the rejected PDU", set(7, 47))

	bad := wire(t, nopOutFixture)
	if h, err := RejectedHeader(append(bad, 1, 2, 3)); err != nil || h.ITT() != 0x0a0b0c0d {
		t.Errorf("rejected header: got %x, %v", h, err)
	}
	for n := range HeaderLength {
		_, err := RejectedHeader(bad[:n])
		wantCode(t, "short header", err, CodeLength)
	}
}
