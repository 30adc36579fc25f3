// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"fmt"
	"strings"
	"testing"
)

// TestCodesHaveNames: every assigned code has a name of its own, every other one shows its number.
func TestCodesHaveNames(t *testing.T) {
	for _, c := range []struct {
		kind     string
		name     func(int) string
		assigned []int
	}{
		{"opcode", func(i int) string { return Opcode(i).String() }, []int{0, 1, 2, 3, 4, 5, 6, 0x10, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x31, 0x32, 0x3f}},
		{"attribute", func(i int) string { return TaskAttribute(i).String() }, []int{0, 1, 2, 3, 4}},
		{"function", func(i int) string { return TaskFunction(i).String() }, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
		{"task response", func(i int) string { return TaskResponse(i).String() }, []int{0, 1, 2, 3, 4, 5, 6, 7, 255}},
		{"service response", func(i int) string { return ServiceResponse(i).String() }, []int{0, 1}},
		{"async event", func(i int) string { return AsyncEvent(i).String() }, []int{0, 1, 2, 3, 4, 5, 255}},
		{"logout reason", func(i int) string { return LogoutReason(i).String() }, []int{0, 1, 2}},
		{"logout response", func(i int) string { return LogoutStatus(i).String() }, []int{0, 1, 2, 3}},
		{"SNACK type", func(i int) string { return SNACKType(i).String() }, []int{0, 1, 2, 3}},
		{"reject reason", func(i int) string { return RejectReason(i).String() }, []int{2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
		{"stage", func(i int) string { return Stage(i).String() }, []int{0, 1, 3}},
		{"CHAP algorithm", func(i int) string { return CHAPAlgorithm(i).String() }, []int{5, 6, 7, 8}},
		{"error code", func(i int) string { return ErrorCode(i).Error() }, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
	} {
		assigned := map[int]bool{}
		for _, i := range c.assigned {
			assigned[i] = true
		}
		seen := map[string]bool{}
		for i := range 256 {
			s := c.name(i)
			number := strings.HasSuffix(s, " "+fmt.Sprint(i)) || strings.HasSuffix(s, fmt.Sprintf("0x%x", i))
			if s == "" || seen[s] || assigned[i] == number {
				t.Errorf("%s %d is called %q", c.kind, i, s)
			}
			seen[s] = true
		}
	}
}

func TestOpcodeSets(t *testing.T) {
	known := 0
	for op := range Opcode(64) {
		if op.Known() {
			known++
		}
		if op.FromInitiator() != (op < 0x20) {
			t.Errorf("%v: from initiator %v", op, op.FromInitiator())
		}
	}
	if known != 18 {
		t.Errorf("%d opcodes are known, want 18", known)
	}
}

// TestLoginStatus is the table of 11.13.5, with the class that decides what to do.
func TestLoginStatus(t *testing.T) {
	for _, c := range []struct {
		status LoginStatus
		class  StatusClass
		retry  bool
		text   string
	}{
		{0x0000, ClassSuccess, false, "success (0x0000)"},
		{0x0101, ClassRedirection, false, "target moved temporarily (0x0101)"},
		{0x0102, ClassRedirection, false, "target moved permanently (0x0102)"},
		{0x0200, ClassInitiatorError, false, "initiator error (0x0200)"},
		{0x0201, ClassInitiatorError, false, "authentication failure (0x0201)"},
		{0x0202, ClassInitiatorError, false, "authorization failure (0x0202)"},
		{0x0203, ClassInitiatorError, false, "target not found (0x0203)"},
		{0x0204, ClassInitiatorError, false, "target removed (0x0204)"},
		{0x0205, ClassInitiatorError, false, "unsupported version (0x0205)"},
		{0x0206, ClassInitiatorError, true, "too many connections (0x0206)"},
		{0x0207, ClassInitiatorError, false, "missing parameter (0x0207)"},
		{0x0208, ClassInitiatorError, false, "connection cannot join the session (0x0208)"},
		{0x0209, ClassInitiatorError, false, "session type not supported (0x0209)"},
		{0x020a, ClassInitiatorError, false, "session does not exist (0x020a)"},
		{0x020b, ClassInitiatorError, false, "invalid request during login (0x020b)"},
		{0x0300, ClassTargetError, true, "target error (0x0300)"},
		{0x0301, ClassTargetError, true, "service unavailable (0x0301)"},
		{0x0302, ClassTargetError, true, "out of resources (0x0302)"},
		{0x02ff, ClassInitiatorError, false, "initiator error (0x02ff)"},
		{0x0399, ClassTargetError, true, "target error (0x0399)"},
		{0x0707, 7, false, "status class 7 (0x0707)"},
	} {
		if s := c.status; s.Class() != c.class || s.Retryable() != c.retry || s.String() != c.text || s.Detail() != uint8(c.status&0xff) {
			t.Errorf("%#04x: %v, class %v, retryable %v; want %s, %v, %v", uint16(s), s, s.Class(), s.Retryable(), c.text, c.class, c.retry)
		}
	}
}

// TestErrorCodeAnswers: what a target says to each cause, in the full feature phase and during login.
func TestErrorCodeAnswers(t *testing.T) {
	for _, c := range []struct {
		code   ErrorCode
		reject RejectReason
		status LoginStatus
	}{
		{CodeFormat, RejectInvalidPDUField, LoginInitiatorError},
		{CodeOpcode, RejectCommandNotSupported, LoginInvalidDuringLogin}, // HAZARDS B2, B12
		{CodeLength, 0, LoginInitiatorError},                             // B3: close
		{CodeAHS, RejectProtocolError, LoginInitiatorError},              // B4
		{CodeHeaderDigest, 0, LoginInitiatorError},                       // B6: close
		{CodeDataDigest, RejectDataDigest, LoginInitiatorError},          // B6
		{CodeText, RejectProtocolError, LoginInitiatorError},
		{CodeNegotiation, RejectProtocolError, LoginInitiatorError}, // 6.4
		{CodeMissingParameter, RejectProtocolError, LoginMissingParameter},
		{CodeSessionType, RejectProtocolError, LoginSessionTypeNotSupported},
		{CodeAuthentication, 0, LoginAuthenticationFailure},
		{CodeSetting, 0, LoginTargetError},
	} {
		if r, s := c.code.RejectReason(), c.code.LoginStatus(); r != c.reject || s != c.status {
			t.Errorf("%v: reject %v, login %v; want %v, %v", c.code, r, s, c.reject, c.status)
		}
	}
	for r := range RejectReason(16) { // 11.17.1, last column
		want := r == 2 || r == 3 || r == 6 || r == 0x0a
		if r.Resendable() != want {
			t.Errorf("%v: resendable %v, want %v", r, r.Resendable(), want)
		}
	}
}
