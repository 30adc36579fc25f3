// SPDX-License-Identifier: Apache-2.0

//go:build integration

package operate

import (
	"slices"
	"testing"
	"time"

	"pathgate/integration/gate"
)

// simulation is what the tests look at of device simulate.
type simulation struct {
	Without, Left []string
	Now           uint64 `json:"capacity_now"`
	Then          uint64 `json:"capacity_then"`
	Nominal       uint64 `json:"capacity_nominal"`
	VMs           []struct {
		VM               string
		Active           bool
		BelowReservation bool `json:"below_reservation"`
		BelowIfClaimed   bool `json:"below_if_claimed"`
	}
	Disks []struct {
		Disk          string
		LosesAllPaths bool   `json:"loses_all_paths"`
		AllPathsDown  string `json:"all_paths_down"`
	}
}

// capacities are those of a device.
type capacities struct {
	Now     uint64 `json:"capacity_now"`
	Nominal uint64 `json:"capacity_nominal"`
	State   string
}

// TestSimulateAgreesWithTheCut: what device simulate tells of a loss is what device list
// and share list show when the paths are really cut.
func TestSimulateAgreesWithTheCut(t *testing.T) {
	b := newBed(t, gate.Config{
		Rules: []string{`{id: "*", all-paths-down: queue, cache: protected, scheduler: {capacity: 1000}}`},
		Disks: []string{`{name: root, lun: "vmhba0:0:1", reservation: {iops: 600}}`},
	}, "bandwidth: 100MB/s")
	load := gate.StartProbe(0, 8*mib, 4, b.g.Connect(t, "vm1/root"))
	defer load.Stop()
	reserved := func() (state string) {
		for _, s := range decoded[[]struct{ VM, Reservation string }](b, "share", "list") {
			state = s.Reservation
		}
		return state
	}
	if !gate.Poll(settle, func() bool {
		s := decoded[[]simulation](b, "device", "simulate", "--without", b.proxies[0].Addr())
		return len(s) == 1 && len(s[0].VMs) == 1 && s[0].VMs[0].Active && reserved() == "met"
	}) {
		t.Fatal("vm1 is never active")
	}
	for _, c := range []struct {
		name    string
		without []string
		lose    func()
		below   bool
	}{
		{"a path", []string{"vmhba1:1:1"}, func() { b.g.MustCLI(t, "path", "fail", "--hold", "vmhba1:1:1") }, false},
		{"a portal", []string{b.proxies[0].Addr()}, func() { b.cut(0) }, true},
		{"an adapter", []string{"vmhba0"}, func() {
			for _, p := range b.g.Paths(t) {
				if p.Adapter == "vmhba0" {
					b.g.MustCLI(t, "path", "fail", "--hold", p.Name)
				}
			}
		}, false},
		{"all", []string{target}, func() { b.cut(0); b.cut(1) }, true},
	} {
		args := []string{"device", "simulate"}
		for _, w := range c.without {
			args = append(args, "--without", w)
		}
		list := decoded[[]simulation](b, args...)
		if len(list) != 1 {
			t.Fatalf("%s: %d devices are told", c.name, len(list))
		}
		s := list[0]
		slices.Sort(s.Left)
		c.lose()
		var used []string
		var now capacities
		if !gate.Poll(settle, func() bool {
			used = nil
			for _, p := range b.g.Paths(t) {
				if p.Used {
					used = append(used, p.Name)
				}
			}
			slices.Sort(used)
			now = decoded[[]capacities](b, "device", "list")[0]
			return slices.Equal(used, s.Left) && now.Now == s.Then && now.Nominal == s.Nominal
		}) {
			t.Errorf("%s: told %+v; %v are used, and there is %+v", c.name, s, used, now)
		}
		if got := s.VMs[0].BelowReservation; got != c.below {
			t.Errorf("%s: told that vm1 falls below its reservation: %v", c.name, got)
		}
		if lost := len(s.Left) == 0; s.Disks[0].LosesAllPaths != lost || lost != (now.State == "all-paths-down") {
			t.Errorf("%s: told of the disk %+v; the device is %s", c.name, s.Disks[0], now.State)
		}
		if len(s.Left) > 0 {
			want := map[bool]string{true: "scaled", false: "met"}[c.below]
			if !gate.Poll(settle, func() bool { return reserved() == want }) {
				t.Errorf("%s: the reservation is %s, want %s", c.name, reserved(), want)
			}
		}
		t.Logf("measured: without %s %d of %d bytes/s, as told", c.name, now.Now, now.Nominal)
		b.restore()
		for _, p := range b.g.Paths(t) {
			if p.Health == "down" {
				_, _ = b.g.CLI(t.Context(), "path", "reinstate", p.Name, "--wait", time.Second.String()) // settle tells
			}
		}
		b.settle()
	}
}
