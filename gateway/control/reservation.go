// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Reservation is the persistent reservation of a device at its targets.
type Reservation struct {
	Device  string   `json:"device"` // canonical name
	Aliases []string `json:"aliases,omitempty"`
	// Mode is what the configuration asks for: none or exclusive-all-registrants.
	Mode string `json:"mode"`
	// State is none, ours, foreign or unsupported. With the last two this gateway
	// changes nothing, for Reason.
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	// Held: the LUN is reserved, with Type, by Holder where the type has one.
	Held   bool   `json:"held"`
	Type   string `json:"type,omitempty"`
	Holder string `json:"holder,omitempty"`
	// Gateway is this gateway's part of its keys.
	Gateway string `json:"gateway"`
	// Keys are the registrations, read over Path at Read.
	Keys []ReservationKey `json:"keys,omitempty"`
	Path string           `json:"path,omitempty"`
	Read time.Time        `json:"read,omitzero"`
}

// ReservationKey is one registration.
type ReservationKey struct {
	Key string `json:"key"` // 0x and 16 digits
	// Gateway, Epoch and Number are what a gateway's key says: whose it is, of which
	// run, and of which pair of adapter and target. "" and 0 for other software.
	Gateway string `json:"gateway,omitempty"`
	Epoch   uint32 `json:"epoch,omitempty"`
	Number  uint32 `json:"number"`
	Ours    bool   `json:"ours"`
	Path    string `json:"path,omitempty"` // ours: of which path, if of one that is logged in
}

// ReservationPreempt says whose registrations are taken away: all of others, those
// of one gateway, or one key.
type ReservationPreempt struct {
	Key     string `json:"key,omitempty"`
	Gateway string `json:"gateway,omitempty"`
}

// ReservationPreempted is what that has done.
type ReservationPreempted struct {
	Device string   `json:"device"`
	Keys   []string `json:"keys"`
	// Reset: a LOGICAL UNIT RESET has waited for what was running. Aborted: the
	// target took PREEMPT AND ABORT. With neither, old commands may still run.
	Reset   bool `json:"reset"`
	Aborted bool `json:"aborted"`
}

// ReservationSource is the part of a Source that knows reservations. Methods are
// called concurrently. An unknown device is ErrNotFound; what cannot be done as
// things are is ErrConflict.
type ReservationSource interface {
	// Reservations gives those of all devices as last seen, without waiting.
	Reservations() []Reservation
	// Reservation asks the target, for a second at most.
	Reservation(ctx context.Context, device string) (Reservation, error)
	// PreemptReservation takes registrations of others away: key or gateway, or all
	// where both are 0. It waits until the LUN is ours.
	PreemptReservation(ctx context.Context, device string, key uint64, gateway uint32) (ReservationPreempted, error)
}

// withReservations refuses what a Source without reservations cannot do.
func (s *Server) withReservations(h func(ReservationSource, http.ResponseWriter, *http.Request) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		src, ok := s.src.(ReservationSource)
		if !ok {
			return &Error{CodeNotFound, "this gateway has no reservations"}
		}
		return h(src, w, r)
	}
}

func listReservations(src ReservationSource, w http.ResponseWriter, _ *http.Request) error {
	return writeList(w, src.Reservations())
}

func getReservation(src ReservationSource, w http.ResponseWriter, r *http.Request) error {
	name, err := reservedName(src, r)
	if err != nil {
		return err
	}
	v, err := src.Reservation(r.Context(), name)
	if err != nil {
		return refusal(err)
	}
	return writeJSON(w, v)
}

func reservedName(src ReservationSource, r *http.Request) (string, error) {
	v, err := find("device", r.PathValue("name"), src.Reservations(), func(v Reservation) []string {
		return append([]string{v.Device}, v.Aliases...)
	})
	return v.Device, err
}

func (s *Server) preemptReservation(src ReservationSource, w http.ResponseWriter, r *http.Request) error {
	var body ReservationPreempt
	if err := readBody(r, &body); err != nil {
		return err
	}
	name, err := reservedName(src, r)
	if err != nil {
		return err
	}
	key, err := parseKey("key", body.Key, 64)
	if err != nil {
		return err
	}
	gateway, err := parseKey("gateway", body.Gateway, 20)
	if err != nil {
		return err
	}
	if key != 0 && gateway != 0 {
		return &Error{CodeBadRequest, "a key and a gateway at once: a key says whose it is"}
	}
	o := Operation{Verb: "reservation preempt", Device: name}
	switch {
	case key != 0:
		o.Details = Attrs{{"key", fmt.Sprintf("%#x", key)}}
	case gateway != 0:
		o.Details = Attrs{{"gateway", fmt.Sprintf("%#x", gateway)}}
	}
	s.operated(r, o)
	ctx, cancel := s.patient(w, r)
	defer cancel()
	done, err := src.PreemptReservation(ctx, name, key, uint32(gateway))
	s.opt.Log.Info("reservation preempted", "device", name, "keys", done.Keys, "error", err)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{CodeTimeout, fmt.Sprintf("device %s: not ours after %v, and keys may have been taken away; ask for the reservation", name, patience)}
	case err != nil:
		return refusal(err)
	}
	return writeJSON(w, done)
}

// parseKey reads a hexadecimal number of some bits; "" is 0.
func parseKey(name, s string, bits int) (uint64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "0x"), 16, bits)
	if err != nil || n == 0 || !strings.HasPrefix(s, "0x") {
		return 0, &Error{CodeBadRequest, fmt.Sprintf("%s %q is not 0x and a hexadecimal number of at most %d bits, not 0", name, shorten(s), bits)}
	}
	return n, nil
}

// refusal turns a Source's error over.
func refusal(err error) error {
	switch {
	case errors.Is(err, ErrNotFound):
		return &Error{CodeNotFound, err.Error()}
	case errors.Is(err, ErrConflict):
		return &Error{CodeConflict, err.Error()}
	case errors.Is(err, ErrInvalid):
		return &Error{CodeBadRequest, err.Error()}
	}
	return err
}

// Reservations gives the reservations of all devices as last seen.
func (c *Client) Reservations(ctx context.Context) (list []Reservation, err error) {
	return list, c.get(ctx, &list, "reservations")
}

// Reservation asks for that of a device.
func (c *Client) Reservation(ctx context.Context, device string) (v Reservation, err error) {
	return v, c.get(ctx, &v, "reservations", device)
}

// PreemptReservation takes registrations of others at a device away.
func (c *Client) PreemptReservation(ctx context.Context, device string, who ReservationPreempt) (v ReservationPreempted, err error) {
	ctx, cancel := patiently(ctx)
	defer cancel()
	return v, c.call(ctx, http.MethodPost, &v, who, "reservations", device, "preempt")
}
