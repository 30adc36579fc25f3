// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// GroupSource is the part of a Source that has port groups switched.
type GroupSource interface {
	// SwitchGroup makes a port group of the device of that canonical name the one in
	// use, and waits until it is, or ctx ends. What cannot be done as things are is
	// ErrConflict, an unknown device or group ErrNotFound.
	SwitchGroup(ctx context.Context, device string, group uint16) error
}

// GroupSwitch says which group is to be used.
type GroupSwitch struct {
	Group *uint16 `json:"group"`
}

func (s *Server) switchGroup(w http.ResponseWriter, r *http.Request) error {
	src, ok := s.src.(GroupSource)
	if !ok {
		return &Error{CodeNotFound, "this gateway has no port groups"}
	}
	var body GroupSwitch
	if err := readBody(r, &body); err != nil {
		return err
	}
	if body.Group == nil {
		return &Error{CodeBadRequest, `the body does not say which group: {"group": 1}`}
	}
	d, err := s.device(r.PathValue("name"))
	if err != nil {
		return err
	}
	ctx, cancel := s.patient(w, r)
	defer cancel()
	s.operated(r, Operation{Verb: "device switch-group", Device: d.Name, Details: Attrs{{"group", strconv.Itoa(int(*body.Group))}}})
	err = src.SwitchGroup(ctx, d.Name, *body.Group)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{CodeTimeout, fmt.Sprintf("device %s: the target is still at it after %v; events tell its end", d.Name, patience)}
	case err != nil:
		return refusal(err)
	}
	if now, err := s.device(d.Name); err == nil {
		d = now
	}
	return writeJSON(w, d)
}

// SwitchGroup makes a port group of a device the one in use, and gives the device as
// it is then.
func (c *Client) SwitchGroup(ctx context.Context, device string, group uint16) (d Device, err error) {
	ctx, cancel := patiently(ctx)
	defer cancel()
	return d, c.call(ctx, http.MethodPost, &d, GroupSwitch{Group: &group}, "devices", device, "switch-group")
}
