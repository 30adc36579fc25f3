// SPDX-License-Identifier: Apache-2.0

package shares

import (
	"strings"
	"testing"
	"time"

	"pathgate/backends"
)

// What loads count is what the device has served, and no more is asked for than they
// are to.
func TestLoad(t *testing.T) {
	const rate, enough = 2000, 300
	for _, tt := range []struct {
		name string
		job  Job
		most float64 // commands per second
	}{
		{"closed", Job{Depth: 8}, rate},
		{"closed, written in order", Job{Depth: 8, Write: true, Sequential: true}, rate},
		{"closed, large", Job{Depth: 2, Bytes: 16 << 10}, rate / 4},
		{"closed, many connections", Job{Depth: 1, Connections: 10, From: 1 << 20, Size: 1 << 20}, rate},
		{"open", Job{Rate: 800, Depth: 4096}, 800},
		{"open, more than there is", Job{Rate: 8000, Depth: 20}, rate},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clock, svc := newClock(t), newService(t, rate)
			tt.job.Addr, tt.job.Export = serveNBD(t, exports{{"vm", "disk", svc}}), "vm/disk"
			l := start(t, clock, tt.job)
			clock.Until(time.Minute, func() bool { return l.Done(0, clock.Now()) >= enough })
			if err := l.Stop(); err != nil {
				t.Error(err)
			}
			served, got, end := svc.Counts(), l.Done(0, clock.Now()), l.Last()
			if got < enough || int(served.Requests) != got || float64(served.Units) != float64(got)*l.cost || served.Waiting != 0 {
				t.Errorf("%d answers, want at least %d, of %+v", got, enough, served)
			}
			if r := float64(got-1) / end.Seconds(); r > tt.most {
				t.Errorf("%.0f commands per second, want at most %.0f", r, tt.most)
			}
			if skipped := l.Skipped(); (skipped > 0) != (tt.job.Rate > rate) {
				t.Errorf("%d not asked for", skipped)
			}
		})
	}
}

// An error of the device ends a load, and is told.
func TestLoadError(t *testing.T) {
	m, err := backends.NewMemory(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	f := backends.NewErrorFault(m)
	f.Set(&backends.FaultRule{Skip: 100, Limit: 1}, backends.Failed(backends.Medium))
	l := start(t, newClock(t), Job{Addr: serveNBD(t, exports{{"vm", "disk", f}}), Export: "vm/disk", Depth: 2})
	<-l.links[0].over
	if err := l.Stop(); err == nil || !strings.Contains(err.Error(), "EIO") {
		t.Errorf("got %v, want EIO", err)
	}
}

func TestLoadUnknown(t *testing.T) {
	addr := serveNBD(t, exports{{"vm", "disk", newService(t, 1)}})
	for _, job := range []Job{
		{Addr: addr, Export: "vm/other", Depth: 1},
		{Addr: addr, Export: "vm/disk", Depth: 1, From: 64 << 20},
	} {
		if _, err := Start(t.Context(), newClock(t), job); err == nil {
			t.Errorf("%+v started", job)
		}
	}
}
