// SPDX-License-Identifier: Apache-2.0

//go:build integration

package shares

import (
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/share"
)

// lose halves the device, as the loss of one of two equal paths does.
func (r *rig) lose(capacity int64) {
	r.svc.Set(capacity/2, 200*time.Microsecond)
	r.svc.Tell(1, 2)
}

// Row 12 (par. 0112): half of the capacity is lost. By priority the more important VM
// keeps what it asks for; with priorities off they share alike. A twentieth of the
// table's rates.
func TestRow12(t *testing.T) {
	t.Parallel()
	const capacity = 1000
	for name, tt := range map[string]struct {
		mode share.PriorityMode
		a, b float64
	}{
		"degraded": {share.PriorityDegraded, 400, 100},
		"off":      {share.PriorityOff, 250, 250},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := settings(capacity, 40)
			s.PriorityMode = tt.mode
			r := newRig(t, s, of("a", 1000).prio(10), of("b", 1000).prio(2))
			a, b := r.load("a", Job{Rate: 400}), r.load("b", Job{Depth: 128})
			r.warm()
			r.expect("row 12, healthy", 3*time.Second, Want{Name: "a", Load: a, Rate: 400}, Want{Name: "b", Load: b, Rate: 600})
			r.lose(capacity)
			r.warm()
			r.expect("row 12, "+name, 3*time.Second, Want{Name: "a", Load: a, Rate: tt.a}, Want{Name: "b", Load: b, Rate: tt.b})
			finish(t, a, b)
		})
	}
}

// Commands that the device holds back do not eat the window of the others: with all
// writes of one VM held, more than the window, the others keep what they are to have.
func TestHeldWrites(t *testing.T) {
	t.Parallel()
	r := newRig(t, settings(1000, 20), of("held", 2000), of("vm1", 2000), of("vm2", 1000))
	one, two := r.load("vm1", Job{Depth: 32}), r.load("vm2", Job{Depth: 32})
	r.hold.Hold(&backends.FaultRule{Ops: backends.Ops(backends.Write)})
	held := r.load("held", Job{Depth: 64, Write: true})
	wants := []Want{{Name: "vm1", Load: one, Rate: 1000. * 2 / 3}, {Name: "vm2", Load: two, Rate: 1000. / 3}}
	if _, ok := r.clock.Until(10*time.Second, func() bool { return r.hold.Counts().Waiting >= 20 }); !ok {
		t.Fatalf("writes are not held: %+v", r.hold.Counts())
	}
	r.warm()
	r.expect("writes held", 3*time.Second, wants...)
	if n := held.Done(0, r.clock.Now()); n > 0 {
		t.Errorf("%d writes were answered while all were held", n)
	}
	t.Logf("%d of 64 writes reached the device", r.hold.Counts().Waiting)
	r.hold.Release()
	r.warm()
	r.expect("writes released", 3*time.Second, Want{Name: "held", Load: held, Rate: 400},
		Want{Name: "vm1", Load: one, Rate: 400}, Want{Name: "vm2", Load: two, Rate: 200})
	finish(t, held, one, two)
}
