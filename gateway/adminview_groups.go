// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"

	"pathgate/gateway/control"
	"pathgate/multipath"
)

func showGroups(list []multipath.GroupInfo) (out []control.Group) {
	for _, g := range list {
		out = append(out, control.Group{
			ID: g.ID, Access: g.Access, Preferred: g.Preferred, Priority: g.Priority, Used: g.Used, Since: g.Since,
			Explicit: g.Explicit, Implicit: g.Implicit, Paths: append([]string{}, g.Paths...),
		})
	}
	return out
}

var _ control.GroupSource = adminSource{}

// SwitchGroup makes a port group of a device the one in use.
func (s *adminView) SwitchGroup(ctx context.Context, device string, group uint16) error {
	if s.paths == nil {
		return control.ErrNotFound
	}
	for _, d := range s.paths.Devices() {
		if d.Name() == device {
			return groupError(d.SwitchGroup(ctx, group))
		}
	}
	return fmt.Errorf("device %s: %w", device, control.ErrNotFound)
}

// groupError classes an error of the path manager for the API.
func groupError(err error) error {
	failed, ok := errors.AsType[*multipath.SwitchError](err)
	switch {
	case ok:
		return control.Conflict(failed)
	case errors.Is(err, multipath.ErrNoGroup):
		return control.NotFound(err)
	case errors.Is(err, multipath.ErrGroupDown), errors.Is(err, multipath.ErrImplicit):
		return control.Conflict(err)
	}
	return err
}
