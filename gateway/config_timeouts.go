// SPDX-License-Identifier: Apache-2.0

package gateway

import "time"

// Timeouts is the one table of timers, `timeouts:` in the configuration, keys
// hyphenated ("nop-interval"). Every field is positive unless it says otherwise.
// Units are time.Duration. DefaultTimeouts is the only place of the defaults.
type Timeouts struct {
	// NOPInterval is the quiet time on a session after which a NOP-Out is sent.
	// Too short costs packets; too long delays the finding of a dead path.
	NOPInterval time.Duration
	// NOPTimeout is how long the answer may take before the path is down.
	NOPTimeout time.Duration
	// Checker is when an idle path is asked by TEST UNIT READY, and how often a path
	// that is down is tried; while a path is idle and well its time doubles up to
	// CheckerMax. Too short costs packets; too long delays the finding of a path that
	// answers NOP-Outs and does not work.
	Checker time.Duration
	// CheckerMax is at least Checker.
	CheckerMax time.Duration
	// Command bounds one attempt of a command on one path.
	Command time.Duration
	// Request bounds a whole request over all attempts while a path lives; at least
	// Command. With no path the all-paths-down rule holds instead.
	Request time.Duration
	// Abort bounds ABORT TASK before the session is dropped and fenced.
	Abort time.Duration
	// Reset bounds LOGICAL UNIT RESET and TARGET RESET.
	Reset time.Duration
	// ResetDrain bounds the draining of healthy sessions before a LUN RESET.
	ResetDrain time.Duration
	// Login bounds connecting and logging in.
	Login time.Duration
	// FenceLogin bounds a login that reinstates a lost session to fence it; at most Login.
	FenceLogin time.Duration
	// TMFAnswer bounds a front-end's task management function, then the answer is
	// Function Rejected. At most 10 s: initiators escalate after that.
	TMFAnswer time.Duration
	// ClientData is how long an iSCSI initiator may owe write data that was asked for or
	// announced; then its session ends. It is looked at every ClientNOPInterval. Too
	// short ends sessions of slow hosts; too long keeps their other requests waiting.
	ClientData time.Duration
	// ClientNOPInterval is the silence after which an iSCSI initiator is sent a NOP-In,
	// ClientNOPTimeout how long it may go on until its session ends. A host that stands
	// still for longer has to log in again.
	ClientNOPInterval, ClientNOPTimeout time.Duration
	// Failback is how long a path must be stable, without ghosts, before it is used.
	Failback time.Duration
	// Rescan is the time between scans of a session that is up, for LUNs and sizes
	// that no target tells of (ESXi Disk.PathEvalTime).
	Rescan time.Duration
	// Reclaim is how long a LUN, or a portal that SendTargets told of, has to be gone
	// before its unused paths are forgotten (ESXi Disk.DeviceReclaimTime).
	Reclaim time.Duration
	// TargetGone is how long after a login that found no such target it is asked once
	// more; the second answer is believed, and is a permanent loss over that path.
	// Too short takes a target that starts for one that was removed.
	TargetGone time.Duration
	// GroupSwitch is the least time between two SET TARGET PORT GROUPS of ours to a
	// LUN; it grows while somebody undoes them. Too short and two hosts drive a target
	// mad that each sees one half of.
	GroupSwitch time.Duration
	// AllPathsDown is how long requests wait for a path in the automatic mode.
	AllPathsDown time.Duration
	// GuestMargin is what queueing ends before the guest's own timeout.
	GuestMargin time.Duration
	// Quiesce is the default of LUNRule.QuiesceTime; 0 (the default): never.
	Quiesce time.Duration
	// Drain bounds how long a stop waits for outstanding requests.
	Drain time.Duration
}

// DefaultTimeouts gives the defaults.
func DefaultTimeouts() Timeouts {
	var t Timeouts
	for _, d := range t.table() {
		*d.value = d.def
	}
	return t
}

// timer is one row of the table: its key, where it is kept, default and bounds.
type timer struct {
	key           string
	value         *time.Duration
	def, min, max time.Duration
}

// table lists the timers in the order of the documentation.
func (t *Timeouts) table() []timer {
	const ms, s, min, h = time.Millisecond, time.Second, time.Minute, time.Hour
	return []timer{
		{"nop-interval", &t.NOPInterval, 1 * s, 10 * ms, 5 * min},
		{"nop-timeout", &t.NOPTimeout, 1 * s, 10 * ms, 5 * min},
		{"checker", &t.Checker, 5 * s, 100 * ms, 10 * min},
		{"checker-max", &t.CheckerMax, 20 * s, 100 * ms, 1 * h},
		{"command", &t.Command, 8 * s, 10 * ms, 10 * min},
		{"request", &t.Request, 25 * s, 10 * ms, 1 * h},
		{"abort", &t.Abort, 2 * s, 10 * ms, 1 * min},
		{"reset", &t.Reset, 5 * s, 10 * ms, 5 * min},
		{"reset-drain", &t.ResetDrain, 1 * s, 10 * ms, 1 * min},
		{"login", &t.Login, 15 * s, 100 * ms, 5 * min},
		{"fence-login", &t.FenceLogin, 5 * s, 100 * ms, 5 * min},
		{"tmf-answer", &t.TMFAnswer, 10 * s, 100 * ms, 10 * s},
		{"client-data", &t.ClientData, 60 * s, 100 * ms, 1 * h},
		{"client-nop-interval", &t.ClientNOPInterval, 5 * s, 100 * ms, 5 * min},
		{"client-nop-timeout", &t.ClientNOPTimeout, 10 * s, 100 * ms, 10 * min},
		{"failback", &t.Failback, 15 * s, 10 * ms, 24 * h},
		{"rescan", &t.Rescan, 5 * min, 1 * s, 24 * h},
		{"reclaim", &t.Reclaim, 5 * min, 1 * s, 30 * 24 * h},
		{"target-gone", &t.TargetGone, 10 * s, 100 * ms, 10 * min},
		{"group-switch", &t.GroupSwitch, 10 * s, 10 * ms, 1 * h},
		{"all-paths-down", &t.AllPathsDown, 140 * s, 100 * ms, 24 * h},
		{"guest-margin", &t.GuestMargin, 5 * s, 100 * ms, 5 * min},
		{"quiesce", &t.Quiesce, 0, 0, 24 * h},
		{"drain", &t.Drain, 10 * s, 10 * ms, 10 * min},
	}
}
