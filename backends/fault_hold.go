// SPDX-License-Identifier: Apache-2.0

package backends

import "time"

// HoldFault is a device that keeps chosen requests until they are released. It
// is a LUN: its observer sees them parked (ParkBusy) and unparked, and what the
// device below tells. Make it with NewHoldFault; Close closes the device below
// too.
type HoldFault struct {
	gate
	choose chooser
}

// NewHoldFault wraps d. It holds nothing until Hold.
func NewHoldFault(d Device) *HoldFault {
	f := &HoldFault{}
	f.open(d, f)
	return f
}

// Hold keeps the requests that rule chooses; nil: all. It replaces the rule
// before; what is held stays so.
func (f *HoldFault) Hold(rule *FaultRule) {
	if rule == nil {
		rule = &FaultRule{}
	}
	f.choose.set(rule)
}

// Release lets everything go, and holds no more.
func (f *HoldFault) Release() {
	f.choose.set(nil)
	f.mu.Lock()
	for _, w := range f.line {
		w.hit = false
	}
	f.mu.Unlock()
	f.wake()
}

// ReleaseNext lets the n oldest go that are held, and goes on holding.
func (f *HoldFault) ReleaseNext(n int) {
	f.mu.Lock()
	for _, w := range f.line {
		if n > 0 && w.hit {
			w.hit = false
			n--
		}
	}
	f.mu.Unlock()
	f.wake()
}

// Observe has o told what is held, and all that the device below tells.
func (f *HoldFault) Observe(o Observer) {
	f.mu.Lock()
	f.obs = o
	f.mu.Unlock()
	if lun, ok := f.Device.(LUN); ok {
		lun.Observe(o)
	}
}

// Counts tells what it did.
func (f *HoldFault) Counts() FaultCounts {
	c := f.choose.get()
	c.Waiting = f.waiting()
	return c
}

func (f *HoldFault) inOrder() bool { return false }

func (f *HoldFault) arrive(_ time.Time, w *gateWaiter) bool {
	w.hit = f.choose.hit(w.r)
	return w.hit
}

func (f *HoldFault) ready(_ time.Time, w *gateWaiter) (bool, time.Duration) { return !w.hit, 0 }

var _ LUN = (*HoldFault)(nil)
