// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
	"time"
	"unsafe"
)

const (
	block   = 4096
	workers = 8
	span    = 16 << 20 // bytes for each worker: no block is written twice in 200 s
	pause   = 50 * time.Millisecond
)

// Size is how many bytes a device needs.
const Size = workers * span

// device is a block device under load.
type device struct {
	file  *os.File
	meter *Meter
}

func open(name string, flags int) (*device, error) {
	f, err := os.OpenFile(name, os.O_RDWR|flags, 0)
	if err != nil {
		return nil, err
	}
	return &device{file: f, meter: NewMeter(workers, time.Now())}, nil
}

// run works until ctx ends, and a request more.
func (d *device) run(ctx context.Context) {
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { d.work(ctx, w) })
	}
	wg.Wait()
}

func (d *device) work(ctx context.Context, w int) {
	data, back := aligned(), aligned()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		at := int64(w)*span + int64(n)*block%span
		for i := range data {
			data[i] = byte(w) ^ byte(n) ^ byte(n>>8) ^ byte(i)
		}
		d.one(w, func() error { _, err := d.file.WriteAt(data, at); return err })
		d.one(w, func() error {
			if _, err := d.file.ReadAt(back, at); err != nil {
				return err
			}
			if !bytes.Equal(back, data) {
				return fmt.Errorf("worker %d read at %d what it did not write", w, at)
			}
			return nil
		})
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// one runs one request. The load goes on after an error, which is told.
func (d *device) one(w int, f func() error) {
	d.meter.Begin(w, time.Now())
	err := f()
	d.meter.End(w, time.Now(), err)
}

// aligned is a block that O_DIRECT takes.
func aligned() []byte {
	b := make([]byte, 2*block)
	if over := int(uintptr(unsafe.Pointer(&b[0])) % block); over != 0 {
		b = b[block-over:]
	}
	return b[:block:block]
}
