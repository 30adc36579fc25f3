// SPDX-License-Identifier: Apache-2.0

package control

import (
	"errors"
	"net/http"
)

// Code classes an answer that is not a success; part of the API.
type Code string

// The codes, with their HTTP status.
const (
	CodeBadRequest Code = "bad_request"        // 400: the request makes no sense
	CodeNotFound   Code = "not_found"          // 404: no such object
	CodeMethod     Code = "method_not_allowed" // 405
	CodeTimeout    Code = "timeout"            // 408: the request did not come in time
	CodeConflict   Code = "conflict"           // 409: not while things are as they are
	CodeTooLarge   Code = "too_large"          // 413: the request is too large
	CodeInternal   Code = "internal"           // 500: the gateway could not do it
	CodeBusy       Code = "busy"               // 503: too many of this kind at once
)

var codeStatus = map[Code]int{
	CodeBadRequest: http.StatusBadRequest,
	CodeNotFound:   http.StatusNotFound,
	CodeMethod:     http.StatusMethodNotAllowed,
	CodeTimeout:    http.StatusRequestTimeout,
	CodeConflict:   http.StatusConflict,
	CodeTooLarge:   http.StatusRequestEntityTooLarge,
	CodeInternal:   http.StatusInternalServerError,
	CodeBusy:       http.StatusServiceUnavailable,
}

// What a Source refuses.
var (
	// ErrNotFound: the object does not exist. An *Error of CodeNotFound is it, too.
	ErrNotFound = errors.New("not found")
	// ErrConflict: not while things are as they are.
	ErrConflict = errors.New("not possible now")
	// ErrInvalid: a value is not allowed.
	ErrInvalid = errors.New("not allowed")
)

// NotFound makes err, which tells why, one that is ErrNotFound. Its text stays as it
// is: a client reads it.
func NotFound(err error) error { return refused{err, ErrNotFound} }

// Conflict makes err one that is ErrConflict, likewise.
func Conflict(err error) error { return refused{err, ErrConflict} }

// Invalid makes err, which tells the key, the value and the rule, one that is
// ErrInvalid, likewise.
func Invalid(err error) error { return refused{err, ErrInvalid} }

type refused struct {
	error
	class error
}

func (e refused) Is(target error) bool { return target == e.class }
func (e refused) Unwrap() error        { return e.error }

// ErrUnreachable: no gateway answers at the address. The error that wraps it tells
// why.
var ErrUnreachable = errors.New("no gateway answers")

// Error is a refusal by the gateway, as in the API.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"` // one line that names the object
}

// Error gives the message.
func (e *Error) Error() string { return e.Message }

// Is matches ErrNotFound with CodeNotFound.
func (e *Error) Is(target error) bool { return target == ErrNotFound && e.Code == CodeNotFound }

// errorBody is the body of an answer that is not a success.
type errorBody struct {
	Error *Error `json:"error"`
}
