// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// Bounds of the time that a suspension waits for what is in flight.
const (
	DefaultSuspendWait = 30 * time.Second
	MinSuspendWait     = time.Millisecond
	MaxSuspendWait     = 10 * time.Minute
)

// SuspendSource is the part of a Source that stops a device, and changes what its
// requests do without a path. Devices are named by their canonical names; one that has
// gone is ErrNotFound. None of it is kept over a restart.
type SuspendSource interface {
	// SuspendDevice has a device send no more requests, and waits until nothing is in
	// flight, or ctx ends: then the error tells what was, and that the device goes on.
	// ErrConflict: it was resumed meanwhile.
	SuspendDevice(ctx context.Context, device string) error
	ResumeDevice(device string) error
	// SetQueueing takes one of Queueings.
	SetQueueing(device, queueing string) error
}

// Queueings are what requests can be ordered to do without a path: wait without end,
// fail at once, and as configured.
func Queueings() []string { return []string{"on", "off", "default"} }

// suspendBody is what a POST to suspend may carry.
type suspendBody struct {
	// WaitMs is how long what is in flight may take; nil: DefaultSuspendWait.
	WaitMs *int64 `json:"wait_ms,omitempty"`
}

// queueingBody is what a POST to queueing carries.
type queueingBody struct {
	Queueing string `json:"queueing"` // one of Queueings
}

// withSuspend refuses what a Source without devices cannot do.
func (s *Server) withSuspend(h func(http.ResponseWriter, *http.Request, SuspendSource) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		src, ok := s.src.(SuspendSource)
		if !ok {
			return &Error{CodeNotFound, "this gateway has no path manager to command"}
		}
		return h(w, r, src)
	}
}

func (s *Server) suspendDevice(w http.ResponseWriter, r *http.Request, src SuspendSource) error {
	var body suspendBody
	if err := readBody(r, &body); err != nil {
		return err
	}
	wait := DefaultSuspendWait
	if ms := body.WaitMs; ms != nil {
		if *ms < MinSuspendWait.Milliseconds() || *ms > MaxSuspendWait.Milliseconds() {
			return &Error{CodeBadRequest, fmt.Sprintf("wait_ms is %d; it has to be %d to %d", *ms, MinSuspendWait.Milliseconds(), MaxSuspendWait.Milliseconds())}
		}
		wait = time.Duration(*ms) * time.Millisecond
	}
	d, err := s.device(r.PathValue("name"))
	if err != nil {
		return err
	}
	ctx, cancel := s.patientFor(w, r, wait)
	defer cancel()
	s.operated(r, Operation{Verb: "device suspend", Device: d.Name, Details: Attrs{{"wait", wait.String()}}})
	err = src.SuspendDevice(ctx, d.Name)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && !errors.Is(err, ErrConflict) && !errors.Is(err, ErrNotFound) {
		return &Error{CodeTimeout, fmt.Sprintf("not suspended within %v: %s", wait, oneLine(err))}
	}
	if err := outcome("device", d.Name, err); err != nil {
		return err
	}
	return s.answerDevice(w, d)
}

func (s *Server) resumeDevice(w http.ResponseWriter, r *http.Request, src SuspendSource) error {
	if err := readBody(r, &struct{}{}); err != nil {
		return err
	}
	d, err := s.device(r.PathValue("name"))
	if err != nil {
		return err
	}
	s.operated(r, Operation{Verb: "device resume", Device: d.Name})
	if err := outcome("device", d.Name, src.ResumeDevice(d.Name)); err != nil {
		return err
	}
	return s.answerDevice(w, d)
}

func (s *Server) setQueueing(w http.ResponseWriter, r *http.Request, src SuspendSource) error {
	var body queueingBody
	if err := readBody(r, &body); err != nil {
		return err
	}
	if !slices.Contains(Queueings(), body.Queueing) {
		return &Error{CodeBadRequest, fmt.Sprintf("queueing %q is not known; there are on, off and default", shorten(body.Queueing))}
	}
	d, err := s.device(r.PathValue("name"))
	if err != nil {
		return err
	}
	s.operated(r, Operation{Verb: "device queueing", Device: d.Name, Details: Attrs{{"queueing", body.Queueing}}})
	if err := outcome("device", d.Name, src.SetQueueing(d.Name, body.Queueing)); err != nil {
		return err
	}
	return s.answerDevice(w, d)
}

// answerDevice answers with d as it is now, or, when it has gone, as it was.
func (s *Server) answerDevice(w http.ResponseWriter, d Device) error {
	if now, err := s.device(d.Name); err == nil {
		d = now
	}
	return writeJSON(w, d)
}

// SuspendDevice has a device send no more requests, and gives it as it is when nothing is
// in flight any more. After wait (0: DefaultSuspendWait) the device goes on, and the
// error (CodeTimeout) tells what was in flight.
func (c *Client) SuspendDevice(ctx context.Context, device string, wait time.Duration) (d Device, err error) {
	var body suspendBody
	if wait != 0 {
		ms := wait.Milliseconds()
		body.WaitMs = &ms
	} else {
		wait = DefaultSuspendWait
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait+requestTimeout)
		defer cancel()
	}
	return d, c.call(ctx, http.MethodPost, &d, body, "devices", device, "suspend")
}

// ResumeDevice has a suspended device go on, and gives it as it is then.
func (c *Client) ResumeDevice(ctx context.Context, device string) (d Device, err error) {
	return d, c.call(ctx, http.MethodPost, &d, nil, "devices", device, "resume")
}

// SetQueueing changes what the requests of a device do without a path to one of
// Queueings, and gives the device as it is then.
func (c *Client) SetQueueing(ctx context.Context, device, queueing string) (d Device, err error) {
	return d, c.call(ctx, http.MethodPost, &d, queueingBody{queueing}, "devices", device, "queueing")
}
