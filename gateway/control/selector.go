// SPDX-License-Identifier: Apache-2.0

package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// SelectorOptions are the options of a device's path selector; those that are 0 or
// empty are as by default.
type SelectorOptions struct {
	// Weights are of all selectors; the first whose pattern matches a path counts.
	Weights []PathWeight `json:"weights,omitempty"`
	// UseNonOptimized is of all: optimized and non-optimized paths are used together.
	UseNonOptimized bool   `json:"use_non_optimized,omitempty"`
	IOPS            int64  `json:"iops,omitempty"`        // of round-robin: requests in a turn
	Bytes           int64  `json:"bytes,omitempty"`       // of round-robin: bytes in a turn
	ResampleMs      int64  `json:"resample_ms,omitempty"` // of latency
	Preferred       string `json:"preferred,omitempty"`   // of fixed: a path
	SettleMs        int64  `json:"settle_ms,omitempty"`   // of per-vm and isolate-low
	Below           int64  `json:"below,omitempty"`       // of isolate-low: lower priorities are confined
	Paths           int64  `json:"paths,omitempty"`       // of isolate-low: to so many paths
}

// PathWeight is the weight of the path of a name, or of all with a beginning and "*".
type PathWeight struct {
	Path   string `json:"path"`
	Weight uint32 `json:"weight"`
}

// SelectorChange sets what is not nil; 0 and "" mean the default. With another Name
// the options that the new selector has not are dropped.
type SelectorChange struct {
	Name            *string       `json:"name,omitempty"`
	Weights         *[]PathWeight `json:"weights,omitempty"` // in place of all
	UseNonOptimized *bool         `json:"use_non_optimized,omitempty"`
	IOPS            *int64        `json:"iops,omitempty"`
	Bytes           *int64        `json:"bytes,omitempty"`
	ResampleMs      *int64        `json:"resample_ms,omitempty"`
	Preferred       *string       `json:"preferred,omitempty"`
	SettleMs        *int64        `json:"settle_ms,omitempty"`
	Below           *int64        `json:"below,omitempty"`
	Paths           *int64        `json:"paths,omitempty"`
}

// SelectorSource is the part of a Source that changes how paths are selected. Both
// methods return when the change is on stable storage and in force, else with an error
// and nothing changed: ErrInvalid for a value that is not allowed, ErrNotFound for a
// device that has gone since the Server found it. device is its canonical name.
type SelectorSource interface {
	SetSelector(device string, c SelectorChange) error
	// ResetSelector goes back to the configuration.
	ResetSelector(device string) error
}

// details are what c sets, as on the command line.
func (c *SelectorChange) details() (list Attrs) {
	text := func(key string, v *string) {
		if v != nil {
			list = append(list, Attr{key, shorten(cmp.Or(*v, "default"))})
		}
	}
	number := func(key string, v *int64, unit string) {
		switch {
		case v == nil:
		case *v == 0:
			list = append(list, Attr{key, "default"})
		default:
			list = append(list, Attr{key, strconv.FormatInt(*v, 10) + unit})
		}
	}
	text("selector", c.Name)
	number("iops", c.IOPS, "")
	number("bytes", c.Bytes, "")
	number("resample", c.ResampleMs, "ms")
	text("preferred", c.Preferred)
	number("settle", c.SettleMs, "ms")
	number("below", c.Below, "")
	number("paths", c.Paths, "")
	if c.Weights != nil {
		var each []string
		for _, w := range *c.Weights {
			each = append(each, fmt.Sprintf("%s=%d", w.Path, w.Weight))
		}
		list = append(list, Attr{"weights", shorten(cmp.Or(strings.Join(each, ","), "none"))})
	}
	if c.UseNonOptimized != nil {
		list = append(list, Attr{"use-non-optimized", strconv.FormatBool(*c.UseNonOptimized)})
	}
	return list
}

func (s *Server) setSelector(w http.ResponseWriter, r *http.Request) error {
	var c SelectorChange
	if err := readChange(r, &c); err != nil {
		return err
	}
	o := Operation{Verb: "device set", Details: c.details()}
	return s.changeSelector(w, r, o, func(device string) error { return s.src.SetSelector(device, c) })
}

func (s *Server) resetSelector(w http.ResponseWriter, r *http.Request) error {
	return s.changeSelector(w, r, Operation{Verb: "device reset"}, s.src.ResetSelector)
}

// changeSelector finds the device, changes it as o tells, and answers with it as it is then.
func (s *Server) changeSelector(w http.ResponseWriter, r *http.Request, o Operation, change func(device string) error) error {
	d, err := s.device(r.PathValue("name"))
	if err != nil {
		return err
	}
	o.Device = d.Name
	s.operated(r, o)
	err = change(d.Name)
	switch {
	case errors.Is(err, ErrInvalid):
		return &Error{CodeBadRequest, fmt.Sprintf("device %s: %s", d.Name, oneLine(err))}
	case errors.Is(err, ErrNotFound):
		return &Error{CodeNotFound, fmt.Sprintf("device %s: it has just gone", d.Name)}
	case err != nil:
		return fmt.Errorf("device %s: %w", d.Name, err)
	}
	if now, err := s.device(d.Name); err == nil {
		d = now
	}
	return writeJSON(w, d)
}

// SetSelector changes how a device's paths are selected, and gives the device as it is
// then.
func (c *Client) SetSelector(ctx context.Context, device string, to SelectorChange) (d Device, err error) {
	return d, c.call(ctx, http.MethodPatch, &d, to, "devices", device, "selector")
}

// ResetSelector goes back to the configuration.
func (c *Client) ResetSelector(ctx context.Context, device string) (d Device, err error) {
	return d, c.call(ctx, http.MethodDelete, &d, nil, "devices", device, "selector")
}
