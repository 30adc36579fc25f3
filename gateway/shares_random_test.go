// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"pathgate/share"
)

// TestPlansHold: however disks lie, what the schedulers get is valid, adds up to what
// was asked for, and every limit is kept in exactly one place.
func TestPlansHold(t *testing.T) {
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s := randomState(rng)
		plans := map[string]LUNPlan{}
		for name, dev := range s.devices {
			p := s.planLUN(dev)
			plans[name] = p
			if err := p.Settings.Validate(); err != nil {
				t.Fatalf("seed %d: %s: %v", seed, name, err)
			}
			for vm, f := range p.Flows {
				if err := f.Entitlement.Validate(); err != nil {
					t.Fatalf("seed %d: %s on %s: %v", seed, vm, name, err)
				}
				if int(f.Entitlement.Group) > len(p.Groups) || f.QueueCommands < 1 || f.QueueBytes < minQueueBytes || len(f.Disks) == 0 {
					t.Fatalf("seed %d: %s on %s: %+v", seed, vm, name, f)
				}
			}
		}
		for vm, disks := range s.ofVM {
			var want, got share.Rate
			cut := false
			for _, d := range disks {
				checkLimit(t, seed, s, plans, d)
				if len(d.parts) > 0 {
					want.Ops += d.share.Reservation.Ops
					want.Bytes += d.share.Reservation.Bytes
				}
			}
			for _, p := range plans {
				r := p.Flows[vm].Entitlement.Reservation
				got.Ops += r.Ops
				got.Bytes += r.Bytes
				cut = cut || r.Ops == maxReservedOps || r.Bytes == maxReservedBytes
			}
			if !cut && (got.Ops < want.Ops || got.Bytes < want.Bytes) {
				t.Fatalf("seed %d: %s asks for %+v and gets %+v", seed, vm, want, got)
			}
		}
	}
}

func checkLimit(t *testing.T, seed uint64, s *shareState, plans map[string]LUNPlan, d *shareDisk) {
	t.Helper()
	if len(d.parts) == 0 || d.share.Limits == (share.Limits{}) {
		return
	}
	places := 0
	p := s.planDisk(d)
	if p.Limiter != nil {
		places++
		if err := p.Settings.Validate(); err != nil || *p.Limiter != d.share.Limits {
			t.Fatalf("seed %d: limiter of %s: %+v, %v", seed, d.name, *p.Limiter, err)
		}
	}
	for _, plan := range plans {
		if f := plan.Flows[d.vm]; len(f.Disks) == 1 && f.Disks[0] == d.name && f.Entitlement.Limits == d.share.Limits {
			places++
			if !plan.Enabled || len(d.parts) > 1 {
				t.Fatalf("seed %d: %s is limited by %s", seed, d.name, plan.Device)
			}
		}
	}
	if places != 1 {
		t.Fatalf("seed %d: the limit of %s is kept in %d places", seed, d.name, places)
	}
}

// randomState has up to 5 VMs of up to 4 disks, on up to 4 devices.
func randomState(rng *rand.Rand) *shareState {
	off := defaultScheduler()
	off.Enabled = false
	s := &shareState{
		cfg: &Config{
			Groups: []GroupConfig{{Name: "g"}, {Name: "h", Shares: 5}},
			LUNs:   []LUNRule{{ID: "d3", Scheduler: off, QueueCommands: 1, QueueBytes: minQueueBytes}},
		},
		ofVM: map[string][]*shareDisk{}, devices: map[string]ShareDevice{}, luns: map[string]LUNOverride{},
	}
	for _, g := range s.cfg.Groups {
		s.groups = append(s.groups, GroupPlan{g.Name, g.entitlement()})
	}
	for i := range 1 + rng.IntN(4) {
		name := fmt.Sprint("d", i)
		s.devices[name] = ShareDevice{Name: name, Rotational: rng.IntN(2) == 0}
	}
	for v := range 1 + rng.IntN(5) {
		vm := fmt.Sprint("vm", v)
		for i := range 1 + rng.IntN(4) {
			d := &shareDisk{vm: vm, name: fmt.Sprint(vm, "/", i), priority: uint8(rng.IntN(11))}
			d.share = DiskShare{
				Shares: uint32(rng.IntN(share.MaxShares + 1)), IdleCredit: share.Unit(rng.IntN(65537)),
				Group: []string{"", "g", "h"}[rng.IntN(3)], QueueCommands: rng.IntN(3), QueueBytes: Size(rng.IntN(2)) * minQueueBytes,
			}
			if rng.IntN(2) == 0 {
				d.share.Reservation = share.Rate{Ops: 1 + rng.Int64N(maxReservedOps), Bytes: minReservedBytes + rng.Int64N(maxReservedBytes-minReservedBytes)}
			}
			if rng.IntN(2) == 0 { // told apart by the disk's number
				d.share.Limits.Total.Rate = d.share.Reservation
				d.share.Limits.Write.Rate.Ops = int64(100*v + i + 1)
			}
			for range rng.IntN(4) {
				d.parts = append(d.parts, SharePart{fmt.Sprint("d", rng.IntN(len(s.devices))), 512 * (1 + rng.Uint64N(1<<40))})
			}
			s.disks, s.ofVM[vm] = append(s.disks, d), append(s.ofVM[vm], d)
		}
	}
	return s
}
