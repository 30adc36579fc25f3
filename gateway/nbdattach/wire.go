// SPDX-License-Identifier: Apache-2.0

package nbdattach

// Magic numbers and lengths (NBD proto.md "Newstyle negotiation").
const (
	magicInit        = uint64(0x4e42444d41474943) // "NBDMAGIC"
	magicOldstyle    = uint64(0x00420281861253)
	magicOption      = uint64(0x49484156454f5054) // "IHAVEOPT"
	magicOptionReply = uint64(0x3e889045565a9)

	greetingLen    = 18
	optionReplyLen = 20
)

// Handshake flags, which the client answers with the same bits.
const (
	flagFixedNewstyle = uint16(1 << 0)
	flagNoZeroes      = uint16(1 << 1)
)

// Options (NBD proto.md "Option types").
const (
	optAbort    = uint32(2)
	optStartTLS = uint32(5)
	optInfo     = uint32(6)
	optGo       = uint32(7)
)

// Option replies (NBD proto.md "Option reply types").
const (
	repAck         = uint32(1)
	repInfo        = uint32(3)
	repError       = uint32(1 << 31)
	repErrPolicy   = repError + 2
	repErrTLS      = repError + 5
	repErrUnknown  = repError + 6
	repErrShutdown = repError + 7
)

// Information types of INFO and GO.
const (
	infoExport    = uint16(0)
	infoBlockSize = uint16(3)
	// infoReconnects is known to the gateway's server alone (infoReconnects there): what
	// comes after its stop is not answered, since the driver would take ESHUTDOWN for an
	// error of the disk.
	infoReconnects = uint16(0x7067)
)

// Flags of an export (NBD proto.md "Transmission flags").
type Flags uint16

// Those that matter here.
const (
	HasFlags        Flags = 1 << 0
	ReadOnly        Flags = 1 << 1
	SendFlush       Flags = 1 << 2
	SendFUA         Flags = 1 << 3
	Rotational      Flags = 1 << 4
	SendTrim        Flags = 1 << 5
	SendWriteZeroes Flags = 1 << 6
	CanMultiConn    Flags = 1 << 8
)
