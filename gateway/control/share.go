// SPDX-License-Identifier: Apache-2.0

package control

// Share is what one VM gets of one LUN: one flow of the LUN's scheduler, over all
// the VM's disks there and all their connections. Consumption units (CU) are the
// scheduler's measure: a command with its first 4 KiB costs 1, each further 4 KiB
// costs 1 more. Percentages are of the LUN's capacity now, 0 while it is not known.
type Share struct {
	VM    string   `json:"vm"`
	LUN   string   `json:"lun"`   // canonical name of the device, or the file
	Disks []string `json:"disks"` // full names of the VM's disks with a part there
	// Configured is asked for: of the configuration and what was set since, over the
	// disks together.
	Configured ShareSettings `json:"configured"`
	// Effective is what the scheduler goes by; nil while the LUN is not there.
	Effective *EffectiveShare `json:"effective,omitempty"`
	// LimitedDisks are those of several whose limit each keeps for itself, so that none
	// is in Effective.
	LimitedDisks []string `json:"limited_disks,omitempty"`
	// Active: it waits, is in flight, or had something within the last window.
	Active bool `json:"active"`

	EntitledCU      float64 `json:"entitled_cu"` // CU/s
	EntitledPercent float64 `json:"entitled_percent"`
	UsedCU          float64 `json:"used_cu"` // CU/s over the last window
	UsedPercent     float64 `json:"used_percent"`
	// DemandCU is what it asks for; DemandUnbounded: all that it can get.
	DemandCU        float64 `json:"demand_cu"`
	DemandPercent   float64 `json:"demand_percent"`
	DemandUnbounded bool    `json:"demand_unbounded"`
	// Over: it has used more than its entitlement.
	Over bool `json:"over"`

	LeadCU    int64 `json:"lead_cu"` // how far its virtual time is ahead of the LUN's
	Queued    int   `json:"queued"`  // commands
	QueuedCU  int64 `json:"queued_cu"`
	Inflight  int   `json:"inflight"`    // commands
	Parked    int   `json:"parked"`      // commands that the path manager holds
	HeadAgeUs int64 `json:"head_age_us"` // how long the first of the queue waits
	// Why is the reason that the first of the queue waits; nil when nothing waits.
	Why *Explanation `json:"why,omitempty"`

	// These count since ObservedUs ago, when the flow began. Phases are dispatches by
	// rule: reserve, floor, quantum, share, zero. WaitedUs is for how long the first of
	// the queue waited, by reason.
	ObservedUs     int64             `json:"observed_us"`
	Commands       uint64            `json:"commands"`
	CU             int64             `json:"cu"`
	Bytes          uint64            `json:"bytes"`
	Phases         map[string]uint64 `json:"phases,omitempty"`
	WaitedUs       map[string]int64  `json:"waited_us,omitempty"`
	LimitBlockedUs int64             `json:"limit_blocked_us"`
	LongestGapUs   int64             `json:"longest_gap_us"` // without a dispatch while something waited
	// Reservation is one of the Reservation constants.
	Reservation string         `json:"reservation"`
	Warnings    []ShareWarning `json:"warnings,omitempty"`
}

// The values of Share.Reservation.
const (
	ReservationNone   = "none"
	ReservationMet    = "met"    // it fits in the capacity, whole
	ReservationScaled = "scaled" // all together do not fit; a part is in force
)

// ShareSettings say what is to be had. Rates are per second; 0 is none.
type ShareSettings struct {
	Shares           uint32 `json:"shares"`            // 0-100000, relative (the patent, par. 0086)
	Priority         uint8  `json:"priority"`          // 0-10, 10 is the most important; the VM's
	ReserveIOPS      int64  `json:"reserve_iops"`      // operations
	ReserveBandwidth int64  `json:"reserve_bandwidth"` // bytes
	// Limit bounds all commands, LimitRead and LimitWrite those that read and write.
	Limit      ShareLimit `json:"limit"`
	LimitRead  ShareLimit `json:"limit_read"`
	LimitWrite ShareLimit `json:"limit_write"`
	IdleCredit int64      `json:"idle_credit"` // CU that it may be ahead of its part when it wakes up
	Group      string     `json:"group,omitempty"`
	// QueueCommands and QueueBytes bound what the VM may have outstanding on each LUN.
	QueueCommands int64 `json:"queue_commands"`
	QueueBytes    int64 `json:"queue_bytes"`
}

// ShareLimit is an upper bound. 0 is none; a burst of 0 is one command.
type ShareLimit struct {
	IOPS          int64 `json:"iops"`      // operations per second
	Bandwidth     int64 `json:"bandwidth"` // bytes per second
	BurstIOPS     int64 `json:"burst_iops"`
	BurstBytes    int64 `json:"burst_bytes"`
	PeakIOPS      int64 `json:"peak_iops"`      // operations per second, for PeakLengthMs
	PeakBandwidth int64 `json:"peak_bandwidth"` // bytes per second, likewise
	PeakLengthMs  int64 `json:"peak_length_ms"`
}

// EffectiveShare is in force in the scheduler.
type EffectiveShare struct {
	ShareSettings
	// Weight is what the scheduler divides by: shares, or, while priorities are in
	// force, what they make of them.
	Weight uint32 `json:"weight"`
	// ReservationCU and LimitCU are the rates in force in CU/s, 0: none. A reservation
	// that does not fit is scaled down.
	ReservationCU float64 `json:"reservation_cu"`
	LimitCU       float64 `json:"limit_cu"`
	Version       uint32  `json:"version"` // of the settings in force
}

// ShareWarning is something about settings that people should know, for as long as it
// is so.
type ShareWarning struct {
	Code    string `json:"code"` // stable: "limit-above-capacity"
	Message string `json:"message"`
}

// DiskShare is what is set for one disk, and what it is part of.
type DiskShare struct {
	Disk string `json:"disk"` // "vm1/root"
	VM   string `json:"vm"`
	// Settings are those of the configuration with what was set since; Overridden are
	// the keys of the latter.
	Settings   ShareSettings `json:"settings"`
	Overridden []string      `json:"overridden,omitempty"`
	// Flows are those that the disk is part of, one for each of its LUNs. The Server
	// fills them in.
	Flows []Share `json:"flows"`
}

// VMShare is what is set for a VM. Disks and Flows are filled in by the Server.
type VMShare struct {
	VM         string      `json:"vm"`
	Priority   uint8       `json:"priority"`
	Overridden []string    `json:"overridden,omitempty"`
	Disks      []DiskShare `json:"disks"` // without their flows
	Flows      []Share     `json:"flows"`
}

// GroupShare is what is set for a group of disks, the same on every LUN.
type GroupShare struct {
	Name       string     `json:"name"`
	Shares     uint32     `json:"shares"` // 0: the sum of its members'
	Limit      ShareLimit `json:"limit"`
	LimitRead  ShareLimit `json:"limit_read"`
	LimitWrite ShareLimit `json:"limit_write"`
	Overridden []string   `json:"overridden,omitempty"`
	Disks      []string   `json:"disks"` // its members
}

// ShareGroup is a group of flows of one LUN.
type ShareGroup struct {
	Name            string     `json:"name"`
	Shares          uint32     `json:"shares"` // 0: the sum of its members'
	Limit           ShareLimit `json:"limit"`
	LimitRead       ShareLimit `json:"limit_read"`
	LimitWrite      ShareLimit `json:"limit_write"`
	Weight          uint32     `json:"weight"`
	EntitledCU      float64    `json:"entitled_cu"`
	EntitledPercent float64    `json:"entitled_percent"`
	UsedCU          float64    `json:"used_cu"`
	UsedPercent     float64    `json:"used_percent"`
	Flows           int        `json:"flows"`
}
