// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// TransportID names an initiator (SPC-4, TransportID): for iSCSI its name, or
// its port: the name and the ISID of a session.
type TransportID struct {
	// Protocol is the protocol identifier; 5 = iSCSI. Other protocols decode
	// with Protocol alone.
	Protocol uint8
	// Name is the iSCSI name.
	Name string
	// ISID counts if HasISID (format 01b).
	ISID    [6]byte
	HasISID bool
}

const (
	transportIDHeader   = 4
	transportIDOther    = 24 // length of a TransportID of any protocol but iSCSI
	minISCSIIDBytes     = 20 // ADDITIONAL LENGTH of an iSCSI TransportID
	maxISCSIName        = 223
	isidSeparator       = ",i,0x"
	transportFormatPort = 1
)

// DecodeTransportID reads the TransportID at the start of b and returns its
// length in bytes. A name that is not ended, or not followed by an ISID where it
// should be, is ErrMalformed.
func DecodeTransportID(b []byte) (TransportID, int, error) {
	if len(b) < transportIDHeader {
		return TransportID{}, 0, truncated("TransportID", len(b), transportIDHeader)
	}
	id, format := TransportID{Protocol: b[0] & 0x0f}, b[0]>>6
	n := transportIDOther
	if id.Protocol == ProtocolISCSI {
		n = transportIDHeader + int(binary.BigEndian.Uint16(b[2:]))
	}
	switch {
	case n > len(b):
		return TransportID{}, 0, truncated("TransportID", len(b), n)
	case id.Protocol != ProtocolISCSI:
		return id, n, nil
	case n < transportIDHeader+minISCSIIDBytes || n%4 != 0:
		return TransportID{}, 0, malformed("TransportID", "bad length")
	}
	name, pad, ok := bytes.Cut(b[transportIDHeader:n], []byte{0})
	if !ok || !zero(pad) {
		return TransportID{}, 0, malformed("TransportID", "name is not ended")
	}
	id.Name = string(name)
	switch format {
	case 0:
	case transportFormatPort:
		base, isid, ok := strings.Cut(id.Name, isidSeparator)
		raw, err := hex.DecodeString(isid)
		if !ok || err != nil || len(raw) != len(id.ISID) {
			return TransportID{}, 0, malformed("TransportID", "no ISID")
		}
		id.Name, id.HasISID = base, true
		copy(id.ISID[:], raw)
	default:
		return TransportID{}, 0, malformed("TransportID", "unknown format")
	}
	if id.Name == "" || len(id.Name) > maxISCSIName {
		return TransportID{}, 0, malformed("TransportID", "name length")
	}
	return id, n, nil
}

// Append appends an iSCSI TransportID. Other protocols append 24 bytes with the
// protocol identifier alone. The name must have 1 to 223 bytes without NUL.
func (id TransportID) Append(dst []byte) []byte {
	if id.Protocol != ProtocolISCSI {
		var b [transportIDOther]byte
		b[0] = id.Protocol & 0x0f
		return append(dst, b[:]...)
	}
	name, format := id.Name, byte(0)
	if id.HasISID {
		name, format = fmt.Sprintf("%s%s%x", id.Name, isidSeparator, id.ISID[:]), transportFormatPort
	}
	n := max((len(name)+1+3)&^3, minISCSIIDBytes)
	dst = append(dst, format<<6|ProtocolISCSI, 0, byte(n>>8), byte(n))
	dst = append(dst, name...)
	return append(dst, make([]byte, n-len(name))...)
}
