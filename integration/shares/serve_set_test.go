// SPDX-License-Identifier: Apache-2.0

//go:build integration

package shares

import (
	"testing"
	"time"

	"pathgate/integration/gate"
)

// `share set` is in force within 100 ms of its end, shown by `share list`, and kept
// over a restart.
func TestServeSet(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{rate: 500, scheduler: scheduler(1000, "limit-slop: 20ms")}, of("vm1", 1000), of("vm2", 1000))
	loads := b.closed()
	b.warm()
	b.expect("before share set", 2*time.Second, b.each(loads, 500, 500)...)
	b.setShares(loads)
	b.expect("share set --shares 4000", 3*time.Second, b.each(loads, 800, 200)...)
	b.setLimit()
	b.expect("share set --shares 4000 --limit-iops 500", 3*time.Second, b.each(loads, 500, 500)...)
	b.inForce()
	if !gate.Poll(5*time.Second, func() bool { // now and then its turn has come, and it waits for the window
		row := b.shares()["vm1"]
		return row.Why != nil && row.Why.Reason == "limit"
	}) {
		t.Errorf("share list: vm1 waits for %+v, want its limit", b.shares()["vm1"].Why)
	}
	finish(t, loads...)

	if _, err := b.g.Terminate(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := b.g.Start(); err != nil {
		t.Fatal(err)
	}
	b.settle()
	b.inForce()
	loads = b.closed()
	b.warm()
	b.expect("after a restart", 3*time.Second, b.each(loads, 500, 500)...)
	b.g.MustCLI(t, "share", "set", "vm1/root", "--limit-iops", "none")
	b.clock.Sleep(b.clock.Now() + within)
	b.expect("without the limit", 3*time.Second, b.each(loads, 800, 200)...)
	finish(t, loads...)
}

// setTries is how often a change is made and looked at, if the machine is late with it:
// a gateway that is late by itself is so each time.
const setTries = 5

// setLimit gives vm1 a limit of 500, and looks how soon a command waits for it.
func (b *bed) setLimit() {
	b.t.Helper()
	for i := 1; ; i++ {
		b.g.MustCLI(b.t, "share", "set", "vm1/root", "--shares", "4000", "--limit-iops", "500")
		set := time.Now()
		b.clock.Sleep(b.clock.Now() + within)
		late := b.first("vm1", "limit", set.Add(-within)).Time.Sub(set)
		if late <= within {
			return
		}
		if i == setTries {
			b.t.Errorf("the first command that waited for the limit did so %v after the end of share set, want at most %v", late, within)
			return
		}
		b.g.MustCLI(b.t, "share", "set", "vm1/root", "--limit-iops", "none")
		b.warm()
	}
}

// setShares raises the shares of vm1 from 1000 to 4000, against 1000 of vm2, and looks
// at what the two get from 100 ms after the end of the command on.
func (b *bed) setShares(loads []*Load) {
	b.t.Helper()
	const length, want = 500 * time.Millisecond, 0.8
	for i := 1; ; i++ {
		b.g.MustCLI(b.t, "share", "set", "vm1/root", "--shares", "4000")
		from := b.clock.Now() + within
		b.clock.Sleep(from + length)
		one, two := loads[0].Rate(from, from+length), loads[1].Rate(from, from+length)
		got := one / (one + two)
		b.t.Logf("measured: share set: %.1f%% of the LUN's rate in the %v that follow %v after it", 100*got, length, within)
		if d := got/want - 1; d <= Tolerance && d >= -Tolerance {
			return
		}
		if i == setTries {
			b.t.Errorf("vm1 has %.1f%% of the LUN's rate %v after share set, want %.0f%%", 100*got, within, 100*want)
			return
		}
		b.g.MustCLI(b.t, "share", "set", "vm1/root", "--shares", "1000")
		b.warm()
	}
}

// first gives the first decision since from that a VM waits for this reason.
func (b *bed) first(vm, reason string, from time.Time) (d decision) {
	b.t.Helper()
	if !gate.Poll(5*time.Second, func() bool {
		for _, d = range b.decisions(vm) {
			if d.Verdict == "queued" && d.Reason == reason && !d.Time.Before(from) {
				return true
			}
		}
		return false
	}) {
		b.t.Fatalf("no decision about %s since %v names %s", vm, from, reason)
	}
	return d
}

// inForce fails the test unless vm1 has what was set.
func (b *bed) inForce() {
	b.t.Helper()
	row := b.shares()["vm1"]
	if e := row.Effective; e == nil || e.Shares != 4000 || e.Limit.IOPS != 500 || e.LimitCU != 500 {
		b.t.Errorf("share list: vm1 has %+v in force, want 4000 shares and a limit of 500", e)
	}
	if c := row.Configured; c.Shares != 4000 || c.Limit.IOPS != 500 {
		b.t.Errorf("share list: vm1 has asked for %+v", c)
	}
}
