// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// demoBlock is the size of every request: one CU.
	demoBlock = 4096
	// demoWorkers is how many requests a VM has outstanding while it asks for all that
	// it can get: more than the window, so that some of each VM's always wait.
	demoWorkers = 24
	// demoCatchUp bounds what a VM that asks for a rate makes up for.
	demoCatchUp = 100 * time.Millisecond

	demoAll  = -1 // demoVM.ask: all that it can get
	demoIdle = 0
)

// demoVM is a virtual machine of the demo: workers that write blocks, read them
// back, and compare, as fast as it asks for.
type demoVM struct {
	name   string
	ios    atomic.Uint64
	errors atomic.Uint64
	wrong  atomic.Uint64 // blocks that came back other than they were written

	mu      sync.Mutex
	rate    int           // requests per second, or demoAll
	due     time.Time     // of the next request, when rate is a number
	changed chan struct{} // closed when rate changes
	stall   time.Duration // the longest that one request has taken
	lastErr error
}

// newDemoVM makes a VM that asks for all that it can get.
func newDemoVM(name string) *demoVM {
	return &demoVM{name: name, rate: demoAll, changed: make(chan struct{})}
}

// ask sets how many requests per second the VM wants.
func (v *demoVM) ask(rate int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.rate, v.due = rate, time.Now()
	close(v.changed)
	v.changed = make(chan struct{})
}

// run works on the export until stop is closed.
func (v *demoVM) run(socket, export string, stop <-chan struct{}) {
	d, err := openGuestDisk(socket, export, demoWorkers)
	if err != nil {
		v.failed(err)
		return
	}
	defer d.close()
	var wg sync.WaitGroup
	for i := range demoWorkers {
		wg.Go(func() {
			if err := v.work(d, i, stop); err != nil {
				v.failed(err)
			}
		})
	}
	wg.Wait()
}

func (v *demoVM) failed(err error) {
	v.errors.Add(1)
	v.mu.Lock()
	v.lastErr = err
	v.mu.Unlock()
}

// work owns every demoWorkers-th block, so that it knows what each must hold.
func (v *demoVM) work(d *guestDisk, worker int, stop <-chan struct{}) error {
	blocks := d.size / demoBlock / demoWorkers
	versions := make([]uint64, blocks)
	want, got := make([]byte, demoBlock), make([]byte, demoBlock)
	for v.turn(stop) {
		n := rand.Uint64N(blocks)
		at := (n*demoWorkers + uint64(worker)) * demoBlock
		if rand.IntN(2) == 0 || versions[n] == 0 {
			versions[n]++
			fillBlock(want, at, versions[n])
			if err := v.timed(d, worker, nbdCmdWrite, want, at); err != nil {
				return err
			}
			continue
		}
		fillBlock(want, at, versions[n])
		if err := v.timed(d, worker, nbdCmdRead, got, at); err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			v.wrong.Add(1)
		}
	}
	return nil
}

// turn waits until the VM wants its next request; false: stop is closed.
func (v *demoVM) turn(stop <-chan struct{}) bool {
	for {
		select {
		case <-stop:
			return false
		default:
		}
		at, changed := v.next(time.Now())
		var due <-chan time.Time // never, for an idle VM
		if !at.IsZero() {
			wait := time.Until(at)
			if wait <= 0 {
				return true
			}
			due = time.After(wait)
		}
		select {
		case <-stop:
			return false
		case <-due:
			return true
		case <-changed:
		}
	}
}

// next takes the next request's time; the zero time for an idle VM.
func (v *demoVM) next(now time.Time) (at time.Time, changed <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch v.rate {
	case demoIdle:
	case demoAll:
		at = now
	default:
		if oldest := now.Add(-demoCatchUp); v.due.Before(oldest) {
			v.due = oldest
		}
		at = v.due
		v.due = v.due.Add(time.Second / time.Duration(v.rate))
	}
	return at, v.changed
}

func (v *demoVM) timed(d *guestDisk, slot int, cmd uint16, p []byte, at uint64) error {
	begin := time.Now()
	if err := d.do(slot, cmd, p, at); err != nil {
		return fmt.Errorf("%s at %d: %w", v.name, at, err)
	}
	v.ios.Add(1)
	took := time.Since(begin)
	v.mu.Lock()
	v.stall = max(v.stall, took)
	v.mu.Unlock()
	return nil
}

// takeStall gives the longest request since the last call.
func (v *demoVM) takeStall() time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.stall
	v.stall = 0
	return s
}

// fillBlock makes a block that tells its place and version in every word.
func fillBlock(p []byte, at, version uint64) {
	for i := 0; i < len(p); i += 16 {
		binary.LittleEndian.PutUint64(p[i:], at+uint64(i))
		binary.LittleEndian.PutUint64(p[i+8:], version)
	}
}
