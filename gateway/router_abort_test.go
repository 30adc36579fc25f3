// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// hooked is a device that calls a function in Submit, where no lock is held.
type hooked struct {
	*backends.Memory
	hook func()
}

func (h *hooked) Submit(b *backends.Batch, reqs []*backends.Request) {
	if h.hook != nil {
		h.hook()
	}
	h.Memory.Submit(b, reqs)
}

// TestAbortOnTheWayIsNotLost aborts a request whose second part is on its way to a
// scheduler that will keep it: a limit, a timer or a completion begins requests on
// another goroutine than that which aborts.
func TestAbortOnTheWayIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := backends.NewMemory(512 << 10)
		if err != nil {
			t.Fatal(err)
		}
		a := &hooked{Memory: m}
		n, err := backends.NewMemory(512 << 10)
		if err != nil {
			t.Fatal(err)
		}
		l := &downLUN{Memory: n}
		ra := NewRouter(a, RouterOptions{Device: ShareDevice{Name: "a"}})
		rb := NewRouter(l, RouterOptions{Device: ShareDevice{Name: "b"}})
		d := NewDisk(DiskSpec{VM: "vm1", Name: "root", Pieces: []PieceSpec{{Ref: "a", Length: 512 << 10}, {Ref: "b", Length: 512 << 10}}})
		if err := d.Attach("a", ra); err != nil {
			t.Fatal(err)
		}
		if err := d.Attach("b", rb); err != nil {
			t.Fatal(err)
		}
		var b backends.Batch
		l.obs.CapacityChanged(&b, 0, 2) // requests wait for a path
		b.Run()
		p := &pending{}
		p.Op, p.Offset, p.Length, p.Completer = backends.Read, 508<<10, 8192, p
		var other backends.Batch // of another goroutine
		a.hook = func() { d.Abort(&other, &p.Request) }
		d.Submit(&b, []*backends.Request{&p.Request})
		other.Run()
		b.Run()
		time.Sleep(time.Minute)
		if p.ends != 1 {
			t.Errorf("a minute after its abort the request has %d ends", p.ends)
		}
		rb.Close()
		ra.Close()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
}
