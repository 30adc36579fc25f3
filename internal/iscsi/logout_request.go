// SPDX-License-Identifier: Apache-2.0

package iscsi

import "strconv"

// LogoutReason says what a Logout Request closes. RFC 7143 11.14.1 (Reason Code).
type LogoutReason uint8

// The logout reasons.
const (
	LogoutCloseSession    LogoutReason = 0
	LogoutCloseConnection LogoutReason = 1
	LogoutRecovery        LogoutReason = 2 // remove the connection for recovery
)

// String returns the RFC's words.
func (r LogoutReason) String() string {
	switch r {
	case LogoutCloseSession:
		return "close the session"
	case LogoutCloseConnection:
		return "close the connection"
	case LogoutRecovery:
		return "remove the connection for recovery"
	}
	return "logout reason " + strconv.Itoa(int(r))
}

const reasonMask = 0x7f

// LogoutRequest closes a connection or a session in order. RFC 7143 11.14 (Logout Request).
type LogoutRequest struct {
	Immediate bool
	Reason    LogoutReason
	ITT       InitiatorTaskTag
	CID       uint16 // 0 with LogoutCloseSession
	CmdSN     Serial
	ExpStatSN Serial
}

// DecodeLogoutRequest reads the header. CodeFormat: reserved reason, ITT NoTag, a data segment.
func DecodeLogoutRequest(h *BHS) (LogoutRequest, error) {
	if err := h.expectEmpty(OpLogoutRequest); err != nil {
		return LogoutRequest{}, err
	}
	p := LogoutRequest{
		Immediate: h.Immediate(),
		Reason:    LogoutReason(h.Flags() & reasonMask),
		ITT:       h.ITT(),
		CmdSN:     h.CmdSN(),
		ExpStatSN: h.ExpStatSN(),
	}
	if p.Reason != LogoutCloseSession {
		p.CID = h.u16(offCID)
	}
	switch {
	case p.Reason > LogoutRecovery:
		return LogoutRequest{}, fault(CodeFormat, "Logout Request with a reserved reason")
	case p.ITT == NoTag:
		return LogoutRequest{}, fault(CodeFormat, "Logout Request without a task tag")
	}
	return p, nil
}

// Encode writes all of h.
func (p LogoutRequest) Encode(h *BHS) {
	h.start(OpLogoutRequest, p.Immediate, bitFinal|byte(p.Reason)&reasonMask)
	h.putITT(p.ITT)
	if p.Reason != LogoutCloseSession {
		h.put16(offCID, p.CID)
	}
	h.SetCmdSN(p.CmdSN)
	h.SetExpStatSN(p.ExpStatSN)
}
