// SPDX-License-Identifier: Apache-2.0

package control

import "time"

// Path is one route to a LUN: adapter, target portal, LUN (the patent, par. 0083).
type Path struct {
	Name    string `json:"name"`    // "vmhba0:0:2": adapter, target number, LUN
	Device  string `json:"device"`  // canonical name of its device
	Adapter string `json:"adapter"` // "vmhba0"
	Target  string `json:"target"`  // iSCSI name
	Portal  string `json:"portal"`  // "ip:port"
	LUN     uint16 `json:"lun"`
	// Health is unknown, up, marginal, down, disabled or quarantined.
	Health string `json:"health"`
	// Access is what the target allows: optimized, non-optimized, lba-dependent,
	// standby, unavailable, transitioning or offline.
	Access string `json:"access"`
	// Group is the number of the target port group that the path ends in, "" where the
	// target has none; Preferred is the group's bit of that name.
	Group     string `json:"group,omitempty"`
	Preferred bool   `json:"preferred,omitempty"`
	// Priority: of the paths that can be used those with the highest one are. 0: of
	// no use.
	Priority int `json:"priority"`
	// Reason says why Health is what it is, for people; may be empty.
	Reason string `json:"reason,omitempty"`
	// Cause is what broke, if that is more than the path: "adapter vmhba1".
	Cause string `json:"cause,omitempty"`
	// Since is when Health or Access changed last.
	Since    time.Time `json:"since,omitzero"`
	Disabled bool      `json:"disabled"` // by an administrator
	Used     bool      `json:"used"`     // requests go here now
	// Generation counts the sessions that the path has had.
	Generation   uint64 `json:"generation"`
	Inflight     int    `json:"inflight"`      // requests
	PendingBytes uint64 `json:"pending_bytes"` // of those
	Reads        uint64 `json:"reads"`
	Writes       uint64 `json:"writes"`
	BytesRead    uint64 `json:"bytes_read"`
	BytesWritten uint64 `json:"bytes_written"`
	Errors       uint64 `json:"errors"`
	LatencyUs    int64  `json:"latency_us"` // mean of the newest requests
	Ghosts       int    `json:"ghosts"`     // writes of unknown end
	// Fencing is what fences old writes here if the path is lost, as Device.Fencing.
	Fencing string `json:"fencing,omitempty"`
	// VMs are those whose requests went here in the last seconds.
	VMs []string `json:"vms,omitempty"`
	// Held: an administrator has failed it, and it stays down until it is reinstated.
	Held bool `json:"held,omitempty"`
	// Proving: it is being proved since an administrator wants it back.
	Proving bool `json:"proving,omitempty"`
	// History is its last changes, oldest first. Only where one path is asked for.
	History []PathChange `json:"history,omitempty"`
}

// The values of Path.Health that the server and clients act on.
const (
	HealthUp       = "up"
	HealthMarginal = "marginal"
	HealthDisabled = "disabled"
)

// Usable tells whether the path can carry I/O.
func (p Path) Usable() bool {
	return !p.Disabled && (p.Health == HealthUp || p.Health == HealthMarginal)
}

// Device is one LUN over all its paths.
type Device struct {
	Name     string   `json:"name"` // canonical: its first path (the patent, par. 0084)
	Aliases  []string `json:"aliases,omitempty"`
	Identity string   `json:"identity"`
	// Weak: the identity counts within one target name only.
	Weak       bool   `json:"weak"`
	Size       uint64 `json:"size"`
	BlockSize  uint32 `json:"block_size"`
	Vendor     string `json:"vendor"`
	Product    string `json:"product"`
	Serial     string `json:"serial,omitempty"`
	PathsUp    int    `json:"paths_up"`   // up or marginal
	PathsUsed  int    `json:"paths_used"` // that I/O goes over now
	PathsTotal int    `json:"paths_total"`
	// CapacityNow is what the paths in use carry, CapacityNominal what the best group
	// of paths would: all but those on standby. CapacityUnit is "bytes/s", or "paths"
	// where no bandwidth is configured.
	CapacityNow     uint64 `json:"capacity_now"`
	CapacityNominal uint64 `json:"capacity_nominal"`
	CapacityUnit    string `json:"capacity_unit"`
	// Selector is the name of the path selector, SelectorOptions what differs from its
	// defaults, SelectorSet whether both were set at run time and not configured.
	Selector        string          `json:"selector"`
	SelectorOptions SelectorOptions `json:"selector_options,omitzero"`
	SelectorSet     bool            `json:"selector_set"`
	// Cache is none, volatile or protected.
	Cache string `json:"cache"`
	// AllPathsDown is what requests do then: auto, queue, fail or a time.
	AllPathsDown string `json:"all_paths_down"`
	// DownSince is set while no path is up.
	DownSince time.Time `json:"down_since,omitzero"`
	// Queueing is what an administrator has ordered instead, on or off; "": nothing.
	Queueing string `json:"queueing,omitempty"`
	// Suspended: no requests are sent, since SuspendedSince. Quiet: none is in flight.
	Suspended      bool      `json:"suspended,omitempty"`
	SuspendedSince time.Time `json:"suspended_since,omitzero"`
	Quiet          bool      `json:"quiet,omitempty"`
	Inflight       int       `json:"inflight"` // requests that have not ended, with the queued
	Queued         int       `json:"queued"`   // requests that wait, sum of Held
	// Held counts the queued requests by what they wait for.
	Held map[string]int `json:"held,omitempty"`
	// Ghosts are ranges held for a write that may still run on a lost path.
	Ghosts []Ghost `json:"ghosts,omitempty"`
	// Fences counts fences since the start, by method.
	Fences []FenceCount `json:"fences,omitempty"`
	// Groups are the target port groups, the best first; none without ALUA.
	Groups []Group `json:"groups,omitempty"`
	// Fencing is what proves that old writes of a lost path run no more while its
	// portal stays away: "fenced" (another way to the same target), "pr-fenced"
	// (another path to the same registrations), "timed" (a quiesce time), or
	// "waiting" (nothing). That of the weakest path in use.
	Fencing string `json:"fencing,omitempty"`
	// Shared: hosts beside this gateway use it. Reservation is the state of ours, ""
	// where the configuration asks for none.
	Shared      bool   `json:"shared,omitempty"`
	Reservation string `json:"reservation,omitempty"`
	// Barred: changes are refused since the reservation is not ours.
	Barred bool `json:"barred,omitempty"`
	// State is one of the DeviceState constants.
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"` // why State is not available
	// UsedBy are the disks ("vm1/root") with an extent here.
	UsedBy []string `json:"used_by,omitempty"`
	// History is the last changes of its paths, oldest first, at most DeviceHistory. Only
	// where one device is asked for.
	History []DeviceChange `json:"history,omitempty"`
}

// The values of Device.State.
const (
	DeviceAvailable    = "available"      // all paths that are not disabled are usable
	DeviceDegraded     = "degraded"       // fewer than all
	DeviceAllPathsDown = "all-paths-down" // none; may come back
	DeviceGone         = "gone"           // the targets say that it does not exist
)

// Ghost is a range held for a change that may still run on a lost path.
type Ghost struct {
	Path   string    `json:"path"`
	Offset uint64    `json:"offset"`
	Length uint64    `json:"length"`
	Since  time.Time `json:"since,omitzero"`
	// Why it is not fenced yet; empty while nothing has failed.
	Why string `json:"why,omitempty"`
}

// FenceCount counts a device's fences by one method.
type FenceCount struct {
	Method string `json:"method"`
	Done   uint64 `json:"done"`
	Failed uint64 `json:"failed"`
}

// Disk is a virtual disk.
type Disk struct {
	Name      string `json:"name"` // "vm1/root", the export name
	VM        string `json:"vm"`
	Size      uint64 `json:"size"` // 0 while it was never available
	Available bool   `json:"available"`
	Why       string `json:"why,omitempty"` // why it is not available
	// Extents are what it is made of, in order; empty for a file.
	Extents     []Extent `json:"extents,omitempty"`
	File        string   `json:"file,omitempty"`
	ReadOnly    bool     `json:"read_only"`
	Connections int      `json:"connections"`
	Outstanding int      `json:"outstanding"` // operations
	// LUN is its number for iSCSI initiators; nil: there is no iSCSI target.
	LUN *uint16 `json:"lun,omitempty"`
	// Clients is what becomes of a second client: exclusive, takeover or shared. Owner is
	// who uses it now, for people; empty: nobody does.
	Clients string `json:"clients,omitempty"`
	Owner   string `json:"owner,omitempty"`
	// AllPathsDown is what its requests do while what they need has no path: "queue" for
	// waiting without end, "fail", or the time that they wait. Empty for a file.
	AllPathsDown string `json:"all_paths_down,omitempty"`
	// PathsUp and PathsTotal are those of the worst of its devices; 0 for a file.
	PathsUp    int `json:"paths_up"`
	PathsTotal int `json:"paths_total"`
}

// Extent is a part of a LUN.
type Extent struct {
	LUN    string `json:"lun"`              // as configured: identity, alias or path
	Device string `json:"device,omitempty"` // canonical name, once found
	Offset uint64 `json:"offset"`
	Length uint64 `json:"length"` // 0: the rest, not known yet
}

// VM is a guest with the traffic of all its disks.
type VM struct {
	Name         string   `json:"name"`
	Priority     uint8    `json:"priority"`
	Disks        []string `json:"disks"` // full names
	Reads        uint64   `json:"reads"`
	Writes       uint64   `json:"writes"`
	Others       uint64   `json:"others"` // flushes, unmaps and the like
	BytesRead    uint64   `json:"bytes_read"`
	BytesWritten uint64   `json:"bytes_written"`
	Errors       uint64   `json:"errors"`
	Inflight     int64    `json:"inflight"`
	// Held counts the requests that wait, by what they wait for.
	Held map[string]int `json:"held,omitempty"`
}
