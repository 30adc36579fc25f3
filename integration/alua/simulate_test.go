// SPDX-License-Identifier: Apache-2.0

//go:build integration

package alua

import (
	"encoding/json"
	"slices"
	"testing"

	"pathgate/integration/gate"
	"pathgate/integration/lio"
)

// foretold is what the tests look at of device simulate.
type foretold struct {
	Left    []string
	Access  string
	Moves   bool
	Now     uint64 `json:"capacity_now"`
	Then    uint64 `json:"capacity_then"`
	Nominal uint64 `json:"capacity_nominal"`
	VMs     []struct {
		Active           bool
		BelowReservation bool `json:"below_reservation"`
	}
	Disks []struct {
		LosesAllPaths bool `json:"loses_all_paths"`
	}
}

// decode reads what a command prints with -o json.
func decode[T any](t *testing.T, g *gate.Gate, args ...string) (v T) {
	t.Helper()
	out := g.MustCLI(t, append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
	return v
}

// reserved is a gateway on which vm1 has 600 of 1000 CU/s reserved, and asks for them.
func (a *array) reserved(t *testing.T) *gate.Gate {
	t.Helper()
	g := a.gatewayWith(t, gate.Config{
		Rules:    []string{"{" + queue + ", failback: immediate, scheduler: {capacity: 1000}}"},
		Timeouts: map[string]string{"group-switch": "10ms"},
		Disks:    []string{`{name: root, lun: "vmhba0:0:0", reservation: {iops: 600}}`},
	})
	load := gate.StartProbe(0, 8*mib, 8, g.Connect(t, "vm1/root"))
	t.Cleanup(func() {
		for _, p := range a.proxies {
			p.Clear() // what waits for a path must end
		}
		for _, err := range load.Stop() {
			t.Errorf("under load: %v", err)
		}
	})
	return g
}

// ask asks what a loss would leave, once vm1 is active.
func ask(t *testing.T, g *gate.Gate, without string) (s foretold) {
	t.Helper()
	eventually(t, func() bool {
		list := decode[[]foretold](t, g, "device", "simulate", "--without", without)
		if len(list) == 1 {
			s = list[0]
			slices.Sort(s.Left)
		}
		return len(s.VMs) == 1 && s.VMs[0].Active && reservation(t, g) == "met"
	}, func() { t.Errorf("vm1 is not active: %+v", s) })
	return s
}

func reservation(t *testing.T, g *gate.Gate) (state string) {
	t.Helper()
	for _, s := range decode[[]struct{ Reservation string }](t, g, "share", "list") {
		state = s.Reservation
	}
	return state
}

// cameTrue waits until things are as they were foretold.
func (s *foretold) cameTrue(t *testing.T, g *gate.Gate) {
	t.Helper()
	type device struct {
		Now     uint64 `json:"capacity_now"`
		Nominal uint64 `json:"capacity_nominal"`
		State   string
	}
	var names []string
	var is device
	eventually(t, func() bool {
		names = nil
		served := true
		for _, p := range g.Paths(t) {
			if p.Used {
				names = append(names, p.Name)
				served = served && p.Access == s.Access
			}
		}
		slices.Sort(names)
		is = decode[[]device](t, g, "device", "list")[0]
		return slices.Equal(names, s.Left) && served && is.Now == s.Then && is.Nominal == s.Nominal
	}, func() { t.Errorf("told %+v; %v are used, and there is %+v", *s, names, is) })
	if lost := len(s.Left) == 0; s.Disks[0].LosesAllPaths != lost || lost != (is.State == "all-paths-down") {
		t.Errorf("told %+v; the device is %s", *s, is.State)
	}
	if len(s.Left) > 0 {
		want := map[bool]string{true: "scaled", false: "met"}[s.VMs[0].BelowReservation]
		eventually(t, func() bool { return reservation(t, g) == want },
			func() { t.Errorf("told %+v; the reservation is %s", *s, reservation(t, g)) })
	}
	t.Logf("measured: %d of %d paths' capacity, as told", is.Now, is.Nominal)
}

// simulateProcessor: what device simulate tells of the loss of the active group, which
// has the target make the other one active, and of an adapter, which leaves half of the
// group, is so when they are lost.
func simulateProcessor(t *testing.T, a *array) {
	a.set(t, lio.ActiveOptimized, lio.Standby)
	g := a.reserved(t)
	for _, c := range []struct {
		name   string
		states []lio.ALUA
		moves  bool
		below  bool
		adapt  bool // an adapter is lost, and not a portal
	}{
		{name: "to a standby group", states: []lio.ALUA{lio.ActiveOptimized, lio.Standby}, moves: true},
		{name: "to a non-optimized group", states: []lio.ALUA{lio.ActiveOptimized, lio.ActiveNonOptimized}, moves: true},
		{name: "to an unavailable group", states: []lio.ALUA{lio.ActiveOptimized, lio.Unavailable}, moves: true},
		{name: "within the group", states: []lio.ALUA{lio.ActiveOptimized, lio.Standby}, below: true, adapt: true},
	} {
		a.set(t, c.states...)
		used(t, g, "0")
		without := a.proxies[0].Addr()
		if c.adapt {
			without = "vmhba0"
		}
		s := ask(t, g, without)
		if s.Moves != c.moves || s.VMs[0].BelowReservation != c.below || s.Access != "optimized" {
			t.Errorf("%s: told %+v", c.name, s)
		}
		mark := g.Events.Mark()
		if c.adapt {
			for _, p := range g.Paths(t) {
				if p.Adapter == without {
					g.MustCLI(t, "path", "fail", "--hold", p.Name)
				}
			}
		} else {
			a.cut()
		}
		s.cameTrue(t, g)
		if c.moves {
			g.Events.Wait(t, mark, patience, func(e gate.Event) bool {
				return e.Kind == "group-switch" && e.Attrs["method"] == "set-target-port-groups"
			})
		}
		a.proxies[0].Clear()
		a.set(t, lio.ActiveOptimized, lio.ActiveOptimized)
		if c.adapt {
			for _, p := range g.Paths(t) {
				if p.Health == "down" {
					g.MustCLI(t, "path", "reinstate", p.Name)
				}
			}
		}
		g.WaitUp(t, 4, patience)
	}
}

// simulateImplicit: nobody may ask the target for another group, so that the loss of the
// active one would leave nothing, and does.
func simulateImplicit(t *testing.T, a *array) {
	a.access(t, lio.AccessImplicit)
	a.set(t, lio.ActiveOptimized, lio.Standby)
	g := a.reserved(t)
	used(t, g, "0")
	s := ask(t, g, a.proxies[0].Addr())
	if s.Moves || len(s.Left) != 0 || !s.VMs[0].BelowReservation {
		t.Errorf("told %+v", s)
	}
	a.cut()
	s.cameTrue(t, g)
}
