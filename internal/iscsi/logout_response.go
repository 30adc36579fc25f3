// SPDX-License-Identifier: Apache-2.0

package iscsi

import "strconv"

// LogoutStatus is the outcome of a logout. RFC 7143 11.15.1 (Response).
type LogoutStatus uint8

// The logout responses.
const (
	LogoutSuccess              LogoutStatus = 0
	LogoutCIDNotFound          LogoutStatus = 1
	LogoutRecoveryNotSupported LogoutStatus = 2
	LogoutCleanupFailed        LogoutStatus = 3
)

// String returns the RFC's words.
func (s LogoutStatus) String() string {
	switch s {
	case LogoutSuccess:
		return "closed successfully"
	case LogoutCIDNotFound:
		return "CID not found"
	case LogoutRecoveryNotSupported:
		return "connection recovery is not supported"
	case LogoutCleanupFailed:
		return "cleanup failed"
	}
	return "logout response " + strconv.Itoa(int(s))
}

const (
	offTime2Wait   = 40
	offTime2Retain = 42
)

// LogoutResponse answers a Logout Request. RFC 7143 11.15 (Logout Response).
type LogoutResponse struct {
	Status LogoutStatus
	ITT    InitiatorTaskTag
	Numbers
	Time2Wait   uint16 // seconds
	Time2Retain uint16 // seconds
}

// DecodeLogoutResponse reads the header. CodeFormat: reserved response code, a data segment.
func DecodeLogoutResponse(h *BHS) (LogoutResponse, error) {
	if err := h.expectEmpty(OpLogoutResponse); err != nil {
		return LogoutResponse{}, err
	}
	p := LogoutResponse{
		Status:      LogoutStatus(h[offResponse]),
		ITT:         h.ITT(),
		Numbers:     h.numbers(),
		Time2Wait:   h.u16(offTime2Wait),
		Time2Retain: h.u16(offTime2Retain),
	}
	if p.Status > LogoutCleanupFailed {
		return LogoutResponse{}, fault(CodeFormat, "Logout Response with a reserved code")
	}
	return p, nil
}

// Encode writes all of h.
func (p LogoutResponse) Encode(h *BHS) {
	h.start(OpLogoutResponse, false, bitFinal)
	h[offResponse] = byte(p.Status)
	h.putITT(p.ITT)
	h.putNumbers(p.Numbers)
	h.put16(offTime2Wait, p.Time2Wait)
	h.put16(offTime2Retain, p.Time2Retain)
}
