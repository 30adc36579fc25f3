// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"pathgate/backends"
)

// Config is what a Manager is made of. It is not changed afterwards.
type Config struct {
	// Adapters in the order of their names; at least one.
	Adapters []Adapter
	Targets  []Target
	// Timers: a zero field takes its default (DefaultTimers).
	Timers Timers
	// Rule gives the rule of a device that is known by these names (identity,
	// canonical name). Nil: the zero Rule for all. Called on any goroutine; it
	// must not block.
	Rule func(names ...string) Rule
	// Claims say which paths are used; the zero value: all. See SetClaims.
	Claims ClaimRules
	// Alias gives what a further name of a device stands for, an identity or another
	// name; "": it is none. Nil: there are none beside Rule.Alias. Likewise.
	Alias func(name string) string
	// Store and Events are required.
	Store  Store
	Events Events
	// Run counts the runs of the gateway, so that the ghosts of each are told
	// apart. It only grows.
	Run uint64

	fenceOff bool // for the negative control of the fencing tests
}

// Adapter is an initiator port ("HBA" in the patent, par. 0083).
type Adapter struct {
	Name      string // "vmhba0": without ':'
	Connector backends.Connector
	// Bandwidth is what all paths over it carry together, in bytes per second, at
	// most MaxBandwidth. 0: not known. It bounds nothing: it tells what the loss of
	// a path costs.
	Bandwidth uint64
}

// Target is a set of portals with common rules.
type Target struct {
	// Portals get sessions, "address:port".
	Portals []string
	// Name limits the sessions to one target name. With a name and without
	// Discover no SendTargets is needed. Empty: all names that the portals offer.
	Name string
	// Discover adds the portals that targets advertise, if their address is in
	// AllowedNetworks.
	Discover        bool
	AllowedNetworks []netip.Prefix
	// Adapters limits it to these adapters. Empty: all.
	Adapters []string
	// Connectors gives the connector of an adapter for this target, where targets
	// have parameters of their own (CHAP). Nil entries, nil map: the adapter's.
	Connectors map[string]backends.Connector
	// Bandwidth is what each of the portals carries, over all adapters together,
	// in bytes per second, as Adapter.Bandwidth. Of advertised ones too.
	Bandwidth uint64
	// FirstLUN and LastLUN bound the LUNs that are looked at. Both 0: 0-255.
	FirstLUN, LastLUN uint16
}

// Rule is how a device is used. The zero Rule: service-time, requests wait for
// a path without end, the cache is volatile, no quiesce time.
type Rule struct {
	// Alias is a further name of the device.
	Alias string
	// Selector is how its paths are selected, unless SetSelector was called.
	Selector Selection
	// AllPathsDown is what happens to requests while no path lives.
	AllPathsDown AllPathsDown
	// CacheProtected: the write cache outlives a loss of the target. False, and
	// evidence of a loss makes the next flush fail; true where it is not so loses
	// acknowledged writes silently.
	CacheProtected bool
	// Quiesce: after that time an unfenced ghost counts as gone. 0: never. Too
	// short a time corrupts data.
	Quiesce time.Duration
	// Reservation keeps other gateways from writing.
	Reservation Reservation
	// Shared: hosts that are not ours use the LUN. It is noticed by itself where
	// they have registrations or reservations.
	Shared bool
	// FenceReset is whether LOGICAL UNIT RESET may fence, which ends tasks of all
	// who use the LUN. Zero: unless it is shared.
	FenceReset FenceSwitch
	// FenceAbort: PREEMPT AND ABORT fences by itself, without a reset, since the
	// target answers it when the commands that it ends run no more. LIO does not
	// wait for them. False: it is not sent as a fence.
	FenceAbort bool
	// MergeWeak: a weak identity merges over target names too. For targets that
	// are known to share their medium.
	MergeWeak bool
	// ExclusivePreferred: of groups that are optimized alike only those with the
	// preferred bit are used. False: all of them.
	ExclusivePreferred bool
	// Marginal says when a path that works is not used.
	Marginal MarginalRule
	// Failback is when what was lost is used again.
	Failback FailbackRule
}

// FenceSwitch is when a means of fencing is used.
type FenceSwitch uint8

// When.
const (
	FenceAuto FenceSwitch = iota
	FenceAlways
	FenceNever
)

// AllPathsDown bounds the wait for a path, from when the last one was lost. The
// zero value waits without end.
type AllPathsDown struct {
	// Fail: requests fail at once.
	Fail bool
	// For is how long they wait; 0 with Fail false: without end.
	For time.Duration
}

// Timers are the times of the path manager. A zero field takes its default.
type Timers struct {
	Command      time.Duration // one attempt of a command: 8 s
	Request      time.Duration // a request over all attempts while a path lives: 25 s
	Abort        time.Duration // ABORT TASK: 2 s
	Reset        time.Duration // LOGICAL UNIT RESET: 5 s
	ResetDrain   time.Duration // draining before it: 1 s, but never over ResetGap
	ResetGap     time.Duration // the most that other I/O waits for a reset: 500 ms
	Login        time.Duration // what a login may take: 15 s
	FenceLogin   time.Duration // what a fencing login may take: 5 s
	FenceRetry   time.Duration // between fencing attempts that failed: 1 s
	OwnRoute     time.Duration // a fence waits so long for a login over the path's own way: 250 ms
	Failback     time.Duration // stable before a path is used again: 15 s
	Probe        time.Duration // between proofs of a path that fails: 5 s
	Check        time.Duration // between checks of an idle path, doubled up to CheckMax: 5 s
	CheckMax     time.Duration // 20 s; at least Check
	SlowProbe    time.Duration // between proofs of a quarantined path: 60 s
	Discover     time.Duration // between SendTargets: 60 s
	DiscoverFail time.Duration // after a failed one, doubled up to Discover: 1 s
	Scan         time.Duration // a command of the scan: 5 s
	Rescan       time.Duration // between scans of a session that is up: 300 s
	Reclaim      time.Duration // what is gone for so long is forgotten: 300 s
	Gone         time.Duration // a login that finds no target is tried again after this, and then believed: 10 s
	GroupSwitch  time.Duration // between two SET TARGET PORT GROUPS of ours: 10 s
	Drain        time.Duration // draining at Close: 10 s
}

// DefaultTimers gives the defaults, for a Manager that is used by itself; the
// gateway passes those of its one table.
func DefaultTimers() Timers {
	return Timers{
		Command: 8 * time.Second, Request: 25 * time.Second,
		Abort: 2 * time.Second, Reset: 5 * time.Second,
		ResetDrain: time.Second, ResetGap: 500 * time.Millisecond,
		Login: 15 * time.Second, FenceLogin: 5 * time.Second, FenceRetry: time.Second, OwnRoute: 250 * time.Millisecond,
		Failback: 15 * time.Second, Probe: 5 * time.Second, Check: 5 * time.Second, CheckMax: 20 * time.Second, SlowProbe: time.Minute,
		Discover: time.Minute, DiscoverFail: time.Second, Scan: 5 * time.Second, GroupSwitch: 10 * time.Second,
		Rescan: 300 * time.Second, Reclaim: 300 * time.Second, Gone: 10 * time.Second, Drain: 10 * time.Second,
	}
}

// fill replaces zero fields by their defaults.
func (t *Timers) fill() {
	d := DefaultTimers()
	have, def := t.all(), d.all()
	for i := range have {
		if *have[i] == 0 {
			*have[i] = *def[i]
		}
	}
	t.CheckMax = max(t.CheckMax, t.Check)
}

func (t *Timers) all() []*time.Duration {
	return []*time.Duration{
		&t.Command, &t.Request, &t.Abort, &t.Reset, &t.ResetDrain, &t.ResetGap, &t.Login,
		&t.FenceLogin, &t.FenceRetry, &t.OwnRoute, &t.Failback, &t.Probe, &t.Check, &t.CheckMax, &t.SlowProbe, &t.Discover,
		&t.DiscoverFail, &t.Scan, &t.GroupSwitch,
		&t.Rescan, &t.Reclaim, &t.Gone, &t.Drain,
	}
}

const defaultLastLUN = 255

// validate reports all faults at once.
func (c *Config) validate() error {
	var faults []error
	names := map[string]bool{}
	for _, a := range c.Adapters {
		switch {
		case a.Name == "" || names[a.Name]:
			faults = append(faults, fmt.Errorf("adapter %q: name is empty or not unique", a.Name))
		case a.Connector == nil:
			faults = append(faults, fmt.Errorf("adapter %q: no connector", a.Name))
		case a.Bandwidth > MaxBandwidth:
			faults = append(faults, fmt.Errorf("adapter %q: bandwidth of %d", a.Name, a.Bandwidth))
		}
		names[a.Name] = true
	}
	if len(c.Adapters) == 0 {
		faults = append(faults, errors.New("no adapter"))
	}
	for i := range c.Targets {
		t := &c.Targets[i]
		if len(t.Portals) == 0 {
			faults = append(faults, fmt.Errorf("target %d: no portal", i))
		}
		if t.LastLUN < t.FirstLUN {
			faults = append(faults, fmt.Errorf("target %d: LUN range %d-%d", i, t.FirstLUN, t.LastLUN))
		}
		if t.Bandwidth > MaxBandwidth {
			faults = append(faults, fmt.Errorf("target %d: bandwidth of %d", i, t.Bandwidth))
		}
		for _, a := range t.Adapters {
			if !names[a] {
				faults = append(faults, fmt.Errorf("target %d: adapter %q is not known", i, a))
			}
		}
	}
	for _, d := range c.Timers.all() {
		if *d < 0 {
			faults = append(faults, errors.New("a timer is negative"))
			break
		}
	}
	if c.Store == nil || c.Events == nil {
		faults = append(faults, errors.New("no store or no event sink"))
	}
	return errors.Join(faults...)
}
