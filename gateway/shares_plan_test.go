// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pathgate/share"
)

// planConfig has most of the ways in which disks can lie on LUNs.
const planConfig = `
groups: [{name: g1, shares: 3000}, {name: g2, limit: {iops: 900}}]
adapters: [{name: vmhba0, address: 127.0.0.1}]
targets: [{portals: [127.0.0.1]}]
luns:
  - {id: naa.2, scheduler: {mode: strict, ops-bytes: 64KiB, limit-slop: 5ms, explain-ring: 16, idle-credit-max: 50}, queue-commands: 32}
  - {id: "file:/off", scheduler: {enabled: false}}
vms:
  - name: vm1
    priority: 9
    disks:
      - {name: a, lun: l1, size: 1GiB, shares: 300, reservation: {iops: 10}, limit: {iops: 100}, group: g1, idle-credit: 30, queue-bytes: 2MiB}
      - {name: b, lun: l1, offset: 1GiB, size: 3GiB, shares: 200, reservation: {iops: 5, bandwidth: 1MB/s}, group: g1, idle-credit: 40, queue-bytes: 1MiB, queue-commands: 7}
  - name: vm2
    disks:
      - name: c
        extents: [{lun: l1, offset: 10GiB, size: 1GiB}, {lun: l2, size: 2GiB}]
        reservation: {iops: 100, bandwidth: 30MB/s}
        limit: {iops: 500, read: {bandwidth: 50MB/s}}
        idle-credit: 60
  - name: vm3
    disks:
      - {name: d, lun: l2, offset: 4GiB, limit: {iops: 50}, reservation: {iops: 20}, shares: high}
      - {name: e, file: /f, limit: {bandwidth: 1MB/s}, group: g2}
      - {name: f, file: /off, limit: {iops: 7}, reservation: {iops: 3}}
      - {name: g, extents: [{lun: l3, size: 1GiB}, {lun: l3, offset: 2GiB, size: 1GiB}], limit: {iops: 9}, reservation: {iops: 9, bandwidth: 1MB/s}}
`

// planned makes a Shares of planConfig whose devices and disks are all there.
func planned(t *testing.T) *Shares {
	t.Helper()
	s := must[*Shares](t)(NewShares(mustParse(t, planConfig), openStore(t, t.TempDir())))
	nothing := func(LUNPlan) {}
	s.Device(ShareDevice{Name: "l1", Names: []string{"naa.1"}}, nothing)
	s.Device(ShareDevice{Name: "l2", Names: []string{"naa.2"}, Rotational: true}, nothing)
	s.Device(ShareDevice{Name: "l3"}, nothing)
	s.Device(ShareDevice{Name: FileDevice("/f"), Rotational: true}, nothing)
	s.Device(ShareDevice{Name: FileDevice("/off")}, nothing)
	const gib = 1 << 30
	s.Place(map[string][]SharePart{
		"vm1/a": {{"l1", gib}}, "vm1/b": {{"l1", 3 * gib}}, "vm2/c": {{"l1", gib}, {"l2", 2 * gib}},
		"vm3/d": {{"l2", 5 * gib}}, "vm3/e": {{"file:/f", gib}}, "vm3/f": {{"file:/off", gib}}, "vm3/g": {{"l3", gib}, {"l3", gib}},
		"nobody/x": {{"l1", gib}},
	})
	return s
}

func plan(t *testing.T, s *Shares, device string) LUNPlan {
	t.Helper()
	p, _, ok := s.LUNShare(device)
	if !ok {
		t.Fatalf("no plan for %s", device)
	}
	return p
}

func TestPlanFlows(t *testing.T) {
	s := planned(t)
	const mb, mib = 1_000_000, 1 << 20
	ops := func(n int64) share.Limits {
		return share.Limits{Total: share.Ceiling{Rate: share.Rate{Ops: n}}}
	}
	for device, want := range map[string]map[string]FlowPlan{
		// Two disks: sums; neither limit is the flow's. A third of vm2's disk.
		"l1": {
			"vm1": {
				Entitlement: share.Entitlement{Weight: 500, Reservation: share.Rate{Ops: 15, Bytes: mb}, IdleCredit: 70, Priority: 9, Group: 1},
				Disks:       []string{"vm1/a", "vm1/b"}, QueueCommands: 7, QueueBytes: 2 * mib,
			},
			"vm2": {
				Entitlement: share.Entitlement{Weight: 1000, Reservation: share.Rate{Ops: 33, Bytes: 10 * mb}, IdleCredit: 60, Priority: 5},
				Disks:       []string{"vm2/c"}, QueueCommands: 1024, QueueBytes: 64 * mib,
			},
		},
		// The other two thirds, cut idle credit; a disk alone with its limit.
		"l2": {
			"vm2": {
				Entitlement: share.Entitlement{Weight: 1000, Reservation: share.Rate{Ops: 67, Bytes: 20 * mb}, IdleCredit: 50, Priority: 5},
				Disks:       []string{"vm2/c"}, QueueCommands: 32, QueueBytes: 64 * mib,
			},
			"vm3": {
				Entitlement: share.Entitlement{Weight: 2000, Reservation: share.Rate{Ops: 20}, Limits: ops(50), Priority: 5},
				Disks:       []string{"vm3/d"}, QueueCommands: 32, QueueBytes: 64 * mib,
			},
		},
		// Two extents of one LUN: a request over both would count twice.
		"l3": {"vm3": {
			Entitlement: share.Entitlement{Weight: 1000, Reservation: share.Rate{Ops: 9, Bytes: mb}, Priority: 5},
			Disks:       []string{"vm3/g"}, QueueCommands: 1024, QueueBytes: 64 * mib,
		}},
		"file:/f": {"vm3": {
			Entitlement: share.Entitlement{Weight: 1000, Limits: share.Limits{Total: share.Ceiling{Rate: share.Rate{Bytes: mb}}}, Priority: 5, Group: 2},
			Disks:       []string{"vm3/e"}, QueueCommands: 1024, QueueBytes: 64 * mib,
		}},
		// The scheduler is off: the limit needs a limiter.
		"file:/off": {"vm3": {
			Entitlement: share.Entitlement{Weight: 1000, Reservation: share.Rate{Ops: 3}, Priority: 5},
			Disks:       []string{"vm3/f"}, QueueCommands: 1024, QueueBytes: 64 * mib,
		}},
	} {
		p := plan(t, s, device)
		if diff := cmp.Diff(want, p.Flows); diff != "" {
			t.Errorf("%s: %s", device, diff)
		}
		for vm, f := range p.Flows {
			if err := f.Entitlement.Validate(); err != nil {
				t.Errorf("%s, %s: %v", device, vm, err)
			}
		}
		if err := p.Settings.Validate(); err != nil {
			t.Errorf("%s: %v", device, err)
		}
	}
	groups := []GroupPlan{{"g1", share.GroupEntitlement{Weight: 3000}}, {"g2", share.GroupEntitlement{Limits: ops(900)}}}
	if diff := cmp.Diff(groups, plan(t, s, "l3").Groups); diff != "" {
		t.Error(diff)
	}
}

func TestPlanSettings(t *testing.T) {
	s := planned(t)
	flash, disk := share.DefaultSettings(), share.DefaultSettings()
	disk.LatencyTarget = share.LatencyTargetDisk
	ruled := disk
	ruled.Mode, ruled.OpsBytes, ruled.LimitSlop, ruled.ExplainRing, ruled.IdleCreditMax = share.Strict, 65536, 5*time.Millisecond, 16, 50
	for device, want := range map[string]share.Settings{"l1": flash, "naa.2": ruled, "l3": flash, "file:/f": disk, "file:/off": flash} {
		p := plan(t, s, device)
		if diff := cmp.Diff(want, p.Settings); diff != "" {
			t.Errorf("%s: %s", device, diff)
		}
		if p.Enabled != (device != "file:/off") {
			t.Errorf("%s: enabled %v", device, p.Enabled)
		}
	}
}

func TestPlanLimiters(t *testing.T) {
	s := planned(t)
	got := map[string]share.Limits{}
	for name := range s.byName {
		s.Disk(name, func(p DiskPlan) {
			if p.Disk != name {
				t.Errorf("the plan of %s is that of %s", name, p.Disk)
			}
			if p.Limiter == nil {
				return
			}
			got[name] = *p.Limiter
			if err := p.Settings.Validate(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if cost := p.Settings.CostOf(1 << 20); cost*maxQueueCommands > p.Settings.Depth {
				t.Errorf("%s: %d requests of 1 MiB fill the window", name, maxQueueCommands)
			}
			if name == "vm2/c" && (p.Settings.OpsBytes != 0 || p.Settings.LimitSlop != 2*time.Millisecond) {
				t.Errorf("%s: %+v", name, p.Settings)
			}
		})
	}
	ops := func(n int64) share.Limits { return share.Limits{Total: share.Ceiling{Rate: share.Rate{Ops: n}}} }
	both := ops(500)
	both.Read.Rate.Bytes = 50_000_000
	want := map[string]share.Limits{"vm1/a": ops(100), "vm2/c": both, "vm3/f": ops(7), "vm3/g": ops(9)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestReservationSplit: the parts add up, follow the sizes, and none is below the
// least that the scheduler takes.
func TestReservationSplit(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 5))
	for i := range 2000 {
		d := shareDisk{}
		d.share.Reservation = share.Rate{Ops: 1 + rng.Int64N(10_000_000), Bytes: 4096 + rng.Int64N(100_000_000_000-4096)}
		devices := []string{"a", "b", "c"}
		sizes := map[string]uint64{}
		total := uint64(0)
		for range 1 + rng.IntN(6) {
			p := SharePart{devices[rng.IntN(3)], 512 * (1 + rng.Uint64N(1<<uint(1+rng.IntN(50))))}
			d.parts = append(d.parts, p)
			sizes[p.Device] += p.Bytes
			total += p.Bytes
		}
		var sum share.Rate
		for dev, n := range sizes {
			r := d.reservationOn(dev)
			sum.Ops += r.Ops
			sum.Bytes += r.Bytes
			exact := float64(d.share.Reservation.Bytes) * float64(n) / float64(total)
			if diff := float64(r.Bytes) - exact; (diff > 7 || diff < -7) && r.Bytes != minReservedBytes || r.Bytes < minReservedBytes || r.Ops < 1 {
				t.Fatalf("run %d: %s of %+v gets %+v, exact %.1f", i, dev, d, r, exact)
			}
		}
		extra := int64(len(sizes))
		if sum.Ops < d.share.Reservation.Ops || sum.Ops > d.share.Reservation.Ops+extra ||
			sum.Bytes < d.share.Reservation.Bytes || sum.Bytes > d.share.Reservation.Bytes+extra*minReservedBytes {
			t.Fatalf("run %d: parts of %+v add up to %+v", i, d, sum)
		}
	}
}

// TestPlanMoves: a second disk takes the limit from the flow to a limiter, and its
// going gives it back.
func TestPlanMoves(t *testing.T) {
	s := planned(t)
	var steps []string
	s.Disk("vm1/a", func(p DiskPlan) {
		if p.Limiter != nil {
			steps = append(steps, "limiter")
		} else {
			steps = append(steps, "no limiter")
		}
	})
	s.Device(ShareDevice{Name: "l1", Names: []string{"naa.1"}}, func(p LUNPlan) {
		if p.Flows["vm1"].Entitlement.Limits != (share.Limits{}) {
			steps = append(steps, "flow limited")
		} else {
			steps = append(steps, "flow free")
		}
	})
	s.Place(map[string][]SharePart{"vm1/b": nil})
	s.Place(map[string][]SharePart{"vm1/b": {{"l1", 512}}})
	s.Place(map[string][]SharePart{"vm1/b": {{"l1", 512}}}) // nothing new
	// At no time is there neither.
	want := []string{"limiter", "flow free", "flow limited", "no limiter", "limiter", "flow free"}
	if diff := cmp.Diff(want, steps); diff != "" {
		t.Error(diff)
	}
}

func TestPlanWarnings(t *testing.T) {
	s := planned(t)
	codes := func(device string, capacity share.Speed) (list []string) {
		p := plan(t, s, device)
		for _, w := range p.Warnings(capacity) {
			if w.Device != p.Device || w.Message == "" {
				t.Errorf("%+v", w)
			}
			list = append(list, strings.TrimSpace(w.Code+" "+w.VM))
		}
		return list
	}
	for _, tt := range []struct {
		device   string
		capacity share.Speed
		want     []string
	}{
		{"l1", 0, nil},
		// 1 MB/s is 244 CU/s, 10 MB/s 2441.
		{"l1", 2685_000, []string{WarnReservations}},
		{"l1", 2686_000, nil},
		{"l2", 0, []string{WarnIdleCreditCut + " vm2"}},
		{"l2", 49_000, []string{WarnIdleCreditCut + " vm2", WarnLimitNoEffect + " vm3", WarnReservations}},
		{"file:/off", 1, []string{WarnSchedulerOff + " vm3"}},
	} {
		if diff := cmp.Diff(tt.want, codes(tt.device, tt.capacity)); diff != "" {
			t.Errorf("%s at %d: %s", tt.device, tt.capacity, diff)
		}
	}
	zero, none, capacity := int64(0), time.Duration(0), int64(100)
	for _, err := range []error{
		s.SetLUN("l3", LUNOverride{FloorInterval: &none, Capacity: &capacity}),
		s.Set("vm3/g", ShareOverride{Shares: &zero, Reservation: RateOverride{IOPS: &zero, Bandwidth: &zero}}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{WarnNoService + " vm3"}, codes("l3", 0)); diff != "" {
		t.Error(diff)
	}
	p := plan(t, s, "l2")
	want := "reservations add up to 4902 CU/s, above the 100 CU/s that there are: they are scaled down"
	if got := p.Warnings(100_000); got[len(got)-1].Message != want {
		t.Errorf("got %q, want %q", got[len(got)-1].Message, want)
	}
}

// TestPlanTwoNamesOfOneLUN: what the names hid when the configuration was read.
func TestPlanTwoNamesOfOneLUN(t *testing.T) {
	s := must[*Shares](t)(NewShares(mustParse(t, `
groups: [{name: g}, {name: h}]
adapters: [{name: vmhba0, address: 127.0.0.1}]
targets: [{portals: [127.0.0.1]}]
vms:
  - name: vm1
    disks: [{name: a, lun: l1, size: 1MiB, shares: 60000, group: g}, {name: b, lun: alias, offset: 1MiB, shares: 60000, group: h}]
`), openStore(t, t.TempDir())))
	s.Device(ShareDevice{Name: "l1"}, func(LUNPlan) {})
	s.Place(map[string][]SharePart{"vm1/a": {{"l1", 1 << 20}}, "vm1/b": {{"l1", 1 << 20}}})
	p := plan(t, s, "l1")
	if e := p.Flows["vm1"].Entitlement; e.Group != 1 || e.Weight != 100000 {
		t.Errorf("got %+v", e)
	}
	var got []string
	for _, w := range p.Warnings(0) {
		got = append(got, w.Message)
	}
	if diff := cmp.Diff([]string{
		"vm1/b is in another group than vm1/a: the disks of a VM on one LUN are in one group; that of vm1/a counts",
		"the disks of vm1 have 120000 shares together: 100000 count",
	}, got); diff != "" {
		t.Error(diff)
	}
}
