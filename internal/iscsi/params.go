// SPDX-License-Identifier: Apache-2.0

package iscsi

// Digest is a digest algorithm. RFC 7143 13.1 (HeaderDigest and DataDigest).
type Digest uint8

// The digests.
const (
	DigestNone Digest = iota
	DigestCRC32C
)

// String returns the name used on the wire.
func (d Digest) String() string {
	if d == DigestCRC32C {
		return "CRC32C"
	}
	return ValueNone
}

// SessionType tells what a session is for. RFC 7143 13.21 (SessionType).
type SessionType uint8

// The session types.
const (
	NormalSession SessionType = iota
	DiscoverySession
)

// String returns the name used on the wire.
func (s SessionType) String() string {
	if s == DiscoverySession {
		return "Discovery"
	}
	return "Normal"
}

// TaskReporting is the semantics of multi-task aborts. RFC 7143 13.23 (TaskReporting).
type TaskReporting uint8

// The task reporting semantics.
const (
	ReportRFC3720 TaskReporting = iota
	ReportResponseFence
	ReportFastAbort
)

// String returns the name used on the wire.
func (t TaskReporting) String() string {
	switch t {
	case ReportRFC3720:
		return "RFC3720"
	case ReportResponseFence:
		return "ResponseFence"
	case ReportFastAbort:
		return "FastAbort"
	}
	return "TaskReporting?"
}

// Settings are what one side wants of a negotiation. Numbers that the result function bounds (Minimum, Maximum) are the
// most, or least, that this side accepts; booleans are what it would choose. Start from DefaultSettings: most zero values
// are out of range.
type Settings struct {
	SessionType   SessionType // initiator
	InitiatorName string      // initiator, mandatory
	TargetName    string      // initiator, mandatory in a normal session

	InitiatorAlias string // initiator; empty: not sent
	TargetAlias    string // target; empty: not sent

	// TargetPortalGroupTag is sent by a target in its first response.
	TargetPortalGroupTag uint16

	// AddedConnection is set when the connection joins an existing session: session-wide keys then belong to the first
	// connection and may not be negotiated.
	AddedConnection bool

	// HeaderDigest and DataDigest are the acceptable algorithms in order of preference; empty means DigestNone alone.
	HeaderDigest []Digest
	DataDigest   []Digest

	MaxConnections           uint16 // 1-65535, Minimum
	InitialR2T               bool   // OR
	ImmediateData            bool   // AND
	MaxRecvDataSegmentLength uint32 // bytes we can receive, 512 to 2^24-1, declared
	MaxBurstLength           uint32 // bytes, 512 to 2^24-1, Minimum
	FirstBurstLength         uint32 // bytes, 512 to 2^24-1, Minimum, not above MaxBurstLength
	DefaultTime2Wait         uint16 // seconds, 0-3600, Maximum
	DefaultTime2Retain       uint16 // seconds, 0-3600, Minimum
	MaxOutstandingR2T        uint16 // 1-65535, Minimum
	DataPDUInOrder           bool   // OR
	DataSequenceInOrder      bool   // OR
	ErrorRecoveryLevel       uint8  // 0-2, Minimum

	// TaskReporting are the acceptable semantics in order of preference; empty means ReportRFC3720, and the key is not
	// proposed, because targets older than RFC 5048 do not know it.
	TaskReporting []TaskReporting

	// ProtocolLevel is the iSCSIProtocolLevel, 0-31, Minimum. At the default of 1 the key is not proposed.
	ProtocolLevel uint8
}

// DefaultSettings returns the defaults of RFC 7143 section 13. They negotiate with every peer.
func DefaultSettings() Settings {
	return Settings{
		MaxConnections:           1,
		InitialR2T:               true,
		ImmediateData:            true,
		MaxRecvDataSegmentLength: DefaultMaxRecvDataSegmentLength,
		MaxBurstLength:           262144,
		FirstBurstLength:         65536,
		DefaultTime2Wait:         2,
		DefaultTime2Retain:       20,
		MaxOutstandingR2T:        1,
		DataPDUInOrder:           true,
		DataSequenceInOrder:      true,
		ProtocolLevel:            1,
	}
}

// Params are the outcome of a negotiation: what both sides must now obey.
type Params struct {
	SessionType    SessionType
	InitiatorName  string
	TargetName     string
	InitiatorAlias string // for display only
	TargetAlias    string // for display only

	// TargetPortalGroupTag is that of the portal group that serves the login; HasTargetPortalGroupTag tells whether the
	// target sent it, as it must in a normal session.
	TargetPortalGroupTag    uint16
	HasTargetPortalGroupTag bool

	HeaderDigest Digest
	DataDigest   Digest

	MaxConnections uint16
	InitialR2T     bool // write data must wait for an R2T (but for immediate data)
	ImmediateData  bool // a command may carry data

	MaxRecvDataSegmentLength uint32 // bytes: the longest data segment the peer may send to us
	MaxSendDataSegmentLength uint32 // bytes: the longest data segment we may send to the peer

	MaxBurstLength      uint32 // bytes in one sequence of Data-In, or of Data-Out that answers one R2T
	FirstBurstLength    uint32 // bytes of unsolicited data per command, immediate data included; never above MaxBurstLength
	DefaultTime2Wait    uint16 // seconds
	DefaultTime2Retain  uint16 // seconds
	MaxOutstandingR2T   uint16 // per task
	DataPDUInOrder      bool
	DataSequenceInOrder bool
	ErrorRecoveryLevel  uint8
	TaskReporting       TaskReporting
	ProtocolLevel       uint8
}

// RecvFraming returns the framing of PDUs that the peer sends in the full feature phase.
func (p *Params) RecvFraming() Framing {
	return Framing{p.HeaderDigest == DigestCRC32C, p.DataDigest == DigestCRC32C, p.MaxRecvDataSegmentLength}
}

// SendFraming returns the framing of PDUs that we send in the full feature phase.
func (p *Params) SendFraming() Framing {
	return Framing{p.HeaderDigest == DigestCRC32C, p.DataDigest == DigestCRC32C, p.MaxSendDataSegmentLength}
}
