// SPDX-License-Identifier: Apache-2.0

//go:build integration

package shares

import (
	"testing"
	"time"

	"pathgate/share"
)

// Row 13 (par. 0106): a reservation comes before shares and priorities, and takes all
// but the floors when it is more than there is; the same whether the capacity is what
// the LUN has in health or what is left of it. A fifth of the table's rates.
func TestRow13(t *testing.T) {
	t.Parallel()
	const full = 2000
	for name, tt := range map[string]struct {
		capacity int64
		lost     bool // nominal is full
		a, bc    float64
	}{
		"10000":         {2000, false, 600, 700},
		"5000":          {1000, false, 600, 200},
		"5000 of 10000": {1000, true, 600, 200},
		"2000":          {400, false, 392, 4},
		"2000 of 10000": {400, true, 392, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := settings(tt.capacity, 20)
			if tt.lost {
				s = settings(full, share.Unit(20*full/tt.capacity))
			}
			r := newRig(t, s, of("a", 100).prio(0).reserve(share.Rate{Ops: 600}),
				of("b", 10000).prio(10), of("c", 10000).prio(10))
			if tt.lost {
				r.svc.Set(tt.capacity, 200*time.Microsecond)
				r.svc.Tell(float64(tt.capacity), full)
			}
			a, b, c := r.load("a", Job{Depth: 64}), r.load("b", Job{Depth: 64}), r.load("c", Job{Depth: 64})
			r.warm()
			r.expect("row 13, "+name, 3*time.Second, Want{Name: "a", Load: a, Rate: tt.a},
				Want{Name: "b", Load: b, Rate: tt.bc}, Want{Name: "c", Load: c, Rate: tt.bc})
			from := r.clock.Now() - 3*time.Second
			for _, l := range []*Load{b, c} { // P7, and what the device has before it
				if gap := l.Gap(from, r.clock.Now()); gap > 302*time.Millisecond+r.clock.Halted(from, r.clock.Now()) && tt.bc < 10 {
					t.Errorf("%s had nothing for %v", l.job.Export, gap)
				}
			}
			finish(t, a, b, c)
		})
	}
	// Small reservations of a VM that has nearly no shares.
	for name, tt := range map[string]struct {
		reserve share.Rate
		bytes   uint32
		rate    float64
	}{
		"10 commands":    {share.Rate{Ops: 10}, 4096, 10},
		"100 CU, 64 KiB": {share.Rate{Bytes: 100 * 4096}, 64 << 10, 100},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, settings(full, 20), of("a", 1).reserve(tt.reserve), of("b", 10000))
			a, b := r.load("a", Job{Depth: 8, Bytes: tt.bytes}), r.load("b", Job{Depth: 256})
			r.warm()
			r.expect("row 13, "+name, 4*time.Second, Want{Name: "a", Load: a, Rate: tt.rate, Steady: true},
				Want{Name: "b", Load: b, Rate: full - tt.rate})
			finish(t, a, b)
		})
	}
}

// Row 14 (mClock): reservations and a limit on devices of several speeds, at the
// table's own rates.
func TestRow14(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		capacity int64
		want     [3]float64
	}{
		"875":  {875, [3]float64{250, 250, 375}},
		"1200": {1200, [3]float64{250, 380, 570}},
		"1800": {1800, [3]float64{300, 600, 900}},
		"2000": {2000, [3]float64{1000. / 3, 2000. / 3, 1000}},
		"2500": {2500, [3]float64{500, 1000, 1000}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, slow(tt.capacity, 16), of("rd", 1000).reserve(share.Rate{Ops: 250}),
				of("oltp", 2000).reserve(share.Rate{Ops: 250}),
				of("dm", 3000).limit(share.Ceiling{Rate: share.Rate{Ops: 1000}}))
			var wants []Want
			for i, vm := range []string{"rd", "oltp", "dm"} {
				wants = append(wants, Want{Name: vm, Load: r.load(vm, Job{Depth: 64}), Rate: tt.want[i]})
			}
			r.warm()
			r.expect("row 14, C="+name, 3*time.Second, wants...)
			finish(t, all(wants)...)
		})
	}
}
