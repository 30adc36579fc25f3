// SPDX-License-Identifier: Apache-2.0

package control

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
)

// Topology is a device with all that hangs on it: VM, disk and path.
type Topology struct {
	Device Device `json:"device"`
	// Groups are of paths that are used together, the one in use first.
	Groups []TopologyGroup `json:"groups"`
	// Disks are those with a part on the device.
	Disks []TopologyDisk `json:"disks"`
}

// TopologyGroup is the paths of one target port group, or, of a target without such, of
// one access.
type TopologyGroup struct {
	ID        string `json:"id,omitempty"` // the number of the port group
	Access    string `json:"access"`
	Preferred bool   `json:"preferred,omitempty"`
	Priority  int    `json:"priority"` // 50, 10, 5, 1 or 0, by access
	// Status is active: I/O goes over it; enabled: it can be used; or failed.
	Status string `json:"status"`
	Paths  []Path `json:"paths"`
}

// The values of TopologyGroup.Status.
const (
	GroupActive  = "active"
	GroupEnabled = "enabled"
	GroupFailed  = "failed"
)

// TopologyDisk is a disk on a device.
type TopologyDisk struct {
	Disk         string `json:"disk"`
	VM           string `json:"vm"`
	Offset       uint64 `json:"offset"` // of its first extent there
	Length       uint64 `json:"length"` // of all its extents there
	AllPathsDown string `json:"all_paths_down,omitempty"`
}

// accessPriorities are those of multipath-tools' alua prioritizer.
var accessPriorities = map[string]int{"optimized": 50, "non-optimized": 10, "lba-dependent": 5}

func (s *Server) getTopology(w http.ResponseWriter, r *http.Request) error {
	devices := s.src.Devices()
	for key, list := range r.URL.Query() {
		if key != "device" || len(list) != 1 {
			return &Error{CodeBadRequest, fmt.Sprintf("parameter %q; there is device, once", shorten(key))}
		}
		d, err := findDevice(devices, list[0])
		if err != nil {
			return err
		}
		devices = []Device{d}
	}
	return writeList(w, topologyOf(devices, s.src.Paths(), s.src.Disks()))
}

// topologyOf joins the three lists.
func topologyOf(devices []Device, paths []Path, disks []Disk) []Topology {
	list := make([]Topology, 0, len(devices))
	for _, d := range devices {
		t := Topology{Device: d, Groups: groupsOf(&d, paths), Disks: []TopologyDisk{}}
		for _, disk := range disks {
			if on, ok := disk.on(d.Name); ok {
				t.Disks = append(t.Disks, on)
			}
		}
		list = append(list, t)
	}
	return list
}

// on gives what the disk has on a device; ok: it has something.
func (d *Disk) on(device string) (t TopologyDisk, ok bool) {
	t = TopologyDisk{Disk: d.Name, VM: d.VM, AllPathsDown: d.AllPathsDown}
	for _, e := range d.Extents {
		if e.Device != device {
			continue
		}
		if !ok {
			t.Offset, ok = e.Offset, true
		}
		t.Length += e.Length
	}
	return t, ok
}

// groupsOf puts the paths of a device in groups.
func groupsOf(d *Device, paths []Path) []TopologyGroup {
	groups := []TopologyGroup{}
	for _, p := range paths {
		if p.Device != d.Name {
			continue
		}
		i := slices.IndexFunc(groups, func(g TopologyGroup) bool {
			return g.ID == p.Group && (p.Group != "" || g.Access == p.Access)
		})
		if i < 0 {
			i = len(groups)
			groups = append(groups, newGroup(d, &p))
		}
		g := &groups[i]
		g.Paths = append(g.Paths, p)
		switch {
		case p.Used:
			g.Status = GroupActive
		case p.Usable() && g.Status == GroupFailed:
			g.Status = GroupEnabled
		}
	}
	slices.SortStableFunc(groups, func(a, b TopologyGroup) int {
		if used := b.rank() - a.rank(); used != 0 {
			return used
		}
		return cmp.Compare(b.Priority, a.Priority)
	})
	return groups
}

// newGroup is the group of a path, without paths.
func newGroup(d *Device, p *Path) TopologyGroup {
	g := TopologyGroup{ID: p.Group, Access: p.Access, Priority: accessPriorities[p.Access], Status: GroupFailed}
	for i := range d.Groups {
		if of := &d.Groups[i]; slices.Contains(of.Paths, p.Name) {
			g.Access, g.Preferred, g.Priority = of.Access, of.Preferred, of.Priority
		}
	}
	return g
}

func (g *TopologyGroup) rank() int {
	switch g.Status {
	case GroupActive:
		return 2
	case GroupEnabled:
		return 1
	}
	return 0
}
