// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"encoding/binary"
	"fmt"
	"time"
)

// AccessState is an asymmetric access state (SPC-4, REPORT TARGET PORT GROUPS).
type AccessState uint8

// Asymmetric access states.
const (
	ActiveOptimized    AccessState = 0x0
	ActiveNonOptimized AccessState = 0x1
	Standby            AccessState = 0x2
	Unavailable        AccessState = 0x3
	LBADependent       AccessState = 0x4 // logical block dependent
	Offline            AccessState = 0xe
	Transitioning      AccessState = 0xf
)

// String returns the state in words, or its number.
func (s AccessState) String() string {
	switch s {
	case ActiveOptimized:
		return "active/optimized"
	case ActiveNonOptimized:
		return "active/non-optimized"
	case Standby:
		return "standby"
	case Unavailable:
		return "unavailable"
	case LBADependent:
		return "lba-dependent"
	case Offline:
		return "offline"
	case Transitioning:
		return "transitioning"
	default:
		return fmt.Sprintf("access state %Xh", uint8(s))
	}
}

// AccessStates is a set of access states, as in byte 1 of a group descriptor.
type AccessStates uint8

// Bits of AccessStates.
const (
	SupportsActiveOptimized    AccessStates = 0x01
	SupportsActiveNonOptimized AccessStates = 0x02
	SupportsStandby            AccessStates = 0x04
	SupportsUnavailable        AccessStates = 0x08
	SupportsLBADependent       AccessStates = 0x10
	SupportsOffline            AccessStates = 0x40
	SupportsTransitioning      AccessStates = 0x80
)

// Values of PortGroup.Status.
const (
	StatusNone             uint8 = 0 // no status, or not told
	StatusBySetPortGroups  uint8 = 1 // changed by SET TARGET PORT GROUPS
	StatusByImplicitChange uint8 = 2 // changed by the target itself
)

// PortGroup is one target port group of REPORT TARGET PORT GROUPS data.
type PortGroup struct {
	// ID is the TARGET PORT GROUP.
	ID uint16
	// State of all its ports.
	State AccessState
	// Preferred (PREF): the target would rather be used through it.
	Preferred bool
	// Supported states.
	Supported AccessStates
	// Status tells why State is what it is; Vendor is vendor specific.
	Status, Vendor uint8
	// Ports are relative target port identifiers, at most 255.
	Ports []uint16
}

const (
	portGroupHeader    = 8
	portGroupPort      = 4
	extendedHeaderMask = 0x70 // RTPG_FMT: 001b marks the extended header
	extendedHeaderCode = 0x10
)

// DecodePortGroups reads REPORT TARGET PORT GROUPS data with either header.
// transition is the IMPLICIT TRANSITION TIME of the extended header, 0 if it is
// not told. Groups with the same ID are passed on as sent.
func DecodePortGroups(b []byte) (groups []PortGroup, transition time.Duration, err error) {
	const object = "REPORT TARGET PORT GROUPS data"
	if len(b) < 4 {
		return nil, 0, truncated(object, len(b), 4)
	}
	n := 4 + uint64(binary.BigEndian.Uint32(b))
	if n > uint64(len(b)) {
		return nil, 0, truncated(object, len(b), int(min(n, 1<<31-1)))
	}
	p := b[4:n]
	extended := false
	if len(p) >= 4 && p[0]&extendedHeaderMask == extendedHeaderCode {
		transition = time.Duration(p[1]) * time.Second
		p, extended = p[4:], true
	}
	for len(p) > 0 {
		// Linux' target does not count the extended header, and leaves out as much of
		// the last group: of its port list, or of a group without ports.
		cut := extended && len(p) == 4
		if len(p) < portGroupHeader && !cut {
			return nil, 0, malformed(object, "group ends early")
		}
		size := 4
		if !cut {
			size = portGroupHeader + portGroupPort*int(p[7])
		}
		if extended && size == len(p)+portGroupPort {
			cut, size = true, len(p)
		}
		if size > len(p) {
			return nil, 0, malformed(object, "port list ends early")
		}
		groups = append(groups, decodePortGroup(p[:size], cut))
		p = p[size:]
	}
	return groups, transition, nil
}

// decodePortGroup reads one group. A cut one has no ports: its list is not whole.
func decodePortGroup(p []byte, cut bool) PortGroup {
	g := PortGroup{
		State: AccessState(p[0] & 0x0f), Preferred: p[0]&0x80 != 0, Supported: AccessStates(p[1]),
		ID: binary.BigEndian.Uint16(p[2:]),
	}
	if len(p) >= portGroupHeader {
		g.Status, g.Vendor = p[5], p[6]
	}
	if cut {
		return g
	}
	for p = p[portGroupHeader:]; len(p) > 0; p = p[portGroupPort:] {
		g.Ports = append(g.Ports, binary.BigEndian.Uint16(p[2:]))
	}
	return g
}

// AppendPortGroups appends REPORT TARGET PORT GROUPS data, with the extended
// header if extended; transition is rounded down to whole seconds, at most 255.
// Ports behind the 255th of a group are cut.
func AppendPortGroups(dst []byte, groups []PortGroup, extended bool, transition time.Duration) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	if extended {
		dst = append(dst, extendedHeaderCode, byte(min(max(transition/time.Second, 0), 255)), 0, 0)
	}
	for _, g := range groups {
		ports := g.Ports[:min(len(g.Ports), 255)]
		dst = append(dst, bit(g.Preferred, 0x80)|byte(g.State)&0x0f, byte(g.Supported), byte(g.ID>>8), byte(g.ID),
			0, g.Status, g.Vendor, byte(len(ports)))
		for _, p := range ports {
			dst = append(dst, 0, 0, byte(p>>8), byte(p))
		}
	}
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// SetPortGroup is one entry of SET TARGET PORT GROUPS.
type SetPortGroup struct {
	// ID is the group, State the one that it shall get.
	ID    uint16
	State AccessState
}

// AppendSetPortGroups appends the parameter list of SET TARGET PORT GROUPS.
func AppendSetPortGroups(dst []byte, list []SetPortGroup) []byte {
	dst = append(dst, 0, 0, 0, 0)
	for _, g := range list {
		dst = append(dst, byte(g.State)&0x0f, 0, byte(g.ID>>8), byte(g.ID))
	}
	return dst
}

// setPortGroupBytes is the length of one entry, and of the header.
const setPortGroupBytes = 4

// DecodeSetPortGroupList reads the parameter list of SET TARGET PORT GROUPS.
func DecodeSetPortGroupList(b []byte) ([]SetPortGroup, error) {
	const object = "SET TARGET PORT GROUPS list"
	if len(b) < setPortGroupBytes || len(b)%setPortGroupBytes != 0 {
		return nil, truncated(object, len(b), setPortGroupBytes+len(b)/setPortGroupBytes*setPortGroupBytes)
	}
	var list []SetPortGroup
	for p := b[setPortGroupBytes:]; len(p) > 0; p = p[setPortGroupBytes:] {
		list = append(list, SetPortGroup{ID: binary.BigEndian.Uint16(p[2:]), State: AccessState(p[0] & 0x0f)})
	}
	return list, nil
}
