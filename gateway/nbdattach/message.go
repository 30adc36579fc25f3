// SPDX-License-Identifier: Apache-2.0

package nbdattach

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The generic netlink family (include/uapi/linux/nbd-netlink.h).
const (
	familyName    = "nbd"
	familyVersion = 1
	groupName     = "nbd_mc_group"
)

// Its commands.
const (
	cmdConnect     = uint8(1)
	cmdDisconnect  = uint8(2)
	cmdReconfigure = uint8(3)
	cmdLinkDead    = uint8(4)
	cmdStatus      = uint8(5)
)

// Its attributes.
const (
	attrIndex       = 1
	attrSize        = 2
	attrBlockSize   = 3
	attrTimeout     = 4 // seconds
	attrServerFlags = 5
	attrClientFlags = 6
	attrSockets     = 7
	attrDeadTimeout = 8 // seconds
	attrDevices     = 9
	attrBackend     = 10

	attrSocketItem = 1 // in attrSockets
	attrSocketFD   = 1 // in attrSocketItem

	attrDeviceItem      = 1 // in attrDevices
	attrDeviceIndex     = 1 // in attrDeviceItem
	attrDeviceConnected = 2
)

// Client flags (include/uapi/linux/nbd.h).
const (
	clientDestroyOnDisconnect = uint64(1 << 0)
	clientDisconnectOnClose   = uint64(1 << 1)
)

// settings are what CONNECT and RECONFIGURE say. Zero fields are left out, but for the
// index of RECONFIGURE.
type settings struct {
	index       int // -1: any
	size        uint64
	blockSize   uint64
	timeout     uint64 // seconds
	deadTimeout uint64 // seconds
	flags       Flags
	clientFlags uint64
	backend     string
	sockets     []int
}

// data encodes s.
func (s *settings) data() []nl.NetlinkRequestData {
	var out []nl.NetlinkRequestData
	u64 := func(attr int, v uint64) {
		if v != 0 {
			out = append(out, nl.NewRtAttr(attr, nl.Uint64Attr(v)))
		}
	}
	if s.index >= 0 {
		out = append(out, nl.NewRtAttr(attrIndex, nl.Uint32Attr(uint32(s.index))))
	}
	u64(attrSize, s.size)
	u64(attrBlockSize, s.blockSize)
	u64(attrTimeout, s.timeout)
	u64(attrServerFlags, uint64(s.flags))
	u64(attrClientFlags, s.clientFlags)
	u64(attrDeadTimeout, s.deadTimeout)
	if s.backend != "" {
		out = append(out, nl.NewRtAttr(attrBackend, nl.ZeroTerminated(s.backend)))
	}
	if len(s.sockets) > 0 {
		list := nl.NewRtAttr(attrSockets|unix.NLA_F_NESTED, nil)
		for _, fd := range s.sockets {
			item := list.AddRtAttr(attrSocketItem|unix.NLA_F_NESTED, nil)
			item.AddRtAttr(attrSocketFD, nl.Uint32Attr(uint32(fd)))
		}
		out = append(out, list)
	}
	return out
}

// header begins a message of the family: command, version, and two bytes of zero, for
// which nl.Genlmsg takes what is in memory.
type header [nl.SizeofGenlmsg]byte

func (h header) Len() int          { return len(h) }
func (h header) Serialize() []byte { return h[:] }

// request makes a message of the family.
func request(family uint16, cmd uint8, data ...nl.NetlinkRequestData) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(int(family), unix.NLM_F_ACK)
	req.AddData(header{cmd, familyVersion})
	for _, d := range data {
		req.AddData(d)
	}
	return req
}

// typeMask leaves the flags of an attribute's type out (NLA_TYPE_MASK).
const typeMask = 0x3fff

var errMessage = errors.New("a netlink message of the nbd driver is not understood")

// attributes takes a message behind its netlink header, and gives its command and
// what it has of the first level.
func attributes(b []byte) (cmd uint8, attrs map[uint16][]byte, err error) {
	if len(b) < nl.SizeofGenlmsg {
		return 0, nil, fmt.Errorf("%w: %d bytes", errMessage, len(b))
	}
	attrs, err = nested(b[nl.SizeofGenlmsg:])
	return b[0], attrs, err
}

// nested gives attributes by type; of several of one type the last. What follows the
// last whole one is an error: nl.ParseRouteAttr panics at some of it.
func nested(b []byte) (map[uint16][]byte, error) {
	attrs := make(map[uint16][]byte)
	for len(b) > 0 {
		if len(b) < unix.SizeofNlAttr {
			return nil, fmt.Errorf("%w: %d bytes are left", errMessage, len(b))
		}
		n := int(nl.NativeEndian().Uint16(b))
		if n < unix.SizeofNlAttr || n > len(b) {
			return nil, fmt.Errorf("%w: an attribute of %d bytes, %d are left", errMessage, n, len(b))
		}
		attrs[nl.NativeEndian().Uint16(b[2:])&typeMask] = b[unix.SizeofNlAttr:n]
		b = b[min(len(b), (n+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1)):]
	}
	return attrs, nil
}

// number takes a 32-bit attribute.
func number(b []byte) (int, error) {
	if len(b) != 4 {
		return 0, fmt.Errorf("%w: a number of %d bytes", errMessage, len(b))
	}
	return int(nl.NativeEndian().Uint32(b)), nil
}

// decodeIndex takes the answer to CONNECT and LINK_DEAD.
func decodeIndex(b []byte, want uint8) (index int, err error) {
	cmd, attrs, err := attributes(b)
	if err == nil && cmd != want {
		err = fmt.Errorf("%w: command %d, want %d", errMessage, cmd, want)
	}
	if err != nil {
		return 0, err
	}
	return number(attrs[attrIndex])
}

// decodeStatus takes the answer to STATUS for one device; one that is not known is not
// connected.
func decodeStatus(b []byte) (connected bool, err error) {
	_, attrs, err := attributes(b)
	for _, level := range []uint16{attrDevices, attrDeviceItem} {
		if err == nil {
			attrs, err = nested(attrs[level])
		}
	}
	v := attrs[attrDeviceConnected]
	return len(v) == 1 && v[0] != 0, err
}
