// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pathgate/share"
)

func ptr[T any](v T) *T { return &v }

// TestShareChangesAct: a change is in force, and on stable storage, when it returns.
func TestShareChangesAct(t *testing.T) {
	s := planned(t)
	var got LUNPlan
	stop := s.Device(ShareDevice{Name: "l1", Names: []string{"naa.1", "weak"}}, func(p LUNPlan) { got = p })
	first := got.Version
	for _, err := range []error{
		s.Set("vm1/a", ShareOverride{Shares: ptr(int64(700)), Reservation: RateOverride{Bandwidth: ptr(int64(5_000_000))}}),
		s.Set("vm1/a", ShareOverride{Reservation: RateOverride{IOPS: ptr(int64(0))}, IdleCredit: ptr(share.Unit(1)), QueueCommands: ptr(9)}),
		s.SetVM("vm1", VMOverride{Priority: ptr(int64(2))}),
		s.SetLUN("naa.1", LUNOverride{Mode: ptr(share.Strict), DepthMax: ptr(share.Unit(16))}),
		s.SetLUN("l1", LUNOverride{Quantum: ptr(4)}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := FlowPlan{
		Entitlement: share.Entitlement{Weight: 900, Reservation: share.Rate{Ops: 5, Bytes: 6_000_000}, IdleCredit: 41, Priority: 2, Group: 1},
		Disks:       []string{"vm1/a", "vm1/b"}, QueueCommands: 9, QueueBytes: 2 << 20,
	}
	check := func(t *testing.T, got LUNPlan) {
		t.Helper()
		if diff := cmp.Diff(want, got.Flows["vm1"]); diff != "" {
			t.Error(diff)
		}
		if c := got.Settings; c.Mode != share.Strict || c.DepthMax != 16 || c.DepthStart != 16 || c.Quantum != 4 {
			t.Errorf("settings %+v", c)
		}
	}
	check(t, got)
	if got.Version != first+5 {
		t.Errorf("version %d after 5 changes from %d", got.Version, first)
	}
	_, set, _ := s.DiskShare("vm1/a")
	wantKeys := []string{"shares", "reservation.iops", "reservation.bandwidth", "idle-credit", "queue-commands"}
	if diff := cmp.Diff(wantKeys, set.Keys()); diff != "" {
		t.Error(diff)
	}
	_, lun, _ := s.LUNShare("weak")
	if diff := cmp.Diff([]string{"mode", "quantum", "depth-max"}, lun.Keys()); diff != "" {
		t.Error(diff)
	}
	if p, vm, ok := s.VMPriority("vm1"); p != 2 || !ok || len(vm.Keys()) != 1 {
		t.Errorf("priority %d, %v, %v", p, vm, ok)
	}

	// The same again changes nothing and tells nobody; a stopped applier hears nothing.
	if err := s.Set("vm1/a", ShareOverride{Shares: ptr(int64(700))}); err != nil || got.Version != first+5 {
		t.Errorf("the same again: %v, version %d", err, got.Version)
	}
	stop()
	if err := s.SetVM("vm1", VMOverride{Priority: ptr(int64(3))}); err != nil || got.Version != first+5 {
		t.Errorf("after stop: %v, version %d", err, got.Version)
	}
	if err := s.SetVM("vm1", VMOverride{Priority: ptr(int64(2))}); err != nil {
		t.Fatal(err)
	}

	// A new start on the same store, and then back to the configuration.
	again := must[*Shares](t)(NewShares(s.state.cfg, reopen(t, s.store)))
	again.Place(map[string][]SharePart{"vm1/a": {{"l1", 1 << 30}}, "vm1/b": {{"l1", 3 << 30}}})
	again.Device(ShareDevice{Name: "l1"}, func(p LUNPlan) { got = p })
	check(t, got)
	if w := again.Warnings(); len(w) != 0 {
		t.Errorf("warnings %+v", w)
	}
	for _, err := range []error{again.Reset("vm1/a"), again.ResetVM("vm1"), again.ResetLUN("l1")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if e := got.Flows["vm1"].Entitlement; e.Weight != 500 || e.Priority != 9 || got.Settings.Mode != share.WorkConserving || got.Settings.DepthStart != 64 {
		t.Errorf("after Reset: %+v, %+v", e, got.Settings)
	}
	if diff := cmp.Diff(ShareOverrides{}, must[ShareOverrides](t)(again.store.ShareOverrides()), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("after Reset the store has %s", diff)
	}
}

// TestShareChangesRefused: what does not go with the rest is refused whole, by key and
// rule, and nothing is lost.
func TestShareChangesRefused(t *testing.T) {
	s := planned(t)
	if err := s.Set("vm1/a", ShareOverride{Reservation: RateOverride{IOPS: ptr(int64(50))}}); err != nil {
		t.Fatal(err)
	}
	disk := func(name string, o ShareOverride) func() error { return func() error { return s.Set(name, o) } }
	lun := func(o LUNOverride) func() error { return func() error { return s.SetLUN("l2", o) } }
	limit := func(o CeilingOverride) ShareOverride {
		return ShareOverride{Limits: LimitsOverride{CeilingOverride: o}}
	}
	for name, tt := range map[string]struct {
		set  func() error
		want string
	}{
		"limit below the reservation set before": {
			disk("vm1/a", limit(CeilingOverride{RateOverride: RateOverride{IOPS: ptr(int64(49))}})),
			"vm1/a: limit.iops: 49 is below the reservation (at least reservation.iops, 50)",
		},
		"reservation above the configured limit": {
			disk("vm3/d", ShareOverride{Reservation: RateOverride{IOPS: ptr(int64(51))}}),
			"vm3/d: limit.iops: 50 is below the reservation (at least reservation.iops, 51)",
		},
		"everything at once": {
			disk("vm1/a", ShareOverride{
				Shares: ptr(int64(-1)), Reservation: RateOverride{Bandwidth: ptr(int64(-2))}, Group: ptr("nowhere"),
				IdleCredit: ptr(share.Unit(65537)), QueueCommands: ptr(65537), QueueBytes: ptr(Size(512)),
				Limits: LimitsOverride{Read: CeilingOverride{Peak: PeakOverride{For: ptr(time.Second)}}, Write: CeilingOverride{Burst: BurstOverride{Bytes: ptr(int64(1 << 20))}}},
			}),
			`vm1/a: shares: -1 is out of range (0 to 100000)
vm1/a: reservation.bandwidth: -2B/s is out of range (0, or 4096B/s to 100GB/s)
vm1/a: idle-credit: 65537 is out of range (0 to 65536)
vm1/a: limit.read.peak.for: 1s has no peak (needs peak.iops or peak.bandwidth beside it)
vm1/a: limit.write.burst.bytes: 1048576 has no limit to be above (needs limit.write.bandwidth)
vm1/a: group: "nowhere" is not a group (a name from groups)
vm1/a: queue-commands: 65537 is out of range (1 to 65536)
vm1/a: queue-bytes: 512 is out of range (1MiB to 4GiB)
vm1/b: group: "g1" differs from that of vm1/a, "nowhere" (the disks of a VM on one LUN are in one group)`,
		},
		"one disk of two to another group": {
			disk("vm1/b", ShareOverride{Group: ptr("g2")}),
			`vm1/b: group: "g2" differs from that of vm1/a, "g1" (the disks of a VM on one LUN are in one group)`,
		},
		"priority": {
			func() error { return s.SetVM("vm2", VMOverride{Priority: ptr(int64(11))}) },
			"vm2: priority: 11 is out of range (0 to 10)",
		},
		"settings": {
			lun(LUNOverride{Window: ptr(time.Millisecond), DepthMin: ptr(share.Unit(5000)), CostModel: ptr(share.CostCalibrated)}),
			`l2: vt-window: 1ms is out of range (20ms to 2s)
l2: depth-min: 5000 is above depth-max (at most depth-max, 4096)
l2: calibration: is missing (cost-model calibrated needs the speed of every class)`,
		},
		"a good one beside a bad one": {
			func() error {
				return s.Change(ShareOverrides{
					Disks: map[string]ShareOverride{"vm2/c": {Shares: ptr(int64(5))}},
					VMs:   map[string]VMOverride{"vm2": {Priority: ptr(int64(-1))}},
				})
			},
			"vm2: priority: -1 is out of range (0 to 10)",
		},
		"unknown disk": {disk("vm1/z", ShareOverride{Shares: ptr(int64(5))}), `not known: disk "vm1/z"`},
		"unknown VM":   {func() error { return s.SetVM("vm9", VMOverride{}) }, `not known: VM "vm9"`},
		"unknown LUN":  {func() error { return s.ResetLUN("naa.9") }, `not known: device "naa.9"`},
	} {
		t.Run(name, func(t *testing.T) {
			before, version := must[ShareOverrides](t)(s.store.ShareOverrides()), s.version
			err := tt.set()
			if err == nil || err.Error() != tt.want {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
			if unknown := strings.HasPrefix(tt.want, "not known"); errors.Is(err, ErrShareUnknown) != unknown || errors.Is(err, ErrShareInvalid) == unknown {
				t.Errorf("%v is of the wrong kind", err)
			}
			if diff := cmp.Diff(before, must[ShareOverrides](t)(s.store.ShareOverrides())); diff != "" || s.version != version {
				t.Errorf("something was changed: %s", diff)
			}
		})
	}
	if got := s.Effective("vm1/a").Reservation.Ops; got != 50 {
		t.Errorf("the change before was lost: %d", got)
	}
	s.Device(ShareDevice{Name: "l4", Names: []string{"naa.1"}}, func(LUNPlan) {})
	err := s.SetLUN("naa.1", LUNOverride{Quantum: ptr(1)})
	if want := `not known: device "naa.1" is each of [l1 l4]`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestShareGroupsTogether: both disks of a VM may go to another group in one change.
func TestShareGroupsTogether(t *testing.T) {
	s := planned(t)
	to := ShareOverride{Group: ptr("g2")}
	if err := s.Change(ShareOverrides{Disks: map[string]ShareOverride{"vm1/a": to, "vm1/b": to}}); err != nil {
		t.Fatal(err)
	}
	if g := plan(t, s, "l1").Flows["vm1"].Entitlement.Group; g != 2 {
		t.Errorf("group %d", g)
	}
	want := `vm1/b: group: "g2" differs from that of vm1/a, "g1" (the disks of a VM on one LUN are in one group)`
	if err := s.Reset("vm1/a"); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestShareGroupChanges: a group's weight and limit change on every LUN.
func TestShareGroupChanges(t *testing.T) {
	s := planned(t)
	limit := LimitsOverride{CeilingOverride: CeilingOverride{RateOverride: RateOverride{IOPS: ptr(int64(70))}}}
	if err := s.SetGroup("g1", GroupOverride{Shares: ptr(int64(5)), Limits: limit}); err != nil {
		t.Fatal(err)
	}
	want := share.GroupEntitlement{Weight: 5, Limits: share.Limits{Total: share.Ceiling{Rate: share.Rate{Ops: 70}}}}
	for _, device := range []string{"l1", "l3"} {
		if diff := cmp.Diff(want, plan(t, s, device).Groups[0].Entitlement); diff != "" {
			t.Errorf("%s: %s", device, diff)
		}
	}
	err := s.SetGroup("g1", GroupOverride{Shares: ptr(int64(-1)), Limits: LimitsOverride{Write: CeilingOverride{Burst: BurstOverride{Ops: ptr(int64(3))}}}})
	wantErr := "g1: shares: -1 is out of range (0 to 100000)\ng1: limit.write.burst.ops: 3 has no limit to be above (needs limit.write.iops)"
	if err == nil || err.Error() != wantErr || !errors.Is(err, ErrShareInvalid) {
		t.Errorf("got %v, want %s", err, wantErr)
	}
	if err := s.SetGroup("g9", GroupOverride{}); !errors.Is(err, ErrShareUnknown) {
		t.Errorf("unknown group: %v", err)
	}
	again := must[*Shares](t)(NewShares(s.state.cfg, reopen(t, s.store)))
	if e, set, ok := again.GroupShare("g1"); !ok || e != want || len(set.Keys()) != 2 {
		t.Errorf("after a start: %+v, %v, %v", e, set.Keys(), ok)
	}
	if err := again.ResetGroup("g1"); err != nil {
		t.Fatal(err)
	}
	if e, _, _ := again.GroupShare("g1"); e != (share.GroupEntitlement{Weight: 3000}) {
		t.Errorf("after Reset: %+v", e)
	}
	text := strings.Replace(planConfig, "{name: g1, shares: 3000}", "{name: g3}", 1)
	if err := again.SetGroup("g1", GroupOverride{Shares: ptr(int64(1))}); err != nil {
		t.Fatal(err)
	}
	again = must[*Shares](t)(NewShares(mustParse(t, strings.ReplaceAll(text, "group: g1", "group: g3")), reopen(t, again.store)))
	wantMsg := "what was set at run time for group g1 is kept and has no effect: there is no such group"
	if w := again.Warnings(); len(w) != 1 || w[0].Message != wantMsg {
		t.Errorf("warnings %+v", w)
	}
}

// TestShareOverridesThatDoNotGo: of disks and VMs that are gone, and beside another
// configuration. They are kept and told of.
func TestShareOverridesThatDoNotGo(t *testing.T) {
	s := planned(t)
	for _, err := range []error{
		s.Set("vm2/c", ShareOverride{Shares: ptr(int64(7))}),
		s.Set("vm3/d", ShareOverride{Reservation: RateOverride{IOPS: ptr(int64(40))}, Shares: ptr(int64(8))}),
		s.SetVM("vm2", VMOverride{Priority: ptr(int64(8))}),
		s.SetLUN("l2", LUNOverride{DepthMin: ptr(share.Unit(128)), Quantum: ptr(2)}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	before := must[ShareOverrides](t)(s.store.ShareOverrides())
	i := strings.Index(planConfig, "  - name: vm2")
	j := strings.Index(planConfig, "  - name: vm3")
	text := planConfig[:i] + strings.Replace(planConfig[j:], "limit: {iops: 50}", "limit: {iops: 30}", 1)
	text = strings.Replace(text, "mode: strict", "mode: strict, depth-max: 64", 1)
	s = must[*Shares](t)(NewShares(mustParse(t, text), reopen(t, s.store)))
	var got []string
	for _, w := range s.Warnings() {
		got = append(got, w.Code+": "+w.Message)
	}
	want := []string{
		"override-ignored: what was set at run time does not go with the configuration: limit.iops: 30 is below the reservation (at least reservation.iops, 40)",
		"override-of-unknown: what was set at run time for disk vm2/c is kept and has no effect: there is no such disk",
		"override-of-unknown: what was set at run time for VM vm2 is kept and has no effect: there is no such VM",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if e := s.Effective("vm3/d"); e.Shares != 2000 || e.Reservation.Ops != 20 {
		t.Errorf("vm3/d has %+v", e)
	}
	s.Device(ShareDevice{Name: "l2", Names: []string{"naa.2"}}, func(LUNPlan) {})
	p := plan(t, s, "l2")
	if p.Settings.Quantum != 8 || p.Settings.DepthMax != 64 {
		t.Errorf("settings %+v", p.Settings)
	}
	wantMsg := "what was set at run time does not go with the configuration: depth-min: 128 is above depth-max (at most depth-max, 64)"
	if w := p.Warnings(0); len(w) != 1 || w[0].Code != WarnOverrideIgnored || w[0].Message != wantMsg {
		t.Errorf("warnings %+v", w)
	}
	if diff := cmp.Diff(before, must[ShareOverrides](t)(s.store.ShareOverrides())); diff != "" {
		t.Errorf("the store was changed: %s", diff)
	}
	// What nobody owns can be taken away, and only that.
	for _, err := range []error{s.Reset("vm2/c"), s.ResetVM("vm2")} {
		if err != nil {
			t.Error(err)
		}
	}
	if len(s.Warnings()) != 1 || !errors.Is(s.Reset("vm2/c"), ErrShareUnknown) {
		t.Errorf("after Reset: %+v", s.Warnings())
	}
	// A good change in place of the ignored one ends the warning.
	if err := s.Set("vm3/d", ShareOverride{Reservation: RateOverride{IOPS: ptr(int64(30))}}); err != nil || len(s.Warnings()) != 0 {
		t.Errorf("%v, %+v", err, s.Warnings())
	}
	if e := s.Effective("vm3/d"); e.Shares != 8 || e.Reservation.Ops != 30 {
		t.Errorf("vm3/d has %+v", e)
	}
}

// TestShareNotStored: a change that cannot be written down is not made.
func TestShareNotStored(t *testing.T) {
	s := planned(t)
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Set("vm1/a", ShareOverride{Shares: ptr(int64(7))}); err == nil {
		t.Error("acknowledged")
	}
	if got := s.Effective("vm1/a").Shares; got != 300 {
		t.Errorf("shares %d", got)
	}
}

// TestShareChangesConcurrently: plans reach an applier in the order of their versions,
// and the last one has everything.
func TestShareChangesConcurrently(t *testing.T) {
	s := planned(t)
	var got LUNPlan
	s.Device(ShareDevice{Name: "l1"}, func(p LUNPlan) { // never two at once
		if p.Version < got.Version {
			t.Errorf("version %d after %d", p.Version, got.Version)
		}
		got = p
	})
	var wg sync.WaitGroup
	const rounds = 12
	for _, disk := range []string{"vm1/a", "vm1/b", "vm2/c"} {
		wg.Go(func() {
			for i := range rounds {
				if err := s.Set(disk, ShareOverride{Shares: ptr(int64(i + 1))}); err != nil {
					t.Error(err)
				}
				s.Effective(disk)
			}
		})
	}
	wg.Go(func() {
		for range rounds {
			s.Place(map[string][]SharePart{"vm1/b": nil})
			s.Place(map[string][]SharePart{"vm1/b": {{"l1", 512}}})
			s.Warnings()
		}
	})
	wg.Wait()
	if a, c := got.Flows["vm1"].Entitlement.Weight, got.Flows["vm2"].Entitlement.Weight; a != 2*rounds || c != rounds {
		t.Errorf("weights %d and %d, want %d and %d", a, c, 2*rounds, rounds)
	}
}

// TestOverridesReachEveryField: each key that can be set changes the thing that the
// configuration's key of that name changes.
func TestOverridesReachEveryField(t *testing.T) {
	c := mustParse(t, string(must[[]byte](t)(os.ReadFile("testdata/config/shares.yaml"))))
	want := c.VMs[0].Disks[0].Share
	o := ShareOverride{
		Shares: ptr(int64(want.Shares)), Reservation: rateOverride(want.Reservation),
		Limits: LimitsOverride{ceilingOverride(want.Limits.Total), ceilingOverride(want.Limits.Read), ceilingOverride(want.Limits.Write)},
		Group:  &want.Group, IdleCredit: &want.IdleCredit, QueueCommands: &want.QueueCommands, QueueBytes: &want.QueueBytes,
	}
	var got DiskShare
	o.apply(&got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := len(o.Keys()); n != 28 {
		t.Errorf("%d keys: %v", n, o.Keys())
	}
	if diff := cmp.Diff(o, merged(ShareOverride{}, o)); diff != "" {
		t.Error(diff)
	}

	set := c.LUNRuleFor("db").Scheduler.Settings
	lun := LUNOverride{
		&set.Mode, &set.UnitBytes, &set.OpsBytes, &set.CostModel, &set.Quantum, &set.QuantumBytes, &set.SequentialGap,
		&set.Window, &set.FloorInterval, &set.ReserveAhead, &set.LimitSlop, &set.IdleCreditMax, &set.Depth, &set.DepthStart,
		&set.DepthMin, &set.DepthMax, &set.LatencyTarget, &set.DepthGain, &set.DepthGrowth, &set.Capacity, &set.CapacityModel,
		&set.PlanPeriod, &set.OverMargin, &set.PriorityMode, &set.TierKeep, &set.DegradedBelow, &set.ExplainRing,
	}
	var settings share.Settings
	lun.apply(&settings)
	settings.Calibration = set.Calibration
	if diff := cmp.Diff(set, settings); diff != "" {
		t.Error(diff)
	}
	keys := lun.Keys()
	for _, key := range schedulerKeys() {
		found := fmt.Sprintf(" %s ", strings.Join(keys, " "))
		if key != "enabled" && key != "calibration" && !strings.Contains(found, " "+key+" ") {
			t.Errorf("%s cannot be set at run time", key)
		}
	}
}

func rateOverride(r share.Rate) RateOverride { return RateOverride{&r.Ops, &r.Bytes} }

func ceilingOverride(c share.Ceiling) CeilingOverride {
	return CeilingOverride{rateOverride(c.Rate), BurstOverride{&c.Burst.Ops, &c.Burst.Bytes}, PeakOverride{rateOverride(c.Peak), &c.PeakLength}}
}

// TestShareChangeAtSize: with a thousand VMs of four disks on ten LUNs, a change is in
// force soon; the time is for the log.
func TestShareChangeAtSize(t *testing.T) {
	var b strings.Builder
	b.WriteString("adapters: [{name: a, address: 127.0.0.1}]\ntargets: [{portals: [127.0.0.1]}]\nvms:\n")
	parts := map[string][]SharePart{}
	for i := range 1000 {
		fmt.Fprintf(&b, "  - name: vm%d\n    disks:\n", i)
		for j := range 4 {
			fmt.Fprintf(&b, "      - {name: d%d, lun: l%d, offset: %d, size: 1MiB, limit: {iops: 9}}\n", j, i%10, (i*4+j)<<20)
			parts[fmt.Sprintf("vm%d/d%d", i, j)] = []SharePart{{fmt.Sprint("l", i%10), 1 << 20}}
		}
	}
	s := must[*Shares](t)(NewShares(mustParse(t, b.String()), openStore(t, t.TempDir())))
	for i := range 10 {
		s.Device(ShareDevice{Name: fmt.Sprint("l", i)}, func(LUNPlan) {})
	}
	start := time.Now()
	s.Place(parts)
	placed := time.Since(start)
	start = time.Now()
	if err := s.Set("vm7/d1", ShareOverride{Shares: ptr(int64(5))}); err != nil {
		t.Fatal(err)
	}
	t.Logf("placed in %v, set in %v", placed, time.Since(start))
	if w := plan(t, s, "l7").Flows["vm7"].Entitlement.Weight; w != 3005 {
		t.Errorf("weight %d", w)
	}
}
