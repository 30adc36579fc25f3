// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"encoding/binary"
	"fmt"
)

// SupportedCommand is one descriptor of REPORT SUPPORTED OPERATION CODES data
// for all commands (SPC-4).
type SupportedCommand struct {
	// Opcode of the command, and its service action if HasAction (SERVACTV).
	Opcode    Opcode
	Action    uint16
	HasAction bool
	// CDBBytes is the length of the CDB.
	CDBBytes uint16
	// HasTimeouts (CTDP): a timeouts descriptor follows; NominalSeconds and
	// RecommendedSeconds count then, 0 = not told.
	HasTimeouts                        bool
	NominalSeconds, RecommendedSeconds uint32
}

const (
	commandDescriptor  = 8
	timeoutsDescriptor = 12
)

// DecodeSupportedCommands reads the data for all commands.
func DecodeSupportedCommands(b []byte) ([]SupportedCommand, error) {
	const object = "REPORT SUPPORTED OPERATION CODES data"
	if len(b) < 4 {
		return nil, truncated(object, len(b), 4)
	}
	n := 4 + uint64(binary.BigEndian.Uint32(b))
	if n > uint64(len(b)) {
		return nil, truncated(object, len(b), int(min(n, 1<<31-1)))
	}
	var list []SupportedCommand
	for p := b[4:n]; len(p) > 0; {
		size := commandDescriptor
		if len(p) >= commandDescriptor && p[5]&0x02 != 0 {
			size += timeoutsDescriptor
		}
		if len(p) < size {
			return nil, malformed(object, "descriptor ends early")
		}
		c := SupportedCommand{
			Opcode: Opcode(p[0]), Action: binary.BigEndian.Uint16(p[2:]), HasAction: p[5]&0x01 != 0,
			CDBBytes: binary.BigEndian.Uint16(p[6:]), HasTimeouts: p[5]&0x02 != 0,
		}
		if c.HasTimeouts {
			if err := c.setTimeouts(p[commandDescriptor:size]); err != nil {
				return nil, err
			}
		}
		list = append(list, c)
		p = p[size:]
	}
	return list, nil
}

func (c *SupportedCommand) setTimeouts(p []byte) error {
	if n := binary.BigEndian.Uint16(p); n != timeoutsDescriptor-2 {
		return fmt.Errorf("command timeouts descriptor: length %d: %w", n, ErrMalformed)
	}
	c.NominalSeconds, c.RecommendedSeconds = binary.BigEndian.Uint32(p[4:]), binary.BigEndian.Uint32(p[8:])
	return nil
}

// AppendSupportedCommands appends the data for all commands.
func AppendSupportedCommands(dst []byte, list []SupportedCommand) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	for _, c := range list {
		dst = append(dst, byte(c.Opcode), 0, byte(c.Action>>8), byte(c.Action), 0,
			bit(c.HasTimeouts, 0x02)|bit(c.HasAction, 0x01), byte(c.CDBBytes>>8), byte(c.CDBBytes))
		if c.HasTimeouts {
			dst = c.appendTimeouts(dst)
		}
	}
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

func (c SupportedCommand) appendTimeouts(dst []byte) []byte {
	dst = append(dst, 0, timeoutsDescriptor-2, 0, 0)
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(dst, c.NominalSeconds), c.RecommendedSeconds)
}

// Values of CommandSupport.Support.
const (
	SupportUnknown     uint8 = 0 // data not available now
	NotSupported       uint8 = 1
	SupportedStandard  uint8 = 3 // in conformance with the standard
	SupportedByVendor  uint8 = 5 // in a vendor specific way
	maxUsageBytes            = 16
	oneCommandHeader         = 4
	supportMask              = 0x07
	timeoutsPresentBit       = 0x80
)

// CommandSupport is REPORT SUPPORTED OPERATION CODES data for one command.
type CommandSupport struct {
	// Support tells whether the command is supported.
	Support uint8
	// CDBBytes is the length of the CDB; Usage its map: a bit is set where the
	// target looks at the CDB's bit, byte 0 is the operation code.
	CDBBytes int
	Usage    [maxUsageBytes]byte
}

// DecodeCommandSupport reads the data for one command. Without support there is
// no usage map. A CDB above 16 bytes is ErrMalformed. Timeouts behind the map
// are passed over.
func DecodeCommandSupport(b []byte) (CommandSupport, error) {
	const object = "REPORT SUPPORTED OPERATION CODES data"
	if len(b) < oneCommandHeader {
		return CommandSupport{}, truncated(object, len(b), oneCommandHeader)
	}
	c := CommandSupport{Support: b[1] & supportMask, CDBBytes: int(binary.BigEndian.Uint16(b[2:]))}
	if c.Support != SupportedStandard && c.Support != SupportedByVendor {
		c.CDBBytes = 0
		return c, nil
	}
	need := oneCommandHeader + c.CDBBytes
	if b[1]&timeoutsPresentBit != 0 {
		need += timeoutsDescriptor
	}
	switch {
	case c.CDBBytes > maxUsageBytes:
		return CommandSupport{}, malformed(object, "CDB above 16 bytes")
	case need > len(b):
		return CommandSupport{}, truncated(object, len(b), need)
	}
	copy(c.Usage[:c.CDBBytes], b[oneCommandHeader:])
	return c, nil
}

// Append appends the data for one command, without timeouts.
func (c CommandSupport) Append(dst []byte) []byte {
	n := min(max(c.CDBBytes, 0), maxUsageBytes)
	dst = append(dst, 0, c.Support&supportMask, byte(n>>8), byte(n))
	return append(dst, c.Usage[:n]...)
}
