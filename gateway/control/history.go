// SPDX-License-Identifier: Apache-2.0

package control

import "slices"

// DeviceHistory is how many changes of its paths a device is shown with.
const DeviceHistory = 16

// DeviceChange is a change of one of a device's paths.
type DeviceChange struct {
	Path string `json:"path"`
	PathChange
}

// history is the last changes of a device's paths, oldest first.
func (s *Server) history(device string) (list []DeviceChange) {
	if s.operator == nil {
		return nil
	}
	for _, p := range s.src.Paths() {
		if p.Device != device {
			continue
		}
		for _, c := range s.operator.PathHistory(p.Name) {
			list = append(list, DeviceChange{p.Name, c})
		}
	}
	slices.SortStableFunc(list, func(a, b DeviceChange) int { return a.Time.Compare(b.Time) })
	return list[max(len(list)-DeviceHistory, 0):]
}
