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
	demoBlock   = 4096
	demoWorkers = 4 // requests that a VM has outstanding
)

// demoVM is a virtual machine of the demo: workers that write blocks, read them
// back, and compare.
type demoVM struct {
	name   string
	ios    atomic.Uint64
	errors atomic.Uint64
	wrong  atomic.Uint64 // blocks that came back other than they were written

	mu      sync.Mutex
	stall   time.Duration // the longest that one request has taken
	lastErr error
}

// run works on the export until stop is closed.
func (v *demoVM) run(socket, export string, stop <-chan struct{}) {
	var wg sync.WaitGroup
	for i := range demoWorkers {
		wg.Go(func() {
			if err := v.work(socket, export, i, stop); err != nil {
				v.errors.Add(1)
				v.mu.Lock()
				v.lastErr = err
				v.mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// work owns every demoWorkers-th block, so that it knows what each must hold.
func (v *demoVM) work(socket, export string, worker int, stop <-chan struct{}) error {
	d, err := openGuestDisk(socket, export)
	if err != nil {
		return err
	}
	defer d.close()
	blocks := d.size / demoBlock / demoWorkers
	versions := make([]uint64, blocks)
	want, got := make([]byte, demoBlock), make([]byte, demoBlock)
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		n := rand.Uint64N(blocks)
		at := (n*demoWorkers + uint64(worker)) * demoBlock
		if rand.IntN(2) == 0 || versions[n] == 0 {
			versions[n]++
			fillBlock(want, at, versions[n])
			if err := v.timed(d, nbdCmdWrite, want, at); err != nil {
				return err
			}
			continue
		}
		fillBlock(want, at, versions[n])
		if err := v.timed(d, nbdCmdRead, got, at); err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			v.wrong.Add(1)
		}
	}
}

func (v *demoVM) timed(d *guestDisk, cmd uint16, p []byte, at uint64) error {
	begin := time.Now()
	if err := d.do(cmd, p, at); err != nil {
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
