// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"net/http"
)

// AliasSet says which device an alias is for.
type AliasSet struct {
	Device string `json:"device"` // canonical name, alias or identity
}

// AliasSource is the part of a Source that keeps further names of devices. Methods are
// called concurrently. What does not exist is ErrNotFound; a name that is another's,
// or in use, is ErrConflict.
type AliasSource interface {
	// SetAlias gives a device a further name. Once more is no error.
	SetAlias(ctx context.Context, device, alias string) error
	// RemoveAlias takes it away.
	RemoveAlias(ctx context.Context, alias string) error
}

// withAliases refuses what a Source without aliases cannot do.
func (s *Server) withAliases(h func(AliasSource, *http.Request, string) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		src, ok := s.src.(AliasSource)
		if !ok {
			return &Error{CodeNotFound, "this gateway has no aliases"}
		}
		alias := r.PathValue("name")
		if err := h(src, r, alias); err != nil {
			return refusal(err)
		}
		return writeJSON(w, struct{}{})
	}
}

func (s *Server) setAlias(src AliasSource, r *http.Request, alias string) error {
	var body AliasSet
	if err := readBody(r, &body); err != nil {
		return err
	}
	d, err := s.device(body.Device)
	if err != nil {
		return err
	}
	s.operated(r, Operation{Verb: "device alias", Device: d.Name, Details: Attrs{{"alias", shorten(alias)}}})
	return src.SetAlias(r.Context(), d.Name, alias)
}

func (s *Server) removeAlias(src AliasSource, r *http.Request, alias string) error {
	s.operated(r, Operation{Verb: "device unalias", Details: Attrs{{"alias", shorten(alias)}}})
	return src.RemoveAlias(r.Context(), alias)
}

// SetAlias gives a device a further name.
func (c *Client) SetAlias(ctx context.Context, device, alias string) error {
	return c.call(ctx, http.MethodPut, &struct{}{}, AliasSet{Device: device}, "aliases", alias)
}

// RemoveAlias takes a further name away.
func (c *Client) RemoveAlias(ctx context.Context, alias string) error {
	return c.call(ctx, http.MethodDelete, &struct{}{}, nil, "aliases", alias)
}
