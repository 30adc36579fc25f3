// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// OwnerSource is the part of a Source that knows which client owns a disk.
type OwnerSource interface {
	// ReleaseDisk cuts the clients of a disk, by its full name, off, and gives their
	// names. It does not wait until they have gone.
	ReleaseDisk(disk string) ([]string, error)
}

// Released tells who had a disk that was taken from them.
type Released struct {
	Disk    string   `json:"disk"`
	Clients []string `json:"clients"` // for people; empty: there were none
}

func (s *Server) releaseDisk(w http.ResponseWriter, r *http.Request) error {
	if err := readBody(r, &struct{}{}); err != nil {
		return err
	}
	src, ok := s.src.(OwnerSource)
	if !ok {
		return &Error{CodeNotFound, "this gateway does not know who owns a disk"}
	}
	name := r.PathValue("vm") + "/" + r.PathValue("disk")
	if _, err := find("disk", name, s.src.Disks(), func(d Disk) []string { return []string{d.Name} }); err != nil {
		return err
	}
	s.operated(r, Operation{Verb: "disk release", Details: Attrs{{"disk", name}}})
	clients, err := src.ReleaseDisk(name)
	if err := outcome("disk", name, err); err != nil {
		return err
	}
	if clients == nil {
		clients = []string{}
	}
	return writeJSON(w, Released{name, clients})
}

// ReleaseDisk takes the disk of a full name from its clients.
func (c *Client) ReleaseDisk(ctx context.Context, name string) (out Released, err error) {
	vm, disk, ok := strings.Cut(name, "/")
	if !ok {
		return out, &Error{CodeNotFound, fmt.Sprintf("disk %s: a name is VM/DISK", shorten(name))}
	}
	return out, c.call(ctx, http.MethodPost, &out, nil, "disks", vm, disk, "release")
}
