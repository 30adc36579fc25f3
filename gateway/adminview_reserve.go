// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"

	"pathgate/gateway/control"
	"pathgate/multipath"
)

var _ control.ReservationSource = adminSource{}

// Reservations gives the reservations of all devices as last seen.
func (s *adminView) Reservations() []control.Reservation {
	if s.paths == nil {
		return nil
	}
	var list []control.Reservation
	for _, i := range s.paths.Reservations() {
		list = append(list, s.showReservation(i))
	}
	return list
}

// Reservation asks the target for that of a device.
func (s *adminView) Reservation(ctx context.Context, device string) (control.Reservation, error) {
	if s.paths == nil {
		return control.Reservation{}, control.ErrNotFound
	}
	i, err := s.paths.Reservation(ctx, device)
	return s.showReservation(i), reservationError(err)
}

func (s *adminView) showReservation(i multipath.ReservationInfo) control.Reservation {
	out := control.Reservation{
		Device: i.Device, Mode: string(ReservationNone), State: i.State.String(), Reason: i.Reason,
		Held: i.Held, Type: i.Type, Gateway: showGateway(i.Gateway), Path: i.Path, Read: i.Read,
	}
	if i.AllRegistrants {
		out.Mode = string(ReservationAllRegistrants)
	}
	if d := s.device(i.Device); d != nil {
		out.Aliases = (*Gateway)(s).namesOf(d)
	}
	if i.Holder != 0 {
		out.Holder = i.Holder.String()
	}
	for _, k := range i.Keys {
		key := control.ReservationKey{Key: k.Key.String(), Ours: k.Ours, Path: k.Path}
		if k.Key.Ours() {
			key.Gateway, key.Epoch, key.Number = showGateway(k.Key.Gateway()), k.Key.Epoch(), k.Key.Path()
		}
		out.Keys = append(out.Keys, key)
	}
	return out
}

func showGateway(g uint32) string { return fmt.Sprintf("0x%05x", g) }

// PreemptReservation takes registrations of others away.
func (s *adminView) PreemptReservation(ctx context.Context, device string, key uint64, gateway uint32) (control.ReservationPreempted, error) {
	out := control.ReservationPreempted{Device: device}
	if s.paths == nil {
		return out, control.ErrNotFound
	}
	done, err := s.paths.Preempt(ctx, device, multipath.RegistrationKey(key), gateway)
	for _, k := range done.Keys {
		out.Keys = append(out.Keys, k.String())
	}
	out.Reset, out.Aborted = done.Reset, done.Aborted
	return out, reservationError(err)
}

// reservationError classes an error of the path manager for the API.
func reservationError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, multipath.ErrNotFound):
		return control.NotFound(err)
	case errors.Is(err, multipath.ErrNoReservation), errors.Is(err, multipath.ErrNoLivePath), errors.Is(err, multipath.ErrNoSuchKey):
		return control.Conflict(err)
	}
	return err
}
