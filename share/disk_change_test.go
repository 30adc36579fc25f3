// SPDX-License-Identifier: Apache-2.0

package share

import (
	"sync"
	"testing"
	"time"
)

// TestAllSettingsChangeMeanwhile changes mode, unit, window, slop, depth, limits, groups
// and paths while clients work; all ends, in order, and the accounts are exact.
func TestAllSettingsChangeMeanwhile(t *testing.T) {
	d, list, stop := racers(t, 4, fixedDepth(raceDepth))
	if err := d.ConfigureGroup(1, GroupEntitlement{Weight: 700}, 1); err != nil {
		t.Fatal(err)
	}
	var wg, clients sync.WaitGroup
	quit := make(chan struct{})
	wg.Go(func() {
		for i := uint32(1); ; i++ {
			select {
			case <-quit:
				if d.Paths(1_000_000) {
					d.Pull(nil)
				}
				return
			default:
			}
			if d.Paths([]uint32{0, 1_000_000, 300_000, 0, 1_000_000}[i%5]) {
				d.Pull(nil)
			}
			if i%7 == 0 && d.TaskSetFull() {
				d.Pull(nil)
			}
			e := DefaultEntitlement()
			switch i % 6 {
			case 1:
				e.Limits.Total.Rate.Ops = 20000
			case 2:
				e.Group = 1
			case 3:
				e.Weight = 0
			case 4:
				e.Reservation.Ops = 500
			case 5:
				e.Group, e.Weight = 1, 0
			}
			if err := d.ConfigureFlow(list[i%4].flow, e, i); err != nil {
				t.Error(err)
			}
			g := GroupEntitlement{Weight: 100 + i%900}
			if i%3 == 0 {
				g.Limits.Total.Rate.Ops = 30000
			}
			if err := d.ConfigureGroup(1, g, i); err != nil {
				t.Error(err)
			}
			set := fixedDepth(raceDepth)
			if i%4 == 1 {
				set.Mode = Strict
			}
			if i%5 == 1 {
				set.UnitBytes = 8192
			}
			if i%3 == 1 {
				set.Window = 40 * time.Millisecond
			}
			if i%8 == 1 {
				set.Depth = 2
			}
			if err := d.Configure(set, i); err != nil {
				t.Error(err)
			}
		}
	})
	for _, x := range list {
		clients.Go(func() {
			for range 1500 {
				switch k := x.r.IntN(10); {
				case k < 4:
					x.submit(1)
				case k < 5:
					x.submit(1 + x.r.IntN(12))
				case k < 6:
					x.abort()
				default:
					x.complete(false)
				}
			}
		})
	}
	clients.Wait()
	close(quit)
	wg.Wait()
	if err := d.Configure(fixedDepth(raceDepth), 1<<20); err != nil {
		t.Fatal(err)
	}
	for _, x := range list {
		clients.Go(x.drain)
	}
	clients.Wait()
	stop()
}
