// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"pathgate/gateway/control"
)

// fakeGroups are two port groups for the first device.
func fakeGroups() []control.Group {
	return []control.Group{
		{ID: 1, Access: "optimized", Priority: 50, Used: true, Explicit: true, Paths: []string{"vmhba0:0:1"}},
		{ID: 2, Access: "standby", Priority: 1, Explicit: true, Paths: []string{"vmhba0:1:1"}},
	}
}

// SwitchGroup implements control.GroupSource.
func (s *fakeState) SwitchGroup(_ context.Context, device string, group uint16) error {
	for i := range s.devices {
		d := &s.devices[i]
		if d.Name != device {
			continue
		}
		if group != 1 && group != 2 {
			return control.NotFound(fmt.Errorf("group %d of %s: no such port group", group, device))
		}
		d.Groups = fakeGroups()
		for j := range d.Groups {
			g := &d.Groups[j]
			if g.Used = g.ID == group; g.Used {
				g.Access = "optimized"
			}
		}
		return nil
	}
	return control.ErrNotFound
}
