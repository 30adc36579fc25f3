// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"encoding/binary"

	"github.com/pojntfx/go-nbd/pkg/protocol"
)

// Magic numbers (NBD proto.md "Newstyle negotiation", "Request message").
const (
	magicInit        = protocol.NEGOTIATION_MAGIC_OLDSTYLE
	magicOption      = protocol.NEGOTIATION_MAGIC_OPTION
	magicOptionReply = protocol.NEGOTIATION_MAGIC_REPLY
	magicRequest     = protocol.TRANSMISSION_MAGIC_REQUEST
	magicReply       = protocol.TRANSMISSION_MAGIC_REPLY

	magicStructuredReply = uint32(0x668e33ef)
	magicExtendedRequest = uint32(0x21e41c71)
	magicExtendedReply   = uint32(0x6e8a278c)
)

// Handshake flags, and the client flags that answer them.
const (
	flagFixedNewstyle = protocol.NEGOTIATION_HANDSHAKE_FLAG_FIXED_NEWSTYLE
	flagNoZeroes      = uint16(1 << 1)
)

// option is an option number (NBD proto.md "Option types").
type option uint32

const (
	optExportName option = 1
	optAbort      option = option(protocol.NEGOTIATION_ID_OPTION_ABORT)
	optList       option = option(protocol.NEGOTIATION_ID_OPTION_LIST)
	optStartTLS   option = 5
	optInfo       option = option(protocol.NEGOTIATION_ID_OPTION_INFO)
	optGo         option = option(protocol.NEGOTIATION_ID_OPTION_GO)

	optStructuredReply option = 8
	optListMetaContext option = 9
	optSetMetaContext  option = 10
	optExtendedHeaders option = 11
)

// replyType is the type of an option reply (NBD proto.md "Option reply types").
type replyType uint32

const (
	repAck         replyType = replyType(protocol.NEGOTIATION_TYPE_REPLY_ACK)
	repServer      replyType = replyType(protocol.NEGOTIATION_TYPE_REPLY_SERVER)
	repInfo        replyType = replyType(protocol.NEGOTIATION_TYPE_REPLY_INFO)
	repErrUnsup    replyType = replyType(protocol.NEGOTIATION_TYPE_REPLY_ERR_UNSUPPORTED)
	repErrPolicy   replyType = 1<<31 + 2
	repErrInvalid  replyType = 1<<31 + 3
	repErrTLSReqd  replyType = 1<<31 + 5
	repErrUnknown  replyType = replyType(protocol.NEGOTIATION_TYPE_REPLY_ERR_UNKNOWN)
	repErrShutdown replyType = 1<<31 + 7
	repErrTooBig   replyType = 1<<31 + 9

	repMetaContext       replyType = 4
	repErrExtHeadersReqd replyType = 1<<31 + 10
)

// Information types of INFO and GO.
const (
	infoExport      = protocol.NEGOTIATION_TYPE_INFO_EXPORT
	infoName        = protocol.NEGOTIATION_TYPE_INFO_NAME
	infoDescription = protocol.NEGOTIATION_TYPE_INFO_DESCRIPTION
	infoBlockSize   = protocol.NEGOTIATION_TYPE_INFO_BLOCKSIZE
)

// infoReconnects is no information type of the document, so that a server that does not
// know it passes it over. The client that asks for it, "pathgate attach", stands in front of
// a driver that gives an error to whoever waits for it, and sends again elsewhere what a
// closed connection left without an answer: after a stop its requests are not answered.
const infoReconnects = uint16(0x7067)

// txFlags describe an export (NBD proto.md "Transmission flags").
type txFlags uint16

const (
	txHasFlags        txFlags = txFlags(protocol.NEGOTIATION_REPLY_FLAGS_HAS_FLAGS)
	txReadOnly        txFlags = 1 << 1
	txSendFlush       txFlags = 1 << 2
	txSendFUA         txFlags = 1 << 3
	txRotational      txFlags = 1 << 4
	txSendTrim        txFlags = 1 << 5
	txSendWriteZeroes txFlags = 1 << 6
	txSendDF          txFlags = 1 << 7
	txCanMultiConn    txFlags = txFlags(protocol.NEGOTIATION_REPLY_FLAGS_CAN_MULTI_CONN)
	txSendResize      txFlags = 1 << 9
	txSendCache       txFlags = 1 << 10
	txSendFastZero    txFlags = 1 << 11
	txStatusPayload   txFlags = 1 << 12
)

// Commands (NBD proto.md "Request types").
const (
	cmdRead        = protocol.TRANSMISSION_TYPE_REQUEST_READ
	cmdWrite       = protocol.TRANSMISSION_TYPE_REQUEST_WRITE
	cmdDisc        = protocol.TRANSMISSION_TYPE_REQUEST_DISC
	cmdFlush       = uint16(3)
	cmdTrim        = uint16(4)
	cmdCache       = uint16(5)
	cmdWriteZeroes = uint16(6)
	cmdBlockStatus = uint16(7)
	cmdResize      = uint16(8)
)

// Command flags (NBD proto.md "Command flags").
const (
	cmdFlagFUA        = uint16(1 << 0)
	cmdFlagNoHole     = uint16(1 << 1)
	cmdFlagDF         = uint16(1 << 2)
	cmdFlagReqOne     = uint16(1 << 3)
	cmdFlagFastZero   = uint16(1 << 4)
	cmdFlagPayloadLen = uint16(1 << 5)
)

const (
	optionHeaderLen   = 16
	headerLen         = 28
	extendedHeaderLen = 32
	replyLen          = 16
)

// optionHeader begins every option.
type optionHeader struct {
	magic  uint64
	option option
	length uint32 // bytes of data that follow
}

// decodeOptionHeader takes the first optionHeaderLen bytes of b.
func decodeOptionHeader(b []byte) optionHeader {
	_ = b[optionHeaderLen-1]
	return optionHeader{
		magic:  binary.BigEndian.Uint64(b),
		option: option(binary.BigEndian.Uint32(b[8:])),
		length: binary.BigEndian.Uint32(b[12:]),
	}
}

// header is a request message without its payload. Offset and length are in
// bytes; cookie is the client's and means nothing here.
type header struct {
	magic      uint32
	flags, cmd uint16
	cookie     uint64
	offset     uint64
	length     uint64
	payload    uint64   // bytes that follow the header
	contexts   contexts // of a BLOCK_STATUS: what it asks
}

// decodeHeader takes the first headerLen bytes of b (NBD proto.md "Request
// message").
func decodeHeader(b []byte) header {
	_ = b[headerLen-1]
	h := decodeCommon(b)
	h.length = uint64(binary.BigEndian.Uint32(b[24:]))
	if h.cmd == cmdWrite {
		h.payload = h.length
	}
	return h
}

// decodeExtendedHeader takes the first extendedHeaderLen bytes of b (NBD
// extension-ext-header proto.md "Request message").
func decodeExtendedHeader(b []byte) header {
	_ = b[extendedHeaderLen-1]
	h := decodeCommon(b)
	h.length = binary.BigEndian.Uint64(b[24:])
	if h.flags&cmdFlagPayloadLen != 0 {
		h.payload = h.length
	}
	return h
}

func decodeCommon(b []byte) header {
	return header{
		magic:  binary.BigEndian.Uint32(b),
		flags:  binary.BigEndian.Uint16(b[4:]),
		cmd:    binary.BigEndian.Uint16(b[6:]),
		cookie: binary.BigEndian.Uint64(b[8:]),
		offset: binary.BigEndian.Uint64(b[16:]),
	}
}

// appendOptionReply adds the header of an option reply whose payload has n bytes.
func appendOptionReply(b []byte, o option, t replyType, n int) []byte {
	b = binary.BigEndian.AppendUint64(b, magicOptionReply)
	b = binary.BigEndian.AppendUint32(b, uint32(o))
	b = binary.BigEndian.AppendUint32(b, uint32(t))
	return binary.BigEndian.AppendUint32(b, uint32(n))
}
