// SPDX-License-Identifier: Apache-2.0

package control

// ShareLUN is the scheduler of one LUN.
type ShareLUN struct {
	Name  string   `json:"name"`            // canonical name of the device, or the file
	Names []string `json:"names,omitempty"` // further ones: identity, alias
	// Settings are in force; Overridden are the keys that were set at run time.
	Settings   LUNShareSettings `json:"settings"`
	Overridden []string         `json:"overridden,omitempty"`
	Version    uint32           `json:"version"`
	// Mode is that of the settings, as the scheduler goes by it.
	Mode string `json:"mode"`
	// DepthCU is the window and InflightCU what is in it; DepthMove is why the window
	// moved last: fixed, started, grew, shrank, idle, discarded or path.
	DepthCU    int64  `json:"depth_cu"`
	InflightCU int64  `json:"inflight_cu"`
	DepthMove  string `json:"depth_move"`
	// Inflight counts commands, CommandLimit is what the target takes (0: no bound).
	Inflight     int `json:"inflight"`
	CommandLimit int `json:"command_limit"`
	// LatencyUs is the mean of the last samples, TargetUs what the window aims at.
	LatencyUs int64 `json:"latency_us"`
	TargetUs  int64 `json:"target_us"`
	// CapacityCU is in CU/s with the paths that are up, NominalCU with all; 0: not known.
	// Kappa is the part of the paths' bandwidth that is left, 0-1.
	CapacityCU float64 `json:"capacity_cu"`
	NominalCU  float64 `json:"nominal_cu"`
	Kappa      float64 `json:"kappa"`
	// Degraded says why priorities decide, or would: paths, reservations, latency.
	Degraded          []string `json:"degraded,omitempty"`
	PrioritiesInForce bool     `json:"priorities_in_force"`
	FloorUs           int64    `json:"floor_us"`    // every waiting flow gets a command so often; 0: no floor
	ReservedCU        float64  `json:"reserved_cu"` // sum over the active flows, CU/s
	Stalls            uint64   `json:"stalls"`      // times that the gateway itself stood still
	Faults            uint64   `json:"faults"`      // events that made no sense to the scheduler
	Flows             int      `json:"flows"`
	Waiting           int      `json:"waiting"` // flows with something queued
	// Groups are those with a flow here.
	Groups   []ShareGroup   `json:"groups,omitempty"`
	Warnings []ShareWarning `json:"warnings,omitempty"`
}

// LUNShareSettings are the knobs of a LUN's scheduler.
type LUNShareSettings struct {
	// Enabled false: everything passes as it comes; only limits act. Set in the
	// configuration alone.
	Enabled         bool    `json:"enabled"`
	Mode            string  `json:"mode"`     // work-conserving, strict
	CUBytes         int64   `json:"cu_bytes"` // that one CU stands for
	OpsBytes        int64   `json:"ops_bytes"`
	CostModel       string  `json:"cost_model"` // patent, calibrated
	Quantum         int64   `json:"quantum"`    // commands
	QuantumBytes    int64   `json:"quantum_bytes"`
	SequentialGap   int64   `json:"sequential_gap"` // 512-byte sectors
	WindowUs        int64   `json:"vt_window_us"`
	FloorIntervalUs int64   `json:"floor_interval_us"`
	ReserveAheadUs  int64   `json:"reserve_ahead_us"`
	LimitSlopUs     int64   `json:"limit_slop_us"`
	IdleCreditMax   int64   `json:"idle_credit_max"` // CU
	Depth           int64   `json:"depth"`           // CU; 0: found by latency
	DepthStart      int64   `json:"depth_start"`
	DepthMin        int64   `json:"depth_min"`
	DepthMax        int64   `json:"depth_max"`
	LatencyTargetUs int64   `json:"latency_target_us"`
	DepthGain       float64 `json:"depth_gain"`
	DepthGrowth     float64 `json:"depth_growth"`
	Capacity        int64   `json:"capacity"`       // CU/s; 0: learnt
	CapacityModel   string  `json:"capacity_model"` // sum, shared
	PlanPeriodUs    int64   `json:"plan_period_us"`
	OverMargin      int64   `json:"over_margin"`    // %
	PriorityMode    string  `json:"priority_mode"`  // off, degraded, always
	TierKeep        int64   `json:"tier_keep"`      // %
	DegradedBelow   int64   `json:"degraded_below"` // %
	ExplainRing     int64   `json:"explain_ring"`
}
