// SPDX-License-Identifier: Apache-2.0

package iscsi

import "strconv"

// Opcode is the PDU type, six bits. RFC 7143 11.2.1.2 (Opcode).
type Opcode uint8

// Opcodes that initiators send.
const (
	OpNOPOut                Opcode = 0x00
	OpSCSICommand           Opcode = 0x01
	OpTaskManagementRequest Opcode = 0x02
	OpLoginRequest          Opcode = 0x03
	OpTextRequest           Opcode = 0x04
	OpDataOut               Opcode = 0x05
	OpLogoutRequest         Opcode = 0x06
	OpSNACK                 Opcode = 0x10
)

// Opcodes that targets send.
const (
	OpNOPIn                  Opcode = 0x20
	OpSCSIResponse           Opcode = 0x21
	OpTaskManagementResponse Opcode = 0x22
	OpLoginResponse          Opcode = 0x23
	OpTextResponse           Opcode = 0x24
	OpDataIn                 Opcode = 0x25
	OpLogoutResponse         Opcode = 0x26
	OpR2T                    Opcode = 0x31
	OpAsyncMessage           Opcode = 0x32
	OpReject                 Opcode = 0x3f
)

// String returns the name the RFC uses.
func (o Opcode) String() string {
	switch o {
	case OpNOPOut:
		return "NOP-Out"
	case OpSCSICommand:
		return "SCSI Command"
	case OpTaskManagementRequest:
		return "Task Management Function Request"
	case OpLoginRequest:
		return "Login Request"
	case OpTextRequest:
		return "Text Request"
	case OpDataOut:
		return "SCSI Data-Out"
	case OpLogoutRequest:
		return "Logout Request"
	case OpSNACK:
		return "SNACK Request"
	case OpNOPIn:
		return "NOP-In"
	case OpSCSIResponse:
		return "SCSI Response"
	case OpTaskManagementResponse:
		return "Task Management Function Response"
	case OpLoginResponse:
		return "Login Response"
	case OpTextResponse:
		return "Text Response"
	case OpDataIn:
		return "SCSI Data-In"
	case OpLogoutResponse:
		return "Logout Response"
	case OpR2T:
		return "Ready To Transfer"
	case OpAsyncMessage:
		return "Asynchronous Message"
	case OpReject:
		return "Reject"
	}
	return "opcode 0x" + strconv.FormatUint(uint64(o), 16)
}

// Known reports whether RFC 7143 assigns the opcode; vendor-specific codes are not known.
func (o Opcode) Known() bool {
	switch o {
	case OpNOPOut, OpSCSICommand, OpTaskManagementRequest, OpLoginRequest, OpTextRequest, OpDataOut, OpLogoutRequest, OpSNACK:
		return true
	case OpNOPIn, OpSCSIResponse, OpTaskManagementResponse, OpLoginResponse, OpTextResponse, OpDataIn, OpLogoutResponse,
		OpR2T, OpAsyncMessage, OpReject:
		return true
	}
	return false
}

// FromInitiator reports whether the opcode is in the half of the code space that only initiators may send.
func (o Opcode) FromInitiator() bool { return o&0x20 == 0 }
