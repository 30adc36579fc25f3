// SPDX-License-Identifier: Apache-2.0

package iscsi

import "fmt"

// LoginStatus is Status-Class and Status-Detail of a Login Response. RFC 7143 11.13.5 (Status-Class and Status-Detail).
type LoginStatus uint16

// The login statuses.
const (
	LoginSuccess                 LoginStatus = 0x0000
	LoginTargetMovedTemporarily  LoginStatus = 0x0101
	LoginTargetMovedPermanently  LoginStatus = 0x0102
	LoginInitiatorError          LoginStatus = 0x0200
	LoginAuthenticationFailure   LoginStatus = 0x0201
	LoginAuthorizationFailure    LoginStatus = 0x0202
	LoginNotFound                LoginStatus = 0x0203
	LoginTargetRemoved           LoginStatus = 0x0204
	LoginUnsupportedVersion      LoginStatus = 0x0205
	LoginTooManyConnections      LoginStatus = 0x0206
	LoginMissingParameter        LoginStatus = 0x0207
	LoginCantIncludeInSession    LoginStatus = 0x0208
	LoginSessionTypeNotSupported LoginStatus = 0x0209
	LoginSessionDoesNotExist     LoginStatus = 0x020a
	LoginInvalidDuringLogin      LoginStatus = 0x020b
	LoginTargetError             LoginStatus = 0x0300
	LoginServiceUnavailable      LoginStatus = 0x0301
	LoginOutOfResources          LoginStatus = 0x0302
)

// StatusClass is the first byte of a LoginStatus; it suffices to decide what to do.
type StatusClass uint8

// The status classes. Values above ClassTargetError are unassigned; an initiator treats them as a failure.
const (
	ClassSuccess        StatusClass = 0
	ClassRedirection    StatusClass = 1 // log in at the TargetAddress that comes with it
	ClassInitiatorError StatusClass = 2 // do not try the same request again
	ClassTargetError    StatusClass = 3 // the same request may be tried later
)

// String returns the RFC's words.
func (c StatusClass) String() string {
	switch c {
	case ClassSuccess:
		return "success"
	case ClassRedirection:
		return "redirection"
	case ClassInitiatorError:
		return "initiator error"
	case ClassTargetError:
		return "target error"
	}
	return fmt.Sprintf("status class %d", uint8(c))
}

// Class returns the status class.
func (s LoginStatus) Class() StatusClass { return StatusClass(s >> 8) }

// Detail returns the second byte.
func (s LoginStatus) Detail() uint8 { return uint8(s) }

// Retryable reports whether the same request may succeed later: the target's own errors, and too many connections,
// which passes when others leave.
func (s LoginStatus) Retryable() bool {
	return s.Class() == ClassTargetError || s == LoginTooManyConnections
}

// String returns the meaning and the code, such as "authentication failure (0x0201)".
func (s LoginStatus) String() string {
	var text string
	switch s {
	case LoginSuccess:
		text = "success"
	case LoginTargetMovedTemporarily:
		text = "target moved temporarily"
	case LoginTargetMovedPermanently:
		text = "target moved permanently"
	case LoginInitiatorError:
		text = "initiator error"
	case LoginAuthenticationFailure:
		text = "authentication failure"
	case LoginAuthorizationFailure:
		text = "authorization failure"
	case LoginNotFound:
		text = "target not found"
	case LoginTargetRemoved:
		text = "target removed"
	case LoginUnsupportedVersion:
		text = "unsupported version"
	case LoginTooManyConnections:
		text = "too many connections"
	case LoginMissingParameter:
		text = "missing parameter"
	case LoginCantIncludeInSession:
		text = "connection cannot join the session"
	case LoginSessionTypeNotSupported:
		text = "session type not supported"
	case LoginSessionDoesNotExist:
		text = "session does not exist"
	case LoginInvalidDuringLogin:
		text = "invalid request during login"
	case LoginTargetError:
		text = "target error"
	case LoginServiceUnavailable:
		text = "service unavailable"
	case LoginOutOfResources:
		text = "out of resources"
	default:
		text = s.Class().String()
	}
	return fmt.Sprintf("%s (0x%04x)", text, uint16(s))
}
