// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// ResizeSource is the part of a Source that can make a disk grow.
type ResizeSource interface {
	// ResizeDisk has a disk, by its full name, grow, and returns when that is durable.
	// ErrConflict: it cannot have that size; ErrInvalid: no disk of its blocks can.
	ResizeDisk(disk string, to Resize) (Resized, error)
}

// Resize is what a POST to resize carries.
type Resize struct {
	Size uint64 `json:"size"` // bytes, all of the disk
	// Thin: the disk may have more than its file system has room for.
	Thin bool `json:"thin,omitempty"`
	// Reconnect: NBD clients have to connect again, and learn the size.
	Reconnect bool `json:"reconnect,omitempty"`
}

// Resized tells what size a disk had and has, in bytes.
type Resized struct {
	Disk string `json:"disk"`
	From uint64 `json:"from"`
	Size uint64 `json:"size"`
	// Reconnected is how many connections were closed because of Reconnect.
	Reconnected int `json:"reconnected,omitempty"`
}

func (s *Server) resizeDisk(w http.ResponseWriter, r *http.Request) error {
	var body Resize
	if err := readBody(r, &body); err != nil {
		return err
	}
	if body.Size == 0 {
		return &Error{CodeBadRequest, "size is missing: the bytes that the disk is to have"}
	}
	src, ok := s.src.(ResizeSource)
	if !ok {
		return &Error{CodeNotFound, "this gateway has no disks that grow"}
	}
	name := r.PathValue("vm") + "/" + r.PathValue("disk")
	if _, err := find("disk", name, s.src.Disks(), func(d Disk) []string { return []string{d.Name} }); err != nil {
		return err
	}
	details := Attrs{{"disk", name}, {"size", strconv.FormatUint(body.Size, 10)}}
	if body.Thin {
		details = append(details, Attrs{{"thin", "true"}}...)
	}
	if body.Reconnect {
		details = append(details, Attrs{{"reconnect", "true"}}...)
	}
	s.operated(r, Operation{Verb: "disk resize", Details: details})
	out, err := src.ResizeDisk(name, body)
	if errors.Is(err, ErrInvalid) {
		return &Error{CodeBadRequest, fmt.Sprintf("disk %s: size %d: %s", name, body.Size, oneLine(err))}
	}
	if err := outcome("disk", name, err); err != nil {
		return err
	}
	return writeJSON(w, out)
}

// ResizeDisk has the disk of a full name grow.
func (c *Client) ResizeDisk(ctx context.Context, name string, to Resize) (out Resized, err error) {
	vm, disk, ok := strings.Cut(name, "/")
	if !ok {
		return out, &Error{CodeNotFound, fmt.Sprintf("disk %s: a name is VM/DISK", shorten(name))}
	}
	return out, c.call(ctx, http.MethodPost, &out, to, "disks", vm, disk, "resize")
}
