// SPDX-License-Identifier: Apache-2.0

package gateway

import (
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
