// SPDX-License-Identifier: Apache-2.0

package scsi

import "encoding/binary"

// Parameter data of PERSISTENT RESERVE IN (SPC-4). All but the capabilities
// start with the PRGENERATION counter and a length.

const reserveInHeader = 8

// reserveIn returns the counter and the bytes behind the header.
func reserveIn(b []byte, object string) (generation uint32, rest []byte, err error) {
	if len(b) < reserveInHeader {
		return 0, nil, truncated(object, len(b), reserveInHeader)
	}
	n := reserveInHeader + uint64(binary.BigEndian.Uint32(b[4:]))
	if n > uint64(len(b)) {
		return 0, nil, truncated(object, len(b), int(min(n, 1<<31-1)))
	}
	return binary.BigEndian.Uint32(b), b[reserveInHeader:n], nil
}

func appendReserveIn(dst []byte, generation uint32, length int) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(dst, generation), uint32(length))
}

// RegisteredKeys is READ KEYS data. A key stands once for each nexus that
// registered it.
type RegisteredKeys struct {
	// Generation is PRGENERATION.
	Generation uint32
	// Keys in the target's order.
	Keys []uint64
}

// DecodeRegisteredKeys reads READ KEYS data.
func DecodeRegisteredKeys(b []byte) (RegisteredKeys, error) {
	gen, p, err := reserveIn(b, "READ KEYS data")
	if err != nil {
		return RegisteredKeys{}, err
	}
	if len(p)%8 != 0 {
		return RegisteredKeys{}, malformed("READ KEYS data", "length is no multiple of 8")
	}
	k := RegisteredKeys{Generation: gen}
	for ; len(p) > 0; p = p[8:] {
		k.Keys = append(k.Keys, binary.BigEndian.Uint64(p))
	}
	return k, nil
}

// Append appends READ KEYS data.
func (k RegisteredKeys) Append(dst []byte) []byte {
	dst = appendReserveIn(dst, k.Generation, 8*len(k.Keys))
	for _, key := range k.Keys {
		dst = binary.BigEndian.AppendUint64(dst, key)
	}
	return dst
}

// Reservation is READ RESERVATION data.
type Reservation struct {
	// Generation is PRGENERATION.
	Generation uint32
	// Held tells that there is a reservation; the rest is 0 else.
	Held bool
	// Key of the holder; 0 for the all-registrants types.
	Key uint64
	// Scope is 0, the logical unit.
	Scope uint8
	// Type of the reservation.
	Type ReservationType
}

const reservationBytes = 16

// DecodeReservation reads READ RESERVATION data.
func DecodeReservation(b []byte) (Reservation, error) {
	gen, p, err := reserveIn(b, "READ RESERVATION data")
	if err != nil {
		return Reservation{}, err
	}
	switch len(p) {
	case 0:
		return Reservation{Generation: gen}, nil
	case reservationBytes:
		return Reservation{
			Generation: gen, Held: true, Key: binary.BigEndian.Uint64(p),
			Scope: p[13] >> 4, Type: ReservationType(p[13] & 0x0f),
		}, nil
	default:
		return Reservation{}, malformed("READ RESERVATION data", "length is neither 0 nor 16")
	}
}

// Append appends READ RESERVATION data.
func (r Reservation) Append(dst []byte) []byte {
	if !r.Held {
		return appendReserveIn(dst, r.Generation, 0)
	}
	dst = appendReserveIn(dst, r.Generation, reservationBytes)
	dst = binary.BigEndian.AppendUint64(dst, r.Key)
	return append(dst, 0, 0, 0, 0, 0, r.Scope<<4|byte(r.Type)&0x0f, 0, 0)
}

// ReservationCapabilities is REPORT CAPABILITIES data.
type ReservationCapabilities struct {
	// ReplaceLost is RLR_C, CompatibleHandling CRH, SpecifyPorts SIP_C,
	// AllTargetPorts ATP_C.
	ReplaceLost, CompatibleHandling, SpecifyPorts, AllTargetPorts bool
	// PersistCapable (PTPL_C): APTPL is accepted. PersistActive (PTPL_A): the
	// reservations now survive a loss of power.
	PersistCapable, PersistActive bool
	// AllowCommands is the ALLOW COMMANDS field, 3 bits.
	AllowCommands uint8
	// Types that the target knows, if TypesValid (TMV).
	Types      ReservationTypes
	TypesValid bool
}

// ReservationTypes is a set of reservation types: bit n for type n.
type ReservationTypes uint16

// Has reports whether t is in the set.
func (s ReservationTypes) Has(t ReservationType) bool { return t < 16 && s&(1<<t) != 0 }

// ReservationTypesOf returns the set of the types.
func ReservationTypesOf(types ...ReservationType) (s ReservationTypes) {
	for _, t := range types {
		if t < 16 {
			s |= 1 << t
		}
	}
	return s
}

// The type mask has type n (1-7) at bit 8+n of its 16 bits, and type 8 at bit 0.
const (
	lowTypes ReservationTypes = 1<<WriteExclusive | 1<<ExclusiveAccess |
		1<<WriteExclusiveRegistrantsOnly | 1<<ExclusiveAccessRegistrantsOnly | 1<<WriteExclusiveAllRegistrants
	capability = 8
)

// DecodeReservationCapabilities reads REPORT CAPABILITIES data.
func DecodeReservationCapabilities(b []byte) (ReservationCapabilities, error) {
	const object = "REPORT CAPABILITIES data"
	if len(b) < capability {
		return ReservationCapabilities{}, truncated(object, len(b), capability)
	}
	if n := int(binary.BigEndian.Uint16(b)); n < capability {
		return ReservationCapabilities{}, malformed(object, "length below 8")
	}
	mask := binary.BigEndian.Uint16(b[4:])
	return ReservationCapabilities{
		ReplaceLost: b[2]&0x80 != 0, CompatibleHandling: b[2]&0x10 != 0, SpecifyPorts: b[2]&0x08 != 0,
		AllTargetPorts: b[2]&0x04 != 0, PersistCapable: b[2]&0x01 != 0,
		TypesValid: b[3]&0x80 != 0, AllowCommands: b[3] >> 4 & 7, PersistActive: b[3]&0x01 != 0,
		Types: ReservationTypes(mask>>8)&lowTypes | ReservationTypes(mask&1)<<ExclusiveAccessAllRegistrants,
	}, nil
}

// Append appends REPORT CAPABILITIES data (8 bytes).
func (c ReservationCapabilities) Append(dst []byte) []byte {
	mask := uint16(c.Types&lowTypes)<<8 | uint16(c.Types>>ExclusiveAccessAllRegistrants)&1
	return append(dst, 0, capability,
		bit(c.ReplaceLost, 0x80)|bit(c.CompatibleHandling, 0x10)|bit(c.SpecifyPorts, 0x08)|
			bit(c.AllTargetPorts, 0x04)|bit(c.PersistCapable, 0x01),
		bit(c.TypesValid, 0x80)|c.AllowCommands&7<<4|bit(c.PersistActive, 0x01),
		byte(mask>>8), byte(mask), 0, 0)
}

// Registration is one descriptor of READ FULL STATUS data.
type Registration struct {
	// Key that is registered.
	Key uint64
	// AllPorts (ALL_TG_PT): for every target port; else RelativePort names it.
	AllPorts     bool
	RelativePort uint16
	// Holder (R_HOLDER): it holds the reservation of Scope and Type.
	Holder bool
	Scope  uint8
	Type   ReservationType
	// Initiator that registered.
	Initiator TransportID
}

const fullStatusBytes = 24

// DecodeFullStatus reads READ FULL STATUS data.
func DecodeFullStatus(b []byte) (generation uint32, list []Registration, err error) {
	const object = "READ FULL STATUS data"
	generation, p, err := reserveIn(b, object)
	if err != nil {
		return 0, nil, err
	}
	for len(p) > 0 {
		if len(p) < fullStatusBytes {
			return 0, nil, malformed(object, "descriptor ends early")
		}
		n := fullStatusBytes + uint64(binary.BigEndian.Uint32(p[20:]))
		if n > uint64(len(p)) {
			return 0, nil, malformed(object, "TransportID ends early")
		}
		id, _, err := DecodeTransportID(p[fullStatusBytes:n])
		if err != nil {
			return 0, nil, err
		}
		r := Registration{
			Key: binary.BigEndian.Uint64(p), AllPorts: p[12]&0x02 != 0, Holder: p[12]&0x01 != 0,
			RelativePort: binary.BigEndian.Uint16(p[18:]), Initiator: id,
		}
		if r.Holder {
			r.Scope, r.Type = p[13]>>4, ReservationType(p[13]&0x0f)
		}
		list = append(list, r)
		p = p[n:]
	}
	return generation, list, nil
}

// AppendFullStatus appends READ FULL STATUS data.
func AppendFullStatus(dst []byte, generation uint32, list []Registration) []byte {
	at := len(dst)
	dst = appendReserveIn(dst, generation, 0)
	for _, r := range list {
		var b [fullStatusBytes]byte
		binary.BigEndian.PutUint64(b[:], r.Key)
		b[12] = bit(r.AllPorts, 0x02) | bit(r.Holder, 0x01)
		if r.Holder {
			b[13] = r.Scope<<4 | byte(r.Type)&0x0f
		}
		binary.BigEndian.PutUint16(b[18:], r.RelativePort)
		from := len(dst)
		dst = append(dst, b[:]...)
		dst = r.Initiator.Append(dst)
		binary.BigEndian.PutUint32(dst[from+20:], uint32(len(dst)-from-fullStatusBytes))
	}
	binary.BigEndian.PutUint32(dst[at+4:], uint32(len(dst)-at-reserveInHeader))
	return dst
}
