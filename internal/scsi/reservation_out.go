// SPDX-License-Identifier: Apache-2.0

package scsi

import "encoding/binary"

// ReserveParameters is the parameter list of PERSISTENT RESERVE OUT for every
// service action but REGISTER AND MOVE (SPC-4).
type ReserveParameters struct {
	// Key is the RESERVATION KEY of the sending nexus; ignored for
	// RegisterAndIgnore.
	Key uint64
	// ActionKey is the SERVICE ACTION RESERVATION KEY: the new key of a Register
	// (0 unregisters), the key to Preempt.
	ActionKey uint64
	// AllPorts (ALL_TG_PT): register on every target port.
	AllPorts bool
	// Persist (APTPL): keep registrations over a loss of power.
	Persist bool
	// Initiators (SPEC_I_PT): register these too; Register only. Nil = bit 0.
	Initiators []TransportID
}

const (
	reserveOutBytes = 24
	moveBytes       = 24
	maxReserveOut   = 4096 // longest list accepted, so that a peer cannot make us hold more
)

// Append appends the list: 24 bytes, and the TransportIDs if there are any.
func (p ReserveParameters) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, p.Key)
	dst = binary.BigEndian.AppendUint64(dst, p.ActionKey)
	dst = append(dst, 0, 0, 0, 0,
		bit(len(p.Initiators) > 0, 0x08)|bit(p.AllPorts, 0x04)|bit(p.Persist, 0x01), 0, 0, 0)
	if len(p.Initiators) == 0 {
		return dst
	}
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	for _, id := range p.Initiators {
		dst = id.Append(dst)
	}
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// DecodeReserveParameters reads the list. It must be exactly 24 bytes without
// SPEC_I_PT, and at most 4096 with it; else ErrTruncated or ErrMalformed
// (answer 5/1A/00).
func DecodeReserveParameters(b []byte) (ReserveParameters, error) {
	const object = "PERSISTENT RESERVE OUT list"
	if len(b) < reserveOutBytes {
		return ReserveParameters{}, truncated(object, len(b), reserveOutBytes)
	}
	p := ReserveParameters{
		Key: binary.BigEndian.Uint64(b), ActionKey: binary.BigEndian.Uint64(b[8:]),
		AllPorts: b[20]&0x04 != 0, Persist: b[20]&0x01 != 0,
	}
	if b[20]&0x08 == 0 {
		if len(b) != reserveOutBytes {
			return ReserveParameters{}, malformed(object, "longer than 24 bytes")
		}
		return p, nil
	}
	if len(b) > maxReserveOut {
		return ReserveParameters{}, malformed(object, "longer than 4096 bytes")
	}
	rest := b[reserveOutBytes:]
	if len(rest) < 4 {
		return ReserveParameters{}, truncated(object, len(rest), 4)
	}
	if n := uint64(binary.BigEndian.Uint32(rest)); n != uint64(len(rest)-4) {
		return ReserveParameters{}, truncated(object, len(rest)-4, int(min(n, 1<<31-1)))
	}
	for rest = rest[4:]; len(rest) > 0; {
		id, n, err := DecodeTransportID(rest)
		if err != nil {
			return ReserveParameters{}, err
		}
		p.Initiators = append(p.Initiators, id)
		rest = rest[n:]
	}
	return p, nil
}

// MoveParameters is the parameter list of REGISTER AND MOVE (SPC-4).
type MoveParameters struct {
	// Key is the RESERVATION KEY of the sending nexus, the holder.
	Key uint64
	// ActionKey is the key to register for the new holder; not 0.
	ActionKey uint64
	// Unregister (UNREG): the sender loses its registration.
	Unregister bool
	// Persist (APTPL): as in ReserveParameters.
	Persist bool
	// RelativePort and Initiator name the nexus that gets the reservation.
	RelativePort uint16
	Initiator    TransportID
}

// Append appends the list.
func (m MoveParameters) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, m.Key)
	dst = binary.BigEndian.AppendUint64(dst, m.ActionKey)
	dst = append(dst, 0, bit(m.Unregister, 0x02)|bit(m.Persist, 0x01), byte(m.RelativePort>>8), byte(m.RelativePort))
	at := len(dst)
	dst = m.Initiator.Append(append(dst, 0, 0, 0, 0))
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// DecodeMoveParameters reads the list; its TransportID must fill it.
func DecodeMoveParameters(b []byte) (MoveParameters, error) {
	const object = "REGISTER AND MOVE list"
	if len(b) < moveBytes {
		return MoveParameters{}, truncated(object, len(b), moveBytes)
	}
	if n := uint64(binary.BigEndian.Uint32(b[20:])); n != uint64(len(b)-moveBytes) {
		return MoveParameters{}, truncated(object, len(b)-moveBytes, int(min(n, 1<<31-1)))
	}
	id, n, err := DecodeTransportID(b[moveBytes:])
	if err != nil {
		return MoveParameters{}, err
	}
	if n != len(b)-moveBytes {
		return MoveParameters{}, malformed(object, "bytes behind the TransportID")
	}
	return MoveParameters{
		Key: binary.BigEndian.Uint64(b), ActionKey: binary.BigEndian.Uint64(b[8:]),
		Unregister: b[17]&0x02 != 0, Persist: b[17]&0x01 != 0,
		RelativePort: binary.BigEndian.Uint16(b[18:]), Initiator: id,
	}, nil
}
