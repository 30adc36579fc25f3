// SPDX-License-Identifier: Apache-2.0

package proxy

import "fmt"

// Opcode is the opcode of a PDU without the immediate bit (RFC 7143 11.2.1.2).
type Opcode uint8

// Opcodes of RFC 7143 11.2.1.2.
const (
	NOPOut         Opcode = 0x00
	SCSICommand    Opcode = 0x01
	TaskManagement Opcode = 0x02
	Login          Opcode = 0x03
	Text           Opcode = 0x04
	DataOut        Opcode = 0x05
	Logout         Opcode = 0x06
	SNACK          Opcode = 0x10
	NOPIn          Opcode = 0x20
	SCSIResponse   Opcode = 0x21
	TaskResponse   Opcode = 0x22
	LoginResponse  Opcode = 0x23
	TextResponse   Opcode = 0x24
	DataIn         Opcode = 0x25
	LogoutResponse Opcode = 0x26
	R2T            Opcode = 0x31
	AsyncMessage   Opcode = 0x32
	Reject         Opcode = 0x3f
)

var opcodeNames = map[Opcode]string{
	NOPOut: "nop-out", SCSICommand: "scsi-command", TaskManagement: "task-management", Login: "login",
	Text: "text", DataOut: "data-out", Logout: "logout", SNACK: "snack", NOPIn: "nop-in",
	SCSIResponse: "scsi-response", TaskResponse: "task-response", LoginResponse: "login-response",
	TextResponse: "text-response", DataIn: "data-in", LogoutResponse: "logout-response", R2T: "r2t",
	AsyncMessage: "async-message", Reject: "reject",
}

// String returns the name that ParseFault takes, or the number in hex.
func (o Opcode) String() string {
	if s, ok := opcodeNames[o]; ok {
		return s
	}
	return fmt.Sprintf("0x%02x", uint8(o))
}

const bhsLen = 48

// PDU is what the framer knows of one PDU.
type PDU struct {
	Opcode  Opcode
	BHS     [bhsLen]byte
	DataLen int // bytes of the data segment, padding not counted
	Index   int // position in the direction's stream, from 0
	digests digests
}

type digests struct{ header, data bool }

// Final tells whether the F bit is set (RFC 7143 11.2.1.3).
func (p PDU) Final() bool { return p.BHS[1]&0x80 != 0 }

// Write tells whether p is a SCSI Command with the W bit (RFC 7143 11.3.1).
func (p PDU) Write() bool { return p.Opcode == SCSICommand && p.BHS[1]&0x20 != 0 }

// CDB returns the 16 bytes of the command block of a SCSI Command (RFC 7143 11.3.5).
func (p PDU) CDB() []byte { return p.BHS[32:48] }

// Len returns the length of the whole PDU with padding and digests in bytes.
func (p PDU) Len() int {
	n := p.headerLen() + (p.DataLen+3)&^3
	if p.digests.data && p.DataLen > 0 {
		n += 4
	}
	return n
}

// headerLen is the offset of the data segment.
func (p PDU) headerLen() int {
	n := p.segmentLen()
	if p.digests.header {
		n += 4
	}
	return n
}

// segmentLen is the length of basic and additional headers, without digest.
func (p PDU) segmentLen() int { return bhsLen + 4*int(p.BHS[4]) }
