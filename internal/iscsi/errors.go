// SPDX-License-Identifier: Apache-2.0

package iscsi

import "strconv"

// ErrorCode says what rule an input broke. It is itself an error, so errors.Is(err, CodeFormat) selects by cause.
type ErrorCode uint8

// The causes of a ProtocolError.
const (
	// CodeFormat: illegal or contradictory contents of a header field, RFC 7143 7.7 (Format Errors). The session ends.
	CodeFormat ErrorCode = iota + 1
	// CodeOpcode: the opcode is unassigned or not the one the decoder was called for.
	CodeOpcode
	// CodeLength: DataSegmentLength is above the receiver's MaxRecvDataSegmentLength, or the bytes end too early.
	CodeLength
	// CodeAHS: an additional header segment is malformed or of an unknown type.
	CodeAHS
	// CodeHeaderDigest: the header digest is wrong; the lengths in the header cannot be trusted.
	CodeHeaderDigest
	// CodeDataDigest: the data digest is wrong; the header is intact.
	CodeDataDigest
	// CodeText: the bytes of a text segment are not well-formed key=value pairs, or exceed a limit.
	CodeText
	// CodeNegotiation: a key that is not allowed here, a value out of its range, a repeated key, a missing answer.
	CodeNegotiation
	// CodeMissingParameter: a key that the peer had to send is absent.
	CodeMissingParameter
	// CodeSessionType: SessionType is neither Normal nor Discovery.
	CodeSessionType
	// CodeAuthentication: the peer did not prove its identity, or no common method is acceptable.
	CodeAuthentication
	// CodeSetting: a value given by our own caller is out of range; no peer is to blame.
	CodeSetting
)

// Error returns the cause in words.
func (c ErrorCode) Error() string {
	switch c {
	case CodeFormat:
		return "format error"
	case CodeOpcode:
		return "unexpected opcode"
	case CodeLength:
		return "length error"
	case CodeAHS:
		return "additional header segment error"
	case CodeHeaderDigest:
		return "header digest error"
	case CodeDataDigest:
		return "data digest error"
	case CodeText:
		return "text format error"
	case CodeNegotiation:
		return "negotiation failure"
	case CodeMissingParameter:
		return "missing parameter"
	case CodeSessionType:
		return "unsupported session type"
	case CodeAuthentication:
		return "authentication failure"
	case CodeSetting:
		return "invalid setting"
	}
	return "error code " + strconv.Itoa(int(c))
}

// RejectReason returns the reason a target puts into a Reject PDU for this cause in the full feature phase.
// RFC 7143 11.17.1 (Reason). Causes that end the connection without a Reject return 0.
func (c ErrorCode) RejectReason() RejectReason {
	switch c {
	case CodeOpcode:
		return RejectCommandNotSupported
	case CodeAHS, CodeText, CodeNegotiation, CodeMissingParameter, CodeSessionType:
		return RejectProtocolError
	case CodeFormat:
		return RejectInvalidPDUField
	case CodeDataDigest:
		return RejectDataDigest
	case CodeLength, CodeHeaderDigest, CodeAuthentication, CodeSetting:
		return 0
	}
	return 0
}

// LoginStatus returns the status a target puts into the Login Response for this cause in the login phase.
// RFC 7143 11.13.5 (Status-Class and Status-Detail), 9.2 (In-Band Initiator-Target Authentication).
func (c ErrorCode) LoginStatus() LoginStatus {
	switch c {
	case CodeOpcode:
		return LoginInvalidDuringLogin
	case CodeMissingParameter:
		return LoginMissingParameter
	case CodeSessionType:
		return LoginSessionTypeNotSupported
	case CodeAuthentication:
		return LoginAuthenticationFailure
	case CodeSetting:
		return LoginTargetError
	case CodeFormat, CodeLength, CodeAHS, CodeHeaderDigest, CodeDataDigest, CodeText, CodeNegotiation:
		return LoginInitiatorError
	}
	return LoginInitiatorError
}

// ProtocolError is the only error type of this package. It carries no bytes of the peer beyond a key name that passed the
// syntax check, so it is safe to log and never holds a secret.
type ProtocolError struct {
	Code   ErrorCode
	Detail string // what was wrong, for a log line
}

// Error returns "iscsi: <cause>: <detail>".
func (e *ProtocolError) Error() string { return "iscsi: " + e.Code.Error() + ": " + e.Detail }

// Unwrap returns the code.
func (e *ProtocolError) Unwrap() error { return e.Code }

func fault(c ErrorCode, detail string) error { return &ProtocolError{Code: c, Detail: detail} }
