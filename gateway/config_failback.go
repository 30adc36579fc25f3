// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"time"

	"pathgate/multipath"
)

// Failback is `failback:` in a rule of luns: when a path that was lost and is there
// again, or a port group that is better again, is used.
//
//	failback: immediate
//	failback: 15s                                # the default is timeouts.failback
//	failback: manual
//	failback: {pending-bytes: 1MiB, quiet: 5s}   # when little is in flight
type Failback struct {
	// Mode is delayed by default.
	Mode FailbackMode
	// Delay of FailbackDelayed, 10 ms to 24 h. 0: Timeouts.Failback.
	Delay time.Duration
	// Pending and Quiet are the condition of FailbackConditional: at most so many bytes
	// in flight to the device, for so long without a break, up to 24 h. 0 and 0: nothing,
	// for a moment.
	Pending Size
	Quiet   time.Duration
}

// FailbackMode is a way of failing back.
type FailbackMode string

// The modes. Flapping makes each but FailbackManual wait longer.
const (
	FailbackDelayed     FailbackMode = "delayed"
	FailbackImmediate   FailbackMode = "immediate"
	FailbackManual      FailbackMode = "manual"
	FailbackConditional FailbackMode = "conditional"
)

const failbackRule = "immediate, manual, a time from 10ms to 24h, or {pending-bytes: SIZE, quiet: TIME}"

// failback reads the value of the key.
func (d *decoder) failback(o object, f *Failback) {
	v, key, ok := o.get("failback")
	if !ok {
		return
	}
	if v.kind != kindMap {
		parsed(o, "failback", f, parseFailback, failbackRule)
		return
	}
	c := d.object(v, key, "pending-bytes", "quiet")
	*f = Failback{Mode: FailbackConditional}
	parsed(c, "pending-bytes", &f.Pending, ParseSize, sizeRule)
	c.duration("quiet", &f.Quiet, 0, 24*time.Hour)
}

func parseFailback(s string) (Failback, error) {
	switch m := FailbackMode(s); m {
	case FailbackImmediate, FailbackManual:
		return Failback{Mode: m}, nil
	case FailbackDelayed, FailbackConditional:
		return Failback{}, errWord
	}
	d, err := parseDuration(s, 10*time.Millisecond, 24*time.Hour)
	if errors.Is(err, errDuration) {
		err = errWord
	}
	return Failback{Mode: FailbackDelayed, Delay: d}, err
}

// rule puts it into a rule of the path manager.
func (f Failback) rule(r *multipath.Rule) {
	r.Failback = multipath.FailbackRule{Delay: f.Delay, Pending: uint64(f.Pending), Quiet: f.Quiet}
	switch f.Mode {
	case FailbackImmediate:
		r.Failback.Mode = multipath.FailbackImmediate
	case FailbackManual:
		r.Failback.Mode = multipath.FailbackManual
	case FailbackConditional:
		r.Failback.Mode = multipath.FailbackConditional
	case FailbackDelayed:
		r.Failback.Mode = multipath.FailbackDelayed
	}
}
