// SPDX-License-Identifier: Apache-2.0

//go:build integration

package alua

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/lio"
	"pathgate/integration/proxy"
)

// TestLIOGroups has the tests on one guest, one after another: a start takes longer
// than each of them. Each begins with both groups active and both kinds of change
// allowed.
func TestLIOGroups(t *testing.T) {
	a := newArray(t)
	for _, tt := range []struct {
		name string
		run  func(*testing.T, *array)
	}{
		{"implicit changes under load", implicitChanges},
		{"a transition is waited for", transition},
		{"storage processor failover", processorFailover},
		{"a lost group is replaced", lostGroup},
		{"the preferred group is made active", preferredGroup},
		{"switch-group", switchGroup},
		{"both kinds of active groups are used", useNonOptimized},
		{"device simulate tells of the loss of a processor", simulateProcessor},
		{"device simulate tells of a target that chooses by itself", simulateImplicit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for i, p := range a.proxies {
				p.Clear()
				if err := a.srv.SetTransition(t.Context(), 0, i, 0); err != nil {
					t.Fatal(err)
				}
				if err := a.srv.SetPreferred(t.Context(), 0, i, false); err != nil {
					t.Fatal(err)
				}
			}
			a.access(t, lio.AccessBoth)
			a.set(t, lio.ActiveOptimized, lio.ActiveOptimized)
			tt.run(t, a)
		})
	}
}

// implicitChanges: whatever states the target gives its groups, as long as one
// serves no request fails, and one that does not serve carries no data.
func implicitChanges(t *testing.T, a *array) {
	a.access(t, lio.AccessImplicit)
	g := a.gateway(t, "{"+queue+", failback: immediate}", nil)
	l := startLoad(t, g, a.proxies)
	used(t, g, "0", "1")
	for _, step := range []struct {
		states []lio.ALUA
		used   int
	}{
		{[]lio.ALUA{lio.ActiveOptimized, lio.Standby}, 0},
		{[]lio.ALUA{lio.ActiveNonOptimized, lio.ActiveOptimized}, 1},
		{[]lio.ALUA{lio.Unavailable, lio.ActiveOptimized}, 1},
		{[]lio.ALUA{lio.ActiveNonOptimized, lio.Unavailable}, 0},
		{[]lio.ALUA{lio.ActiveOptimized, lio.ActiveNonOptimized}, 0},
		{[]lio.ALUA{lio.Standby, lio.ActiveNonOptimized}, 1},
	} {
		a.set(t, step.states...)
		used(t, g, string(rune('0'+step.used)))
		a.silent(t, g, 1-step.used)
	}
	l.stop(t)
}

// transition: a group that takes a second to become active is waited for.
func transition(t *testing.T, a *array) {
	a.access(t, lio.AccessImplicit)
	a.set(t, lio.ActiveOptimized, lio.Standby)
	g := a.gateway(t, "{"+queue+"}", nil)
	used(t, g, "0")
	if err := a.srv.SetTransition(t.Context(), 0, 0, time.Second); err != nil {
		t.Fatal(err)
	}
	l := startLoad(t, g, a.proxies)
	a.busy(t, 0, 50)
	mark := g.Events.Mark()
	a.set(t, lio.ActiveNonOptimized, lio.Standby)
	g.Events.Wait(t, mark, patience, func(e gate.Event) bool { return e.Message == "access transitioning" })
	used(t, g, "0")
	a.busy(t, 0, 50)
	l.stop(t)
}

// cut resets what goes to group 0, and refuses more. Nobody can fence over another
// portal group what went there, so a load that writes twice to one place ends well only
// after Clear.
func (a *array) cut() {
	a.proxies[0].MustSet(proxy.Fault{Kind: proxy.Refuse})
	a.proxies[0].ResetConns()
}

// processorFailover: all paths of the active group are lost, and the other is on
// standby.
func processorFailover(t *testing.T, a *array) {
	a.access(t, lio.AccessBoth)
	a.set(t, lio.ActiveOptimized, lio.Standby)
	g := a.gateway(t, "{"+queue+"}", nil)
	used(t, g, "0")
	l := startLoad(t, g, a.proxies)
	a.busy(t, 0, 50)
	mark, from := g.Events.Mark(), a.data(1)
	a.cut()
	e := g.Events.Wait(t, mark, patience, gate.Kind("group-switch"))
	if e.Attrs["method"] != "set-target-port-groups" || !strings.Contains(e.Message, "group 1 instead of 0") {
		t.Errorf("%v", e)
	}
	t.Logf("%v", e)
	used(t, g, "1")
	a.flows(t, 1, from)
	states, err := a.srv.ALUAs(t.Context(), 0)
	if err != nil || states[1] != lio.ActiveOptimized {
		t.Errorf("states %v, %v", states, err)
	}
	a.proxies[0].Clear()
	l.stop(t)
}

// lostGroup: the other group is not optimized. Requests go there at once, and the
// target is asked to make it so.
func lostGroup(t *testing.T, a *array) {
	a.set(t, lio.ActiveOptimized, lio.ActiveNonOptimized)
	g := a.gateway(t, "{"+queue+"}", nil)
	used(t, g, "0")
	l := startLoad(t, g, a.proxies)
	a.busy(t, 0, 50)
	from := a.data(1)
	a.cut()
	eventually(t, func() bool {
		states, err := a.srv.ALUAs(t.Context(), 0)
		return err == nil && states[1] == lio.ActiveOptimized
	}, func() { t.Error("group 1 was not made active") })
	a.flows(t, 1, from)
	a.proxies[0].Clear()
	l.stop(t)
}

// preferredGroup: of two groups the preferred one is made active, and used though
// the other could be.
func preferredGroup(t *testing.T, a *array) {
	a.set(t, lio.ActiveOptimized, lio.ActiveNonOptimized)
	if err := a.srv.SetPreferred(t.Context(), 0, 1, true); err != nil {
		t.Fatal(err)
	}
	g := a.gateway(t, "{"+queue+", exclusive-preferred: true}", nil)
	used(t, g, "1")
	eventually(t, func() bool {
		states, err := a.srv.ALUAs(t.Context(), 0)
		return err == nil && states[1] == lio.ActiveOptimized
	}, func() { t.Error("group 1 was not made active") })
	used(t, g, "1") // and not 0 too, which is optimized still
	for _, p := range g.Paths(t) {
		if want := p.Group == "1"; p.Preferred != want {
			t.Errorf("%+v", p)
		}
	}
}

// switchGroup: a person makes a standby group active, by the command of docs/alua.md.
func switchGroup(t *testing.T, a *array) {
	a.set(t, lio.ActiveOptimized, lio.Standby)
	g := a.gateway(t, "{"+queue+", failback: manual}", nil)
	used(t, g, "0")
	l := startLoad(t, g, a.proxies)
	a.busy(t, 0, 20)
	mark := g.Events.Mark()
	text, err := os.ReadFile("../../docs/alua.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile(`(?m)^pathgate (.*)$`).FindAllStringSubmatch(string(text), -1)
	if len(shown) != 1 {
		t.Fatalf("docs/alua.md shows %q", shown)
	}
	if out := g.MustCLI(t, strings.Fields(shown[0][1])...); out != "device vmhba0:0:0: uses group 1 (optimized)\n" {
		t.Errorf("got %q", out)
	}
	if e := g.Events.Wait(t, mark, patience, gate.Kind("operator")); e.Attrs["verb"] != "device switch-group" || e.Attrs["group"] != "1" || e.Device != "vmhba0:0:0" {
		t.Errorf("%v", e)
	}
	used(t, g, "1")
	a.busy(t, 1, 20)
	a.access(t, lio.AccessImplicit)
	a.set(t, lio.Standby, lio.ActiveOptimized)
	eventually(t, func() bool {
		for _, p := range g.Paths(t) {
			if p.Group == "0" && p.Access != "standby" {
				return false
			}
		}
		return true
	}, func() { t.Errorf("%+v", g.Paths(t)) })
	l.stop(t)
}
