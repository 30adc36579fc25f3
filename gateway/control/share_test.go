// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pathgate/gateway/control"
)

// fakeShares is the ShareSource of fake: one VM, whose disk stands on one LUN and in
// one file. It keeps what is set, and checks the shares.
type fakeShares struct {
	set     control.ShareSettings
	mode    string
	group   uint32
	changes []string
	refuse  error
	explain []control.Explanation
	asked   control.ExplainQuery
	none    bool // nothing is there
}

const fileLUN = "file:/var/lib/pathgate/root.img"

func newFakeShares() fakeShares {
	return fakeShares{
		set: control.ShareSettings{Shares: 1000, Priority: 5}, mode: "work-conserving",
		explain: []control.Explanation{{Seq: 1, Verdict: control.VerdictQueued, Reason: control.ReasonWindow}},
	}
}

func (f *fakeShares) Shares() []control.Share {
	if f.none {
		return nil
	}
	return []control.Share{
		{
			VM: "vm1", LUN: "vmhba0:0:1", Disks: []string{"vm1/root"}, Configured: f.set,
			Effective: &control.EffectiveShare{ShareSettings: f.set, Weight: f.set.Shares, Version: uint32(len(f.changes))},
			Why:       &f.explain[0],
		},
		{VM: "vm1", LUN: fileLUN, Disks: []string{"vm1/scratch"}, Configured: f.set},
		{VM: "vm2", LUN: "vmhba0:0:1", Disks: []string{"vm2/root"}},
	}
}

func (f *fakeShares) DiskShares() []control.DiskShare {
	return []control.DiskShare{{Disk: "vm1/root", VM: "vm1", Settings: f.set}, {Disk: "vm1/scratch", VM: "vm1"}}
}

func (f *fakeShares) VMShares() []control.VMShare {
	return []control.VMShare{{VM: "vm1", Priority: f.set.Priority}}
}

func (f *fakeShares) ShareLUNs() []control.ShareLUN {
	if f.none {
		return nil
	}
	return []control.ShareLUN{
		{Name: "vmhba0:0:1", Names: []string{"naa.6001405aaaa", "gold"}, Mode: f.mode},
		{Name: fileLUN, Names: []string{fileLUN[5:]}},
	}
}

func (f *fakeShares) change(what string, err error) error {
	if err = errors.Join(err, f.refuse); err == nil {
		f.changes = append(f.changes, what)
	}
	return err
}

func (f *fakeShares) SetDiskShare(disk string, c control.ShareChange) error {
	var err error
	if c.Shares != nil {
		if *c.Shares < 0 {
			err = control.Invalid(fmt.Errorf("shares %d: 0 to 100000", *c.Shares))
		}
		f.set.Shares = uint32(*c.Shares)
	}
	if c.Limit != nil && c.Limit.IOPS != nil {
		f.set.Limit.IOPS = *c.Limit.IOPS
	}
	return f.change("set "+disk, err)
}

func (f *fakeShares) SetVMShare(vm string, c control.VMShareChange) error {
	f.set.Priority = uint8(*c.Priority)
	return f.change("set "+vm, nil)
}

func (f *fakeShares) SetLUNShare(lun string, c control.LUNShareChange) error {
	f.mode = *c.Mode
	return f.change("set "+lun, nil)
}

func (f *fakeShares) GroupShares() []control.GroupShare {
	if f.none {
		return nil
	}
	return []control.GroupShare{{Name: "db", Shares: f.group, Disks: []string{"vm1/root"}}}
}

func (f *fakeShares) SetGroupShare(group string, c control.GroupShareChange) error {
	f.group = uint32(*c.Shares)
	return f.change("set "+group, nil)
}

func (f *fakeShares) ResetGroupShare(group string) error {
	f.group = 0
	return f.change("reset "+group, nil)
}

func (f *fakeShares) ResetDiskShare(disk string) error {
	f.set.Shares, f.set.Limit.IOPS = 1000, 0
	return f.change("reset "+disk, nil)
}

func (f *fakeShares) ResetVMShare(vm string) error {
	f.set.Priority = 5
	return f.change("reset "+vm, nil)
}

func (f *fakeShares) ResetLUNShare(lun string) error {
	f.mode = "work-conserving"
	return f.change("reset "+lun, nil)
}

func (f *fakeShares) Explain(q control.ExplainQuery) []control.Explanation {
	f.asked = q
	return f.explain
}

func TestShares(t *testing.T) {
	src := newFake()
	addr, _ := serve(t, src, control.Options{})
	c, ctx := dial(t, addr), t.Context()

	list, err := c.Shares(ctx)
	if err != nil || len(list) != 3 || list[0].Effective.Weight != 1000 || list[0].Why.Reason != "window" || list[1].Effective != nil {
		t.Errorf("Shares: %+v, %v", list, err)
	}
	d, err := c.DiskShare(ctx, "vm1/root")
	if err != nil || d.Settings.Shares != 1000 || len(d.Flows) != 1 || d.Flows[0].LUN != "vmhba0:0:1" {
		t.Errorf("DiskShare: %+v, %v", d, err)
	}
	shares, iops := int64(4000), int64(500)
	d, err = c.SetDiskShare(ctx, "vm1/root", control.ShareChange{Shares: &shares, Limit: &control.ShareLimitChange{IOPS: &iops}})
	if err != nil || d.Settings.Shares != 4000 || d.Flows[0].Effective.Limit.IOPS != 500 || d.Flows[0].Effective.Version != 1 {
		t.Errorf("SetDiskShare: %+v, %v", d, err)
	}
	d, err = c.ResetDiskShare(ctx, "vm1/root")
	if err != nil || d.Settings.Shares != 1000 || d.Flows[0].Effective.Limit.IOPS != 0 {
		t.Errorf("ResetDiskShare: %+v, %v", d, err)
	}
	priority := int64(8)
	v, err := c.SetVMShare(ctx, "vm1", control.VMShareChange{Priority: &priority})
	if err != nil || v.Priority != 8 || len(v.Disks) != 2 || len(v.Flows) != 2 {
		t.Errorf("SetVMShare: %+v, %v", v, err)
	}
	if v, err = c.ResetVMShare(ctx, "vm1"); err != nil || v.Priority != 5 {
		t.Errorf("ResetVMShare: %+v, %v", v, err)
	}
	if v, err = c.VMShare(ctx, "vm1"); err != nil || v.Disks[0].Disk != "vm1/root" {
		t.Errorf("VMShare: %+v, %v", v, err)
	}
	const want = "set vm1/root,reset vm1/root,set vm1,reset vm1"
	if got := strings.Join(src.changes, ","); got != want {
		t.Errorf("changes %s, want %s", got, want)
	}
	if _, err := c.DiskShare(ctx, "root"); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("a disk without a VM: %v", err)
	}
}

// TestShareLUNs: by every name, also that of a file, which begins with a slash.
func TestShareLUNs(t *testing.T) {
	src := newFake()
	addr, _ := serve(t, src, control.Options{})
	c, ctx := dial(t, addr), t.Context()
	luns, err := c.ShareLUNs(ctx)
	if err != nil || len(luns) != 2 {
		t.Errorf("ShareLUNs: %+v, %v", luns, err)
	}
	for name, want := range map[string]string{"gold": "vmhba0:0:1", "naa.6001405aaaa": "vmhba0:0:1", "vmhba0:0:1": "vmhba0:0:1", fileLUN: fileLUN, fileLUN[5:]: fileLUN} {
		if l, err := c.ShareLUN(ctx, name); err != nil || l.Name != want {
			t.Errorf("ShareLUN(%q): %+v, %v", name, l, err)
		}
	}
	mode := "strict"
	if l, err := c.SetLUNShare(ctx, "gold", control.LUNShareChange{Mode: &mode}); err != nil || l.Mode != "strict" {
		t.Errorf("SetLUNShare: %+v, %v", l, err)
	}
	if l, err := c.ResetLUNShare(ctx, "gold"); err != nil || l.Mode != "work-conserving" {
		t.Errorf("ResetLUNShare: %+v, %v", l, err)
	}
	if want := []string{"set vmhba0:0:1", "reset vmhba0:0:1"}; !slices.Equal(src.changes, want) {
		t.Errorf("changes %q, want %q", src.changes, want)
	}
}

func TestShareGroups(t *testing.T) {
	src := newFake()
	addr, _ := serve(t, src, control.Options{})
	c, ctx := dial(t, addr), t.Context()
	list, err := c.GroupShares(ctx)
	if err != nil || len(list) != 1 || list[0].Name != "db" {
		t.Errorf("GroupShares: %+v, %v", list, err)
	}
	shares := int64(3000)
	if g, err := c.SetGroupShare(ctx, "db", control.GroupShareChange{Shares: &shares}); err != nil || g.Shares != 3000 {
		t.Errorf("SetGroupShare: %+v, %v", g, err)
	}
	if g, err := c.GroupShare(ctx, "db"); err != nil || g.Shares != 3000 || len(g.Disks) != 1 {
		t.Errorf("GroupShare: %+v, %v", g, err)
	}
	if g, err := c.ResetGroupShare(ctx, "db"); err != nil || g.Shares != 0 {
		t.Errorf("ResetGroupShare: %+v, %v", g, err)
	}
	if _, err := c.GroupShare(ctx, "dc"); !errors.Is(err, control.ErrNotFound) || !strings.Contains(err.Error(), "did you mean db?") {
		t.Errorf("no such group: %v", err)
	}
	if want := []string{"set db", "reset db"}; !slices.Equal(src.changes, want) {
		t.Errorf("changes %q, want %q", src.changes, want)
	}
}

// TestShareRefusals: what the gateway says of a change, and its class.
func TestShareRefusals(t *testing.T) {
	for _, tt := range []struct {
		refuse  error
		code    control.Code
		message string
	}{
		{control.Invalid(errors.New("limit.iops: 3 is below 5\nshares: -1 (0 to 100000)")), control.CodeBadRequest, "disk vm1/root: limit.iops: 3 is below 5; shares: -1 (0 to 100000)"},
		{fmt.Errorf("x: %w", control.ErrNotFound), control.CodeNotFound, "disk vm1/root: it has just gone"},
		{errors.New("disk full"), control.CodeInternal, "disk vm1/root: disk full"},
	} {
		src := newFake()
		src.fakeShares.refuse = tt.refuse
		addr, _ := serve(t, src, control.Options{})
		shares := int64(1)
		_, err := dial(t, addr).SetDiskShare(t.Context(), "vm1/root", control.ShareChange{Shares: &shares})
		if e, ok := errors.AsType[*control.Error](err); !ok || e.Code != tt.code || e.Message != tt.message {
			t.Errorf("got %v, want %s %q", err, tt.code, tt.message)
		}
	}
}

func TestExplainQueries(t *testing.T) {
	src := newFake()
	addr, _ := serve(t, src, control.Options{})
	c := dial(t, addr)
	for _, tt := range []struct {
		of   string
		last int
		want control.ExplainQuery
	}{
		{"", 0, control.ExplainQuery{Last: 20}},
		{"vm1", 3, control.ExplainQuery{VM: "vm1", Last: 3}},
		{"vm1/root", 0, control.ExplainQuery{VM: "vm1", Disk: "vm1/root", Last: 20}},
		{"gold", 0, control.ExplainQuery{LUN: "vmhba0:0:1", Last: 20}},
		{fileLUN[5:], 0, control.ExplainQuery{LUN: fileLUN, Last: 20}},
	} {
		if list, err := c.Explain(t.Context(), tt.of, tt.last); err != nil || len(list) != 1 || src.asked != tt.want {
			t.Errorf("Explain(%q, %d): asked %+v, %v; want %+v", tt.of, tt.last, src.asked, err, tt.want)
		}
	}
}

// TestSentences: what people are told of a decision has the numbers that made it.
func TestSentences(t *testing.T) {
	base := control.Explanation{
		Source: control.ExplainScheduler, Verdict: control.VerdictQueued, UsedPercent: 30, EntitledPercent: 20,
		InflightCU: 64, DepthCU: 64, CapacityCU: 10000, LeadCU: 12, Version: 3,
	}
	const numbers = " (lead 12 CU, used 30.0% of 20.0%, capacity 10000 CU/s, in flight 64/64 CU, settings 3)"
	for _, tt := range []struct {
		change          func(*control.Explanation)
		short, sentence string
	}{
		{func(e *control.Explanation) { e.Reason = "no-path" }, "no-path", "waits: no path to the LUN is usable" + numbers},
		{func(e *control.Explanation) {
			e.Reason, e.Limit, e.Until = "limit", "iops-read", time.Date(2026, 11, 22, 12, 0, 1, 5e6, time.UTC)
		}, "limit iops-read", "waits: the limit iops-read is reached, until 12:00:01.005" + numbers},
		{func(e *control.Explanation) { e.Reason, e.Limit, e.GroupLimit = "limit", "bandwidth", true }, "limit group bandwidth", "waits: the limit group bandwidth is reached" + numbers},
		{func(e *control.Explanation) { e.Reason, e.Held = "over-entitlement", true }, "over-entitlement 30.0%>20.0% held", "waits: it has used 30.0% of the capacity, and 20.0% is its part; held, since the mode is strict" + numbers},
		{func(e *control.Explanation) { e.Reason, e.Ahead = "priority", "vm2" }, "priority behind vm2", "waits: a VM of higher priority needs the capacity: vm2" + numbers},
		{func(e *control.Explanation) { e.Reason = "window" }, "window 64/64", "waits: it is next, but 64 CU of 64 are in flight" + numbers},
		{func(e *control.Explanation) { e.Reason, e.Ahead = "share", "vm2" }, "share behind vm2", "waits: another VM has the better claim: vm2" + numbers},
		{func(e *control.Explanation) { e.Verdict, e.Phase = "dispatched", "floor" }, "", "sent: every waiting VM gets a command from time to time" + numbers},
		{func(e *control.Explanation) { e.Reason, e.CapacityCU = "fence", 0 }, "fence", "waits: an older write is not fenced yet (lead 12 CU, capacity not known yet, in flight 64/64 CU, settings 3)"},
		{func(e *control.Explanation) {
			e.Source, e.Verdict, e.Reason, e.Path, e.Offset, e.Length = "paths", "held", "order", "vmhba0:0:1", 8192, 4096
		}, "order", "held: order, 4096 bytes at 8192, path vmhba0:0:1"},
	} {
		e := base
		tt.change(&e)
		if e.Short() != tt.short || e.Sentence() != tt.sentence {
			t.Errorf("got  %q, %q\nwant %q, %q", e.Short(), e.Sentence(), tt.short, tt.sentence)
		}
	}
}
