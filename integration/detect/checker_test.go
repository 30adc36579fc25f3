// SPDX-License-Identifier: Apache-2.0

//go:build integration

package detect

import (
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/proxy"
	"pathgate/integration/scripted"
	"pathgate/internal/scsi"
)

// TestPA2IdlePath: nobody uses the LUN, and a path to it stops working while its
// session lives. The checker finds out, and that it works again.
func TestPA2IdlePath(t *testing.T) {
	tg, g := arranged(t, gate.Config{Timeouts: map[string]string{"checker": "200ms", "checker-max": "400ms"}})
	mark := g.Events.Mark()
	rule := tg.On(scripted.Rule{Portals: []int{1}, LUNs: []uint16{1}, Do: scripted.Check(scsi.CodeManualIntervention)})
	for _, name := range []string{"vmhba0:1:1", "vmhba1:1:1"} {
		e := g.Events.Wait(t, mark, long, func(e gate.Event) bool { return e.Kind == "path-down" && e.Path == name })
		if !strings.Contains(e.Message, "TEST UNIT READY") {
			t.Errorf("got %v", e)
		}
	}
	down := g.Events.Since(mark, gate.Kind("path-down"))
	if len(down) != 2 {
		t.Errorf("others are down, too: %v", down)
	}
	rule.Remove()
	g.WaitUp(t, 16, long)
}

// TestPA3AnswersAndFails: all commands but reads and writes work on one path. It is
// down once, and stays so over many checks until a read works again.
func TestPA3AnswersAndFails(t *testing.T) {
	tg, g := arranged(t, gate.Config{Timeouts: map[string]string{"checker": "100ms", "checker-max": "100ms", "failback": "100ms"}})
	load(t, g, 4*mib)
	mark := g.Events.Mark()
	rule := tg.On(scripted.Rule{Portals: []int{0}, LUNs: []uint16{1}, Ops: scripted.Data, Do: scripted.Check(scsi.MakeSenseCode(scsi.AbortedCommand, 0x4b, 0))})
	g.Events.Wait(t, mark, long, func(e gate.Event) bool { return e.Kind == "path-down" && e.Path == "vmhba0:0:1" })
	from := rule.Hits()
	if !gate.Poll(long, func() bool { return rule.Hits() > from+20 }) { // test reads
		t.Fatalf("%d test reads", rule.Hits()-from)
	}
	for _, name := range []string{"vmhba0:0:1", "vmhba1:0:1"} {
		list := g.Events.Since(mark, func(e gate.Event) bool {
			return e.Path == name && (e.Kind == "path-down" || e.Kind == "path-up" || e.Kind == "failback")
		})
		if len(list) > 1 || len(list) == 1 && list[0].Kind != "path-down" {
			t.Errorf("%s flips: %v", name, list)
		}
	}
	rule.Remove()
	g.WaitUp(t, 16, long)
}

// TestH13FlappingPath: a path is cut again and again. After the third time it is not
// used any more although it is there, and is used again after a good recheck.
func TestH13FlappingPath(t *testing.T) {
	ps, g := proxied(t, gate.Config{
		Timeouts: map[string]string{"failback": "50ms"},
		Marginal: "{losses: 3, window: 5m, recheck: 3s, interval: 50ms, slow: 0}",
	})
	p := load(t, g, 16*mib)
	const name = "vmhba0:0:1"
	for i := range 3 {
		at := p.Done()
		path(t, g, name, func(p gate.Path) bool { return p.Used })
		if !gate.Poll(long, func() bool { return p.Done() > at+200 }) {
			t.Fatal("the load stands still")
		}
		mark := g.Events.Mark()
		if ps[0].ResetConns() == 0 {
			t.Fatal("nothing was cut")
		}
		g.Events.Wait(t, mark, long, func(e gate.Event) bool { return e.Kind == "path-down" && e.Path == name })
		if i == 2 {
			break
		}
	}
	found := path(t, g, name, func(p gate.Path) bool { return p.Health == "marginal" })
	if !strings.HasPrefix(found.Reason, "flapping: 3 losses in 5m0s") || found.Used {
		t.Errorf("got %+v", found)
	}
	carried := found.Reads + found.Writes
	at, begin := p.Done(), time.Now()
	if !gate.Poll(long, func() bool { return p.Done() > at+300 }) {
		t.Fatal("the load stands still")
	}
	if now := path(t, g, name, func(gate.Path) bool { return true }); now.Health == "marginal" && now.Reads+now.Writes != carried {
		t.Errorf("%d requests went over a flapping path", now.Reads+now.Writes-carried)
	}
	path(t, g, name, func(p gate.Path) bool { return p.Health == "up" && p.Used && p.Reason == "" })
	if d := time.Since(begin); d < 2*time.Second {
		t.Errorf("it was used again after %v, before the recheck was over", d)
	}
}

// TestPA4UnreliablePath: each eighth request over one portal fails, and goes well on the
// next try. The path is found, not used any more, and used again after a good recheck.
func TestPA4UnreliablePath(t *testing.T) {
	tg, g := arranged(t, gate.Config{
		Timeouts: map[string]string{"failback": "50ms"},
		Marginal: "{losses: 0, request-errors: 10, window: 5m, recheck: 2s, interval: 50ms, slow: 0}",
	})
	p := load(t, g, 4*mib)
	mark := g.Events.Mark()
	rule := tg.On(scripted.Rule{
		Portals: []int{0}, LUNs: []uint16{1}, Ops: scripted.Data,
		Match: func(c *scripted.Command) bool { return c.CmdSN.Uint32()%8 == 0 }, // of a session, so never three in a row
		Do:    scripted.Check(scsi.MakeSenseCode(scsi.AbortedCommand, 0x4b, 0)),
	})
	found := map[string]time.Time{}
	for _, name := range []string{"vmhba0:0:1", "vmhba1:0:1"} {
		e := g.Events.Wait(t, mark, long, func(e gate.Event) bool { return e.Kind == "path-unreliable" && e.Path == name })
		found[name] = e.Time
		if e.Message != "unreliable: 10 requests failed in 5m0s" {
			t.Errorf("told %v", e)
		}
		path(t, g, name, func(p gate.Path) bool {
			return p.Health == "marginal" && !p.Used && p.Inflight == 0 && strings.HasPrefix(p.Reason, "unreliable: ")
		})
	}
	before := map[string]int64{}
	for _, q := range g.Paths(t) {
		before[q.Name] = q.Reads + q.Writes + q.Errors
	}
	at := p.Done()
	if !gate.Poll(long, func() bool { return p.Done() > at+500 }) {
		t.Fatal("the load stands still")
	}
	for _, q := range g.Paths(t) {
		if q.Health == "marginal" && q.Reads+q.Writes+q.Errors != before[q.Name] {
			t.Errorf("requests went over an unreliable path: %+v", q)
		}
	}
	rule.Remove()
	g.WaitUp(t, 16, long)
	for name, at := range found {
		e := g.Events.Wait(t, mark, long, func(e gate.Event) bool { return e.Kind == "failback" && e.Path == name })
		if d := e.Time.Sub(at); d < 1900*time.Millisecond {
			t.Errorf("%s is used again after %v, before the recheck was over", name, d)
		}
	}
	if list := g.Events.Since(mark, gate.Kind("path-down", "path-unreliable")); len(list) != 2 {
		t.Errorf("told %v", list)
	}
}

// TestPA5SlowPath: the portal of one path becomes slow. The path is found, not used
// any more, and used again when it is fast.
func TestPA5SlowPath(t *testing.T) {
	ps, g := proxied(t, gate.Config{
		Timeouts: map[string]string{"failback": "50ms"},
		Marginal: "{losses: 0, slow: 4, slow-floor: 20ms, interval: 50ms}",
	})
	p := load(t, g, 16*mib)
	const name = "vmhba0:0:1"
	mark := g.Events.Mark()
	at := time.Now()
	ps[0].MustSet(proxy.Fault{Kind: proxy.Delay, Dir: proxy.ToClient, Delay: 300 * time.Millisecond})
	e := told(t, g, mark, "path-slow", "slower than its siblings: requests take ")
	if e.Path != name {
		t.Errorf("got %v", e)
	}
	t.Logf("measured: found %v after the step: %s", e.Time.Sub(at), e.Message)
	found := path(t, g, name, func(p gate.Path) bool {
		return p.Health == "marginal" && !p.Used && strings.Contains(p.Reason, "a test read takes ")
	})
	carried, done := found.Reads+found.Writes, p.Done()
	if !gate.Poll(long, func() bool { return p.Done() > done+500 }) {
		t.Fatal("the load stands still")
	}
	// What was in flight when it was found may still end there.
	if now := path(t, g, name, func(gate.Path) bool { return true }); now.Reads+now.Writes > carried+8 {
		t.Errorf("%d requests went over a slow path", now.Reads+now.Writes-carried)
	}
	ps[0].Clear()
	path(t, g, name, func(p gate.Path) bool { return p.Health == "up" && p.Used && p.Reason == "" })
}
