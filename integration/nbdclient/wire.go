// SPDX-License-Identifier: Apache-2.0

package nbdclient

import (
	"encoding/binary"
	"fmt"
)

// Magic numbers of the handshake and of the messages (NBD proto.md "Values").
const (
	MagicInit            = 0x4e42444d41474943 // "NBDMAGIC"
	MagicOption          = 0x49484156454f5054 // "IHAVEOPT"
	MagicOptionReply     = 0x0003e889045565a9
	MagicRequest         = 0x25609513
	MagicSimpleReply     = 0x67446698
	MagicStructuredReply = 0x668e33ef
	MagicExtendedRequest = 0x21e41c71
	MagicExtendedReply   = 0x6e8a278c
)

// Handshake flags of the server and client flags (NBD proto.md "Flag fields").
const (
	FixedNewstyle = 1 << 0
	NoZeroes      = 1 << 1
)

// TransmissionFlags are the 16 bits that describe an export
// (NBD proto.md "Transmission flags").
type TransmissionFlags uint16

// Bits of TransmissionFlags.
const (
	HasFlags        TransmissionFlags = 1 << 0
	ReadOnly        TransmissionFlags = 1 << 1
	SendFlush       TransmissionFlags = 1 << 2
	SendFUA         TransmissionFlags = 1 << 3
	Rotational      TransmissionFlags = 1 << 4
	SendTrim        TransmissionFlags = 1 << 5
	SendWriteZeroes TransmissionFlags = 1 << 6
	SendDF          TransmissionFlags = 1 << 7
	CanMultiConn    TransmissionFlags = 1 << 8
	SendResize      TransmissionFlags = 1 << 9
	SendCache       TransmissionFlags = 1 << 10
	SendFastZero    TransmissionFlags = 1 << 11
	StatusPayload   TransmissionFlags = 1 << 12
)

// Option numbers (NBD proto.md "Option types").
const (
	OptExportName      = 1
	OptAbort           = 2
	OptList            = 3
	OptStartTLS        = 5
	OptInfo            = 6
	OptGo              = 7
	OptStructuredReply = 8
	OptListMetaContext = 9
	OptSetMetaContext  = 10
	OptExtendedHeaders = 11
)

// Option reply types (NBD proto.md "Option reply types"). Errors have bit 31 set.
const (
	RepAck               = 1
	RepServer            = 2
	RepInfo              = 3
	RepMetaContext       = 4
	RepErr               = 1 << 31
	RepErrUnsup          = RepErr + 1
	RepErrPolicy         = RepErr + 2
	RepErrInvalid        = RepErr + 3
	RepErrPlatform       = RepErr + 4
	RepErrTLSReqd        = RepErr + 5
	RepErrUnknown        = RepErr + 6
	RepErrShutdown       = RepErr + 7
	RepErrBlockSizeReqd  = RepErr + 8
	RepErrTooBig         = RepErr + 9
	RepErrExtHeadersReqd = RepErr + 10
)

// Information types of NBD_REP_INFO (NBD proto.md "NBD_OPT_INFO").
const (
	InfoExport      = 0
	InfoName        = 1
	InfoDescription = 2
	InfoBlockSize   = 3
)

// Command is a request type of the transmission phase (NBD proto.md "Request types").
type Command uint16

// Request types.
const (
	CmdRead        Command = 0
	CmdWrite       Command = 1
	CmdDisc        Command = 2
	CmdFlush       Command = 3
	CmdTrim        Command = 4
	CmdCache       Command = 5
	CmdWriteZeroes Command = 6
	CmdBlockStatus Command = 7
	CmdResize      Command = 8 // of branch extension-resize: Offset is the new size
)

// String returns the name of the command as the protocol text writes it.
func (c Command) String() string {
	names := [...]string{"READ", "WRITE", "DISC", "FLUSH", "TRIM", "CACHE", "WRITE_ZEROES", "BLOCK_STATUS", "RESIZE"}
	if int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("command %d", uint16(c))
}

// Flags are the command flags of a request (NBD proto.md "Command flags").
type Flags uint16

// Command flags.
const (
	FlagFUA        Flags = 1 << 0
	FlagNoHole     Flags = 1 << 1
	FlagDF         Flags = 1 << 2
	FlagReqOne     Flags = 1 << 3
	FlagFastZero   Flags = 1 << 4
	FlagPayloadLen Flags = 1 << 5
)

// Errno is the error field of a reply (NBD proto.md "Error values"). It is an
// error, so tests write errors.Is(err, nbdclient.ENOSPC).
type Errno uint32

// Error values that the protocol defines.
const (
	EPERM     Errno = 1
	EIO       Errno = 5
	ENOMEM    Errno = 12
	EINVAL    Errno = 22
	ENOSPC    Errno = 28
	EOVERFLOW Errno = 75
	ENOTSUP   Errno = 95
	ESHUTDOWN Errno = 108
)

// Error returns the symbolic name of e, or its number when the protocol has none.
func (e Errno) Error() string {
	switch e {
	case EPERM:
		return "EPERM"
	case EIO:
		return "EIO"
	case ENOMEM:
		return "ENOMEM"
	case EINVAL:
		return "EINVAL"
	case ENOSPC:
		return "ENOSPC"
	case EOVERFLOW:
		return "EOVERFLOW"
	case ENOTSUP:
		return "ENOTSUP"
	case ESHUTDOWN:
		return "ESHUTDOWN"
	default:
		return fmt.Sprintf("NBD error %d", uint32(e))
	}
}

const (
	requestLen     = 28
	simpleReplyLen = 16
)

// Request is one request header. Length is in bytes; the payload of a WRITE
// follows the header on the wire and is not part of it.
type Request struct {
	Magic  uint32 // 0 = MagicRequest
	Flags  Flags
	Cmd    Command
	Cookie uint64
	Offset uint64
	Length uint32
}

// Append adds the 28 bytes of r to b (NBD proto.md "Request message").
func (r Request) Append(b []byte) []byte {
	if r.Magic == 0 {
		r.Magic = MagicRequest
	}
	b = binary.BigEndian.AppendUint32(b, r.Magic)
	b = binary.BigEndian.AppendUint16(b, uint16(r.Flags))
	b = binary.BigEndian.AppendUint16(b, uint16(r.Cmd))
	b = binary.BigEndian.AppendUint64(b, r.Cookie)
	b = binary.BigEndian.AppendUint64(b, r.Offset)
	return binary.BigEndian.AppendUint32(b, r.Length)
}
