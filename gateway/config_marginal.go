// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"time"

	"pathgate/multipath"
)

// MarginalConfig is `marginal:`, at the top for all LUNs and in a rule of luns for
// some: when a path that works is put on probation, and what ends that. The names
// follow multipath-tools' marginal_path_*.
type MarginalConfig struct {
	// Losses of a path within Window make it flapping: it is used only while no other
	// one is, until it has passed a recheck. 0-16, default 4; 0: never, and the
	// failback delay does not double with each loss either.
	Losses int
	// RequestErrors on a path within Window make it unreliable, if another one has less
	// than a quarter as many: it is treated as a flapping one. 0-100, default 20; 0:
	// never.
	RequestErrors int
	// Window of Losses and RequestErrors: 1 s-24 h, default 2 min.
	Window time.Duration
	// Recheck is how long the test reads of a flapping path have to go well: 1 s-24 h,
	// default 60 s.
	Recheck time.Duration
	// Interval of test reads: 10 ms-1 min, default 500 ms.
	Interval time.Duration
	// Errors is how many of 1000 test reads of a recheck may fail: 0-1000, default 10.
	Errors int
	// Slow is the factor by which requests have to take longer than on a path's siblings
	// for it to be slow: 0-1000, default 4; 0: no path ever is.
	Slow int
	// SlowFloor is the least difference that counts: 100 us-1 min, default 5 ms. Too
	// low, and noise takes paths out of use.
	SlowFloor time.Duration
}

func defaultMarginal() MarginalConfig {
	return MarginalConfig{
		Losses: 4, RequestErrors: 20, Window: 2 * time.Minute, Recheck: time.Minute, Interval: 500 * time.Millisecond,
		Errors: 10, Slow: 4, SlowFloor: 5 * time.Millisecond,
	}
}

// marginal reads the mapping at v over what m has already.
func (d *decoder) marginal(v value, key string, m *MarginalConfig) {
	o := d.object(v, key, "losses", "request-errors", "window", "recheck", "interval", "errors", "slow", "slow-floor")
	o.integer("losses", &m.Losses, 0, multipath.MaxLosses)
	o.integer("request-errors", &m.RequestErrors, 0, multipath.MaxFaults)
	o.duration("window", &m.Window, time.Second, 24*time.Hour)
	o.duration("recheck", &m.Recheck, time.Second, 24*time.Hour)
	o.duration("interval", &m.Interval, 10*time.Millisecond, time.Minute)
	o.integer("errors", &m.Errors, 0, 1000)
	o.integer("slow", &m.Slow, 0, 1000)
	o.duration("slow-floor", &m.SlowFloor, 100*time.Microsecond, time.Minute)
}

// rule turns it over, where 0 is the default and -1 is 0.
func (m MarginalConfig) rule() multipath.MarginalRule {
	none := func(n int) int {
		if n == 0 {
			return -1
		}
		return n
	}
	return multipath.MarginalRule{
		Losses: none(m.Losses), Faults: none(m.RequestErrors), Window: m.Window, Recheck: m.Recheck, Interval: m.Interval,
		Errors: none(m.Errors), Factor: none(m.Slow), Floor: m.SlowFloor,
	}
}
