// SPDX-License-Identifier: Apache-2.0

package iscsi

import "strconv"

// Stage is a stage of the login phase, or the full feature phase. RFC 7143 11.12.3 (CSG and NSG).
type Stage uint8

// The stages; code 2 is reserved.
const (
	SecurityNegotiation    Stage = 0
	OperationalNegotiation Stage = 1
	FullFeaturePhase       Stage = 3
)

// String returns the RFC's name.
func (s Stage) String() string {
	switch s {
	case SecurityNegotiation:
		return "SecurityNegotiation"
	case OperationalNegotiation:
		return "LoginOperationalNegotiation"
	case FullFeaturePhase:
		return "FullFeaturePhase"
	}
	return "stage " + strconv.Itoa(int(s))
}

const (
	offVersionMax    = 2
	offVersionActive = 3 // Version-min in a request
	offISID          = 8
	offTSIH          = 14
	offCID           = 20
	offStatusClass   = 36
	stageMask        = 0x03
	shiftCSG         = 2
)

// loginFlags are T, C, CSG and NSG of both login PDUs. Next is 0 unless Transit.
type loginFlags struct {
	transit, more bool
	current, next Stage
}

func decodeLoginFlags(f byte) (loginFlags, error) {
	l := loginFlags{
		transit: f&bitFinal != 0,
		more:    f&bitContinue != 0,
		current: Stage(f >> shiftCSG & stageMask),
	}
	if l.transit {
		l.next = Stage(f & stageMask)
	}
	switch {
	case l.current > OperationalNegotiation:
		return loginFlags{}, fault(CodeFormat, "login PDU with current stage "+l.current.String())
	case l.transit && l.more:
		return loginFlags{}, fault(CodeFormat, "login PDU with both T and C")
	case l.transit && (l.next == 2 || l.next <= l.current):
		return loginFlags{}, fault(CodeFormat, "login PDU with next stage "+l.next.String()+" after "+l.current.String())
	}
	return l, nil
}

func (l loginFlags) encode() byte {
	f := flag(l.transit, bitFinal) | flag(l.more, bitContinue) | byte(l.current&stageMask)<<shiftCSG
	if l.transit {
		f |= byte(l.next & stageMask)
	}
	return f
}
