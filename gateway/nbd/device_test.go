// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"slices"
	"sync"
	"testing"

	"pathgate/backends"
)

// seen is a request as the device was given it.
type seen struct {
	op                  backends.Op
	off, length         uint64
	fua, noUnmap, quick bool
}

// testDevice is a memory disk that holds, refuses and records requests, and
// whose description can be changed. Its functions are set before it is used.
type testDevice struct {
	*backends.Memory
	fail  func(r *backends.Request) backends.Class // 0: serve it
	grant *backends.Grant                          // nil: the memory disk's
	short bool                                     // reads lack their last byte

	mu       sync.Mutex
	info     backends.Info
	ranges   []backends.Range // that fence named
	holding  bool
	held     []*backends.Request
	log      []seen
	batches  int // Submit calls
	aborts   int
	watchers backends.Watchers
}

func newTestDevice(tb testing.TB, size uint64) *testDevice {
	m := memory(tb, size)
	return &testDevice{Memory: m, info: m.Info()}
}

func (d *testDevice) Info() backends.Info {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.info
}

// fence has the device hold these parts back.
func (d *testDevice) fence(list ...backends.Range) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ranges = list
}

func (d *testDevice) Held(list []backends.Range, within backends.Range) []backends.Range {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.ranges {
		if r, ok := r.Intersect(within); ok {
			list = append(list, r)
		}
	}
	return list
}

func (d *testDevice) Grant(o *backends.Origin) *backends.Grant {
	if d.grant != nil {
		return d.grant
	}
	return d.Memory.Grant(o)
}

func (d *testDevice) Watch(fn func(backends.Change)) (stop func()) { return d.watchers.Watch(fn) }

// become changes the description and tells.
func (d *testDevice) become(change backends.Change, f func(*backends.Info)) {
	d.mu.Lock()
	f(&d.info)
	d.mu.Unlock()
	d.watchers.Tell(change)
}

func (d *testDevice) Submit(b *backends.Batch, reqs []*backends.Request) {
	d.mu.Lock()
	d.batches++
	holding := d.holding
	for _, r := range reqs {
		d.log = append(d.log, seen{r.Op, r.Offset, r.Length, r.FUA, r.NoUnmap, r.FastZero})
		if holding {
			d.held = append(d.held, r)
		}
	}
	d.mu.Unlock()
	if !holding {
		d.carryOut(b, reqs)
	}
}

// set changes fields while the device is in use.
func (d *testDevice) set(f func()) {
	d.mu.Lock()
	f()
	d.mu.Unlock()
}

func (d *testDevice) carryOut(b *backends.Batch, reqs []*backends.Request) {
	d.mu.Lock()
	fail, short := d.fail, d.short
	d.mu.Unlock()
	for _, r := range reqs {
		if fail != nil {
			if class := fail(r); class != 0 {
				b.Complete(r, backends.Failed(class))
				continue
			}
		}
		d.Memory.Submit(b, []*backends.Request{r})
		if short && r.Op == backends.Read {
			s := &r.Data[len(r.Data)-1]
			s.B = s.B[:len(s.B)-1]
		}
	}
}

// hold keeps requests from now on.
func (d *testDevice) hold() {
	d.mu.Lock()
	d.holding = true
	d.mu.Unlock()
}

// release carries out what is held, the last first, and holds no more.
func (d *testDevice) release() {
	d.mu.Lock()
	d.holding = false
	held := d.held
	d.held = nil
	d.mu.Unlock()
	slices.Reverse(held)
	var b backends.Batch
	d.carryOut(&b, held)
	b.Run()
}

func (d *testDevice) heldCount() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.held)
}

// count tells how many requests the device was given.
func (d *testDevice) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.log)
}

func (d *testDevice) requests() []seen {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.log)
}

// Abort ends a held request.
func (d *testDevice) Abort(b *backends.Batch, r *backends.Request) {
	d.mu.Lock()
	d.aborts++
	i := slices.Index(d.held, r)
	if i >= 0 {
		d.held = slices.Delete(d.held, i, i+1)
	}
	d.mu.Unlock()
	if i >= 0 {
		b.Complete(r, backends.Failed(backends.Aborted))
	}
}
