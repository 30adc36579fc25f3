// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pathgate/gateway/control"
	"pathgate/share"
)

// coreScheduler is a shareScheduler that goes by plans, on a Core alone: the test
// says what time it is and what is asked for.
type coreScheduler struct {
	t      *testing.T
	device ShareDevice
	core   *share.Core
	now    share.Instant
	began  time.Time

	mu    sync.Mutex
	flows []string // VM by FlowID
	cmds  []*share.Cmd
}

func newCoreScheduler(t *testing.T, s *Shares, d ShareDevice) *coreScheduler {
	t.Helper()
	p := share.DefaultSettings()
	c := &coreScheduler{t: t, device: d, core: must[*share.Core](t)(share.NewCore(p, 0)), began: time.Now().Add(-time.Second)}
	t.Cleanup(s.Device(d, c.apply))
	return c
}

func (c *coreScheduler) apply(p LUNPlan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	in := []share.Event{{Kind: share.Configure, Settings: &p.Settings, Version: p.Version}}
	for i := range p.Groups {
		in = append(in, share.Event{Kind: share.ConfigureGroup, Group: share.GroupID(i + 1), GroupEntitlement: &p.Groups[i].Entitlement, Version: p.Version})
	}
	for _, vm := range []string{"vm1", "vm2", "vm3"} {
		f, ok := p.Flows[vm]
		if !ok {
			continue
		}
		e, id := f.Entitlement, slices.Index(c.flows, vm)
		kind := share.ConfigureFlow
		if id < 0 {
			id, kind = len(c.flows), share.AddFlow
			c.flows = append(c.flows, vm)
		}
		in = append(in, share.Event{Kind: kind, Flow: share.FlowID(id), Entitlement: &e, Version: p.Version})
	}
	c.core.Step(c.now, in, nil)
}

// submit has a VM ask for n commands of 4 KiB.
func (c *coreScheduler) submit(vm string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var in []share.Event
	for range n {
		cmd := &share.Cmd{LBA: uint64(len(c.cmds)) * 1000, Bytes: 4096, Class: share.ClassRead}
		c.cmds = append(c.cmds, cmd)
		in = append(in, share.Event{Kind: share.Submit, Flow: share.FlowID(slices.Index(c.flows, vm)), Cmd: cmd})
	}
	c.core.Step(c.now, in, make([]share.Dispatch, 0, 1000))
}

func (c *coreScheduler) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += share.Instant(d)
	c.core.Step(c.now, nil, make([]share.Dispatch, 0, 1000))
}

func (c *coreScheduler) ShareDevice() ShareDevice { return c.device }

func (c *coreScheduler) ShareStatus(dst *share.Snapshot) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.core.Snapshot(dst)
	return c.began
}

func (c *coreScheduler) Explained(dst []share.Explain) []share.Explain {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Explained(dst, 0)
}

func (c *coreScheduler) FlowVM(f share.FlowID) string {
	if int(f) < len(c.flows) {
		return c.flows[f]
	}
	return ""
}

const viewConfig = `
groups: [{name: g1, shares: 3000}]
adapters: [{name: vmhba0, address: 127.0.0.1}]
targets: [{portals: [127.0.0.1]}]
luns: [{id: "*", scheduler: {depth: 8, capacity: 1000}}]
vms:
  - {name: vm1, priority: 9, disks: [{name: a, lun: l1, size: 1GiB, shares: 300, group: g1}, {name: b, lun: l1, offset: 1GiB, size: 3GiB, shares: 200, group: g1, limit: {iops: 9}}]}
  - {name: vm2, disks: [{name: c, lun: l1, offset: 10GiB, size: 1GiB, reservation: {iops: 100}, limit: {iops: 500, burst: {ops: 20}}}]}
  - {name: vm3, disks: [{name: d, file: /f, shares: high}, {name: e, lun: l9}]}
`

// newView makes a view with one LUN and one file that are there.
func newView(t *testing.T) (v *shareView, lun, file *coreScheduler) {
	t.Helper()
	cfg := mustParse(t, viewConfig)
	s := must[*Shares](t)(NewShares(cfg, openStore(t, t.TempDir())))
	s.Place(map[string][]SharePart{"vm1/a": {{"l1", 1}}, "vm1/b": {{"l1", 3}}, "vm2/c": {{"l1", 1}}, "vm3/d": {{FileDevice("/f"), 1}}})
	lun = newCoreScheduler(t, s, ShareDevice{Name: "l1", Names: []string{"naa.1", "", "gold"}})
	file = newCoreScheduler(t, s, ShareDevice{Name: FileDevice("/f")})
	v = &shareView{cfg: cfg, shares: s, explain: NewExplanations(16), schedulers: func() []shareScheduler { return []shareScheduler{lun, file} }}
	return v, lun, file
}

func TestShareViewFlows(t *testing.T) {
	v, lun, _ := newView(t)
	lun.submit("vm2", 12)
	lun.advance(5 * time.Millisecond)
	list := v.Shares()
	var got []string
	for i := range list {
		got = append(got, list[i].VM+" "+list[i].LUN+" "+strings.Join(list[i].Disks, "+"))
	}
	if want := []string{"vm1 l1 vm1/a+vm1/b", "vm2 l1 vm2/c", "vm3 file:/f vm3/d", "vm3 l9 vm3/e"}; !slices.Equal(got, want) {
		t.Fatalf("flows %q, want %q", got, want)
	}
	two, one, absent := list[0], list[1], list[3]
	if e := two.Effective; e == nil || e.Shares != 500 || e.Priority != 9 || e.Group != "g1" || e.Limit.IOPS != 0 || two.Why != nil || !slices.Equal(two.LimitedDisks, []string{"vm1/b"}) || two.Reservation != control.ReservationNone {
		t.Errorf("a flow of two disks: %+v, in force %+v", two, e)
	}
	e := one.Effective
	if e == nil || e.Shares != 1000 || e.Weight == 0 || e.ReserveIOPS != 100 || e.Limit.IOPS != 500 || e.Limit.BurstIOPS != 20 || e.Version == 0 || e.ReservationCU == 0 || e.LimitCU == 0 {
		t.Errorf("in force of one disk: %+v", e)
	}
	if one.Queued != 4 || one.QueuedCU != 4 || one.Inflight != 8 || one.Commands != 8 || one.CU != 8 || one.HeadAgeUs != 5000 || !one.Active || one.ObservedUs < 1e6 {
		t.Errorf("state of one disk: %+v", one)
	}
	if one.Why == nil || one.Why.Reason != control.ReasonWindow || one.Why.InflightCU != 8 || one.Why.DepthCU != 8 || one.Why.VM != "vm2" || one.WaitedUs["window"] != 5000 {
		t.Errorf("why: %+v, waited %v", one.Why, one.WaitedUs)
	}
	if one.Reservation != control.ReservationMet || one.Phases["reserve"]+one.Phases["share"]+one.Phases["quantum"] != 8 {
		t.Errorf("reservation %s, phases %v", one.Reservation, one.Phases)
	}
	if absent.Effective != nil || absent.Configured.Shares != 1000 {
		t.Errorf("a disk whose LUN is not there: %+v", absent)
	}
}

func TestShareViewChanges(t *testing.T) {
	v, _, _ := newView(t)
	n := func(n int64) *int64 { return &n }
	group := ""
	err := v.SetDiskShare("vm2/c", control.ShareChange{
		Shares: n(4000), ReserveIOPS: n(0), ReserveBandwidth: n(1 << 20), Group: &group, IdleCredit: n(7), QueueCommands: n(33), QueueBytes: n(2 << 20),
		Limit:      &control.ShareLimitChange{IOPS: n(600), Bandwidth: n(5e6), BurstIOPS: n(0), PeakIOPS: n(900), PeakLengthMs: n(2500)},
		LimitRead:  &control.ShareLimitChange{IOPS: n(400), BurstIOPS: n(3)},
		LimitWrite: &control.ShareLimitChange{Bandwidth: n(4e6), BurstBytes: n(8192), PeakBandwidth: nil},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := control.ShareSettings{
		Shares: 4000, Priority: 5, ReserveBandwidth: 1 << 20, IdleCredit: 7, QueueCommands: 33, QueueBytes: 2 << 20,
		Limit:     control.ShareLimit{IOPS: 600, Bandwidth: 5e6, PeakIOPS: 900, PeakLengthMs: 2500},
		LimitRead: control.ShareLimit{IOPS: 400, BurstIOPS: 3}, LimitWrite: control.ShareLimit{Bandwidth: 4e6, BurstBytes: 8192},
	}
	if f := v.Shares()[1]; f.Effective.ShareSettings != want || f.Configured != want {
		t.Errorf("in force at once:\ngot  %+v\nwant %+v", f.Effective.ShareSettings, want)
	}
	if d := v.DiskShares()[2]; d.Settings != want || len(d.Overridden) != 16 || !slices.Contains(d.Overridden, "limit.read.burst.ops") {
		t.Errorf("disk: %+v", d)
	}
	if err := v.SetVMShare("vm2", control.VMShareChange{Priority: n(8)}); err != nil {
		t.Fatal(err)
	}
	if f, vm := v.Shares()[1], v.VMShares()[1]; f.Effective.Priority != 8 || vm.Priority != 8 || !slices.Equal(vm.Overridden, []string{"priority"}) {
		t.Errorf("priority: %+v, %+v", f.Effective, vm)
	}
	if err := errors.Join(v.ResetDiskShare("vm2/c"), v.ResetVMShare("vm2")); err != nil {
		t.Fatal(err)
	}
	if f := v.Shares()[1]; f.Effective.Shares != 1000 || f.Effective.Limit.IOPS != 500 || f.Effective.Priority != 5 || len(v.DiskShares()[2].Overridden) != 0 {
		t.Errorf("after reset: %+v", f.Effective)
	}
}

// TestShareViewRefusals: the key, the value and the rule, without the object, which the
// API names; all faults at once; nothing changed.
func TestShareViewRefusals(t *testing.T) {
	v, _, _ := newView(t)
	n := func(n int64) *int64 { return &n }
	word := "sideways"
	before := v.Shares()[1].Effective.Version
	for name, tt := range map[string]struct {
		err  error
		want []string
	}{
		"range":       {v.SetDiskShare("vm2/c", control.ShareChange{Shares: n(100001), IdleCredit: n(-1)}), []string{"shares: 100001 is out of range (0 to 100000)", "idle-credit: -1"}},
		"together":    {v.SetDiskShare("vm2/c", control.ShareChange{Limit: &control.ShareLimitChange{IOPS: n(50)}}), []string{"limit.iops: 50 is below the reservation (at least reservation.iops, 100)"}},
		"negative":    {v.SetDiskShare("vm2/c", control.ShareChange{QueueBytes: n(-5)}), []string{"queue-bytes: -5 is negative"}},
		"long":        {v.SetDiskShare("vm2/c", control.ShareChange{Limit: &control.ShareLimitChange{PeakLengthMs: n(1 << 62)}}), []string{"limit.peak.for: is out of range (0, or 100ms to 1h"}},
		"group":       {v.SetDiskShare("vm2/c", control.ShareChange{Group: &word}), []string{`group: "sideways"`}},
		"one group":   {v.SetDiskShare("vm1/a", control.ShareChange{Group: new(string)}), []string{"group"}},
		"priority":    {v.SetVMShare("vm2", control.VMShareChange{Priority: n(11)}), []string{"priority: 11 is out of range (0 to 10)"}},
		"mode":        {v.SetLUNShare("l1", control.LUNShareChange{Mode: &word, DepthMin: n(-1)}), []string{"mode: sideways", "(work-conserving or strict)"}},
		"lun range":   {v.SetLUNShare("l1", control.LUNShareChange{Quantum: n(1 << 40), SequentialGap: n(5000)}), []string{"quantum: 2147483647 is out of range (1 to 64)", "sequential-gap: 5000"}},
		"gap":         {v.SetLUNShare("l1", control.LUNShareChange{SequentialGap: n(-1)}), []string{"sequential-gap: -1 is out of range"}},
		"long window": {v.SetLUNShare("l1", control.LUNShareChange{WindowUs: n(1 << 60)}), []string{"vt-window: is out of range (20ms to 2s)"}},
	} {
		if !errors.Is(tt.err, control.ErrInvalid) {
			t.Errorf("%s: got %v, want one that is not allowed", name, tt.err)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(tt.err.Error(), want) {
				t.Errorf("%s: got %q, want %q", name, tt.err, want)
			}
		}
		if strings.Contains(tt.err.Error(), "vm2/c: ") {
			t.Errorf("%s: %q names the object twice", name, tt.err)
		}
	}
	if after := v.Shares()[1].Effective.Version; after != before {
		t.Errorf("settings %d became %d", before, after)
	}
	for name, err := range map[string]error{
		"disk": v.SetDiskShare("vm2/x", control.ShareChange{Shares: n(1)}), "vm": v.SetVMShare("vm9", control.VMShareChange{Priority: n(1)}),
		"lun": v.SetLUNShare("l7", control.LUNShareChange{Depth: n(9)}),
	} {
		if !errors.Is(err, control.ErrNotFound) {
			t.Errorf("%s that is not there: %v", name, err)
		}
	}
}

func TestShareViewLUNs(t *testing.T) {
	v, lun, _ := newView(t)
	lun.submit("vm1", 3)
	lun.submit("vm2", 9)
	lun.advance(100 * time.Millisecond) // a plan
	list := v.ShareLUNs()
	if len(list) != 2 || list[0].Name != "file:/f" || !slices.Equal(list[0].Names, []string{"/f"}) {
		t.Fatalf("LUNs: %+v", list)
	}
	l := list[1]
	if !slices.Equal(l.Names, []string{"naa.1", "gold"}) || l.DepthCU != 8 || l.InflightCU != 8 || l.Inflight != 8 || l.DepthMove != "fixed" ||
		l.CapacityCU != 1000 || l.NominalCU != 1000 || l.Kappa != 1 || l.Flows != 2 || l.Waiting != 1 || l.ReservedCU != 100 || !l.Settings.Enabled {
		t.Errorf("LUN: %+v", l)
	}
	if len(l.Groups) != 1 || l.Groups[0].Name != "g1" || l.Groups[0].Shares != 3000 || l.Groups[0].Flows != 1 {
		t.Errorf("groups: %+v", l.Groups)
	}
	n := func(n int64) *int64 { return &n }
	mode, model, when, f := "strict", "shared", "always", 0.5
	err := v.SetLUNShare("gold", control.LUNShareChange{
		Mode: &mode, CUBytes: n(8192), OpsBytes: n(65536), Quantum: n(4), QuantumBytes: n(1 << 17), SequentialGap: n(8), WindowUs: n(50000),
		FloorIntervalUs: n(0), ReserveAheadUs: n(10000), LimitSlopUs: n(3000), IdleCreditMax: n(9), Depth: n(16), DepthStart: n(20), DepthMin: n(5),
		DepthMax: n(99), LatencyTargetUs: n(1500), DepthGain: &f, Capacity: n(2000), CapacityModel: &model, PlanPeriodUs: n(20000),
		OverMargin: n(6), PriorityMode: &when, TierKeep: n(7), DegradedBelow: n(60), ExplainRing: n(50),
	})
	if err != nil {
		t.Fatal(err)
	}
	l = v.ShareLUNs()[1]
	want := control.LUNShareSettings{
		Enabled: true, Mode: "strict", CUBytes: 8192, OpsBytes: 65536, CostModel: "patent", Quantum: 4, QuantumBytes: 1 << 17, SequentialGap: 8,
		WindowUs: 50000, ReserveAheadUs: 10000, LimitSlopUs: 3000, IdleCreditMax: 9, Depth: 16, DepthStart: 20, DepthMin: 5, DepthMax: 99,
		LatencyTargetUs: 1500, DepthGain: 0.5, DepthGrowth: 0.02, Capacity: 2000, CapacityModel: "shared", PlanPeriodUs: 20000, OverMargin: 6,
		PriorityMode: "always", TierKeep: 7, DegradedBelow: 60, ExplainRing: 50,
	}
	if l.Settings != want || l.Mode != "strict" || l.DepthCU != 16 || len(l.Overridden) != 25 {
		t.Errorf("after the change %+v (%d keys)\nwant %+v", l, len(l.Overridden), want)
	}
	if err := v.ResetLUNShare("l1"); err != nil {
		t.Fatal(err)
	}
	if l = v.ShareLUNs()[1]; l.Mode != "work-conserving" || l.DepthCU != 8 || len(l.Overridden) != 0 {
		t.Errorf("after reset: %+v", l)
	}
}

func TestShareViewGroups(t *testing.T) {
	v, _, _ := newView(t)
	n := func(n int64) *int64 { return &n }
	if g := v.GroupShares()[0]; g.Name != "g1" || g.Shares != 3000 || !slices.Equal(g.Disks, []string{"vm1/a", "vm1/b"}) {
		t.Errorf("at first: %+v", g)
	}
	if err := v.SetGroupShare("g1", control.GroupShareChange{Shares: n(0), Limit: &control.ShareLimitChange{IOPS: n(90)}}); err != nil {
		t.Fatal(err)
	}
	if g := v.GroupShares()[0]; g.Shares != 0 || g.Limit.IOPS != 90 || !slices.Equal(g.Overridden, []string{"shares", "limit.iops"}) {
		t.Errorf("after the change: %+v", g)
	}
	if g := v.ShareLUNs()[1].Groups[0]; g.Shares != 0 || g.Weight != 500 || g.Limit.IOPS != 90 {
		t.Errorf("in force: %+v", g)
	}
	if err := v.SetGroupShare("g1", control.GroupShareChange{Shares: n(-1)}); !errors.Is(err, control.ErrInvalid) || strings.Contains(err.Error(), "g1") {
		t.Errorf("shares -1: %v", err)
	}
	if err := v.ResetGroupShare("g1"); err != nil {
		t.Fatal(err)
	}
	if g := v.GroupShares()[0]; g.Shares != 3000 || g.Limit.IOPS != 0 || len(g.Overridden) != 0 {
		t.Errorf("after reset: %+v", g)
	}
}

func TestShareViewWarnings(t *testing.T) {
	v, lun, _ := newView(t)
	n := func(n int64) *int64 { return &n }
	codes := func(list []control.ShareWarning) (codes []string) {
		for _, w := range list {
			codes = append(codes, w.Code)
		}
		return codes
	}
	if got := codes(v.Shares()[0].Warnings); !slices.Equal(got, []string{WarnPriorityInHealth}) {
		t.Errorf("priority 9 in health: %v", got)
	}
	off := "off"
	if err := v.SetLUNShare("l1", control.LUNShareChange{PriorityMode: &off}); err != nil {
		t.Fatal(err)
	}
	if got := codes(v.Shares()[0].Warnings); !slices.Equal(got, []string{WarnPriorityOff}) {
		t.Errorf("priority 9 with the mode off: %v", got)
	}
	if err := v.SetDiskShare("vm2/c", control.ShareChange{Limit: &control.ShareLimitChange{IOPS: n(5000)}, ReserveIOPS: n(1500)}); err != nil {
		t.Fatal(err)
	}
	lun.submit("vm2", 9)
	lun.advance(200 * time.Millisecond) // a plan
	f := v.Shares()[1]
	if got := codes(f.Warnings); !slices.Contains(got, WarnLimitNoEffect) || !slices.Contains(got, WarnReservationScaled) || f.Reservation != control.ReservationScaled {
		t.Errorf("more than there is: %v, %s", got, f.Reservation)
	}
	if got := codes(v.ShareLUNs()[1].Warnings); !slices.Contains(got, WarnReservations) || !slices.Contains(got, WarnLimitNoEffect) {
		t.Errorf("of the LUN: %v", got)
	}
}

func TestShareViewExplain(t *testing.T) {
	v, lun, file := newView(t)
	lun.submit("vm2", 9)
	lun.advance(time.Millisecond)
	lun.submit("vm1", 1)
	file.submit("vm3", 1)
	v.explain.Explain(Explanation{Time: time.Now().Add(time.Second), VM: "vm2", Disk: "vm2/c", Device: "l1", Path: "p", Reason: WhyFence, Length: 4096})
	v.explain.Explain(Explanation{Time: time.Now().Add(2 * time.Second), VM: "vm3", Device: "l9", Path: "p", Reason: WhyRetry, Detail: 2})

	all := v.Explain(control.ExplainQuery{})
	if !slices.IsSortedFunc(all, func(a, b control.Explanation) int { return a.Time.Compare(b.Time) }) || len(all) < 12 {
		t.Errorf("%d, not in order: %+v", len(all), all)
	}
	last := v.Explain(control.ExplainQuery{VM: "vm2", Last: 2})
	if len(last) != 2 || last[0].Verdict != control.VerdictQueued || last[0].Reason != control.ReasonWindow || last[0].DepthCU != 8 || last[0].CapacityCU != 1000 ||
		last[1].Verdict != control.VerdictHeld || last[1].Source != control.ExplainPaths || last[1].Disks[0] != "vm2/c" {
		t.Errorf("the last of vm2: %+v", last)
	}
	if since := time.Since(last[0].Time); since < 0 || since > time.Hour {
		t.Errorf("a decision of now is %v old", since)
	}
	first := v.Explain(control.ExplainQuery{VM: "vm2"})[0]
	if first.Verdict != control.VerdictDispatched || first.Phase == "" || first.Version == 0 {
		t.Errorf("the first of vm2: %+v", first)
	}
	behind := v.Explain(control.ExplainQuery{Disk: "vm1/b", VM: "vm1"})
	if len(behind) != 1 || behind[0].VM != "vm1" || !slices.Equal(behind[0].Disks, []string{"vm1/a", "vm1/b"}) {
		t.Errorf("of one of two disks: %+v", behind)
	}
	for _, e := range v.Explain(control.ExplainQuery{LUN: "l9"}) {
		if e.Verdict != control.VerdictSentAgain || e.Detail != 2 {
			t.Errorf("of l9: %+v", e)
		}
	}
	if got := v.Explain(control.ExplainQuery{LUN: "file:/f"}); len(got) != 1 || got[0].VM != "vm3" {
		t.Errorf("of the file: %+v", got)
	}
}
