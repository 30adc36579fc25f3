// SPDX-License-Identifier: Apache-2.0

package main

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestDemoVMAsks: many workers together make the requests that the VM asks for, none
// while it is idle, and what it asks for acts at once.
func TestDemoVMAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, stop := newDemoVM("vm1"), make(chan struct{})
		v.ask(demoIdle)
		var workers sync.WaitGroup
		for range demoWorkers {
			workers.Go(func() {
				for v.turn(stop) {
					v.ios.Add(1)
					time.Sleep(100 * time.Millisecond) // the request
				}
			})
		}
		during := func(d time.Duration) uint64 {
			before := v.ios.Load()
			time.Sleep(d)
			synctest.Wait()
			return v.ios.Load() - before
		}
		if got := during(time.Minute); got != 0 {
			t.Errorf("idle: %d requests", got)
		}
		v.ask(150)
		if got := during(10 * time.Second); got < 1500 || got > 1502 {
			t.Errorf("150 a second: %d requests in 10 s", got)
		}
		v.ask(demoAll)
		if got := during(10 * time.Second); got < 100*demoWorkers || got > 102*demoWorkers {
			t.Errorf("all that it can get: %d requests in 10 s, want %d", got, 100*demoWorkers)
		}
		v.ask(demoIdle)
		if got := during(time.Minute); got > demoWorkers {
			t.Errorf("idle again: %d requests", got)
		}
		close(stop)
		workers.Wait()
	})
}

// TestDemoVMCatchesUpLittle: a VM that could not have what it asked for does not ask
// for all of it later.
func TestDemoVMCatchesUpLittle(t *testing.T) {
	v := newDemoVM("vm1")
	v.ask(100)
	now := time.Now().Add(time.Hour)
	n := 0
	for {
		at, _ := v.next(now)
		if at.After(now) {
			break
		}
		n++
	}
	if want := int(demoCatchUp/(10*time.Millisecond)) + 1; n != want {
		t.Errorf("%d requests at once after an hour, want %d", n, want)
	}
}
