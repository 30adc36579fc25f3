// SPDX-License-Identifier: Apache-2.0

package control

// ShareChange sets what is not nil for one disk; 0 removes a limit or reservation, ""
// the group. Numbers have the units of ShareSettings; the Source checks their ranges.
type ShareChange struct {
	Shares           *int64            `json:"shares,omitempty"`
	ReserveIOPS      *int64            `json:"reserve_iops,omitempty"`
	ReserveBandwidth *int64            `json:"reserve_bandwidth,omitempty"`
	Limit            *ShareLimitChange `json:"limit,omitempty"`
	LimitRead        *ShareLimitChange `json:"limit_read,omitempty"`
	LimitWrite       *ShareLimitChange `json:"limit_write,omitempty"`
	IdleCredit       *int64            `json:"idle_credit,omitempty"`
	Group            *string           `json:"group,omitempty"`
	QueueCommands    *int64            `json:"queue_commands,omitempty"`
	QueueBytes       *int64            `json:"queue_bytes,omitempty"`
}

// ShareLimitChange sets what is not nil of a ShareLimit.
type ShareLimitChange struct {
	IOPS          *int64 `json:"iops,omitempty"`
	Bandwidth     *int64 `json:"bandwidth,omitempty"`
	BurstIOPS     *int64 `json:"burst_iops,omitempty"`
	BurstBytes    *int64 `json:"burst_bytes,omitempty"`
	PeakIOPS      *int64 `json:"peak_iops,omitempty"`
	PeakBandwidth *int64 `json:"peak_bandwidth,omitempty"`
	PeakLengthMs  *int64 `json:"peak_length_ms,omitempty"`
}

// VMShareChange sets what is not nil for one VM.
type VMShareChange struct {
	Priority *int64 `json:"priority,omitempty"`
}

// GroupShareChange sets what is not nil for one group.
type GroupShareChange struct {
	Shares     *int64            `json:"shares,omitempty"`
	Limit      *ShareLimitChange `json:"limit,omitempty"`
	LimitRead  *ShareLimitChange `json:"limit_read,omitempty"`
	LimitWrite *ShareLimitChange `json:"limit_write,omitempty"`
}

// LUNShareChange sets what is not nil for the scheduler of one LUN, in the units of
// LUNShareSettings.
type LUNShareChange struct {
	Mode            *string  `json:"mode,omitempty"`
	CUBytes         *int64   `json:"cu_bytes,omitempty"`
	OpsBytes        *int64   `json:"ops_bytes,omitempty"`
	CostModel       *string  `json:"cost_model,omitempty"`
	Quantum         *int64   `json:"quantum,omitempty"`
	QuantumBytes    *int64   `json:"quantum_bytes,omitempty"`
	SequentialGap   *int64   `json:"sequential_gap,omitempty"`
	WindowUs        *int64   `json:"vt_window_us,omitempty"`
	FloorIntervalUs *int64   `json:"floor_interval_us,omitempty"`
	ReserveAheadUs  *int64   `json:"reserve_ahead_us,omitempty"`
	LimitSlopUs     *int64   `json:"limit_slop_us,omitempty"`
	IdleCreditMax   *int64   `json:"idle_credit_max,omitempty"`
	Depth           *int64   `json:"depth,omitempty"`
	DepthStart      *int64   `json:"depth_start,omitempty"`
	DepthMin        *int64   `json:"depth_min,omitempty"`
	DepthMax        *int64   `json:"depth_max,omitempty"`
	LatencyTargetUs *int64   `json:"latency_target_us,omitempty"`
	DepthGain       *float64 `json:"depth_gain,omitempty"`
	DepthGrowth     *float64 `json:"depth_growth,omitempty"`
	Capacity        *int64   `json:"capacity,omitempty"`
	CapacityModel   *string  `json:"capacity_model,omitempty"`
	PlanPeriodUs    *int64   `json:"plan_period_us,omitempty"`
	OverMargin      *int64   `json:"over_margin,omitempty"`
	PriorityMode    *string  `json:"priority_mode,omitempty"`
	TierKeep        *int64   `json:"tier_keep,omitempty"`
	DegradedBelow   *int64   `json:"degraded_below,omitempty"`
	ExplainRing     *int64   `json:"explain_ring,omitempty"`
}
