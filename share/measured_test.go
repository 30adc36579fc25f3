// SPDX-License-Identifier: Apache-2.0

package share

import (
	"testing"
	"time"
)

// TestMeasured: what a device has done for a few reads is no measure of what it can
// do, until the window was full; a capacity that is configured is one at once.
func TestMeasured(t *testing.T) {
	set := DefaultSettings()
	set.Depth = 4
	c, err := NewCore(set, 0)
	if err != nil {
		t.Fatal(err)
	}
	e := DefaultEntitlement()
	c.Step(1, []Event{{Kind: AddFlow, Flow: 1, Entitlement: &e}}, nil)
	now, lba := Instant(1), uint64(0)
	var in []Event
	// serve has n commands more wait, ends what is in the device, and so on for 2 s.
	serve := func(n int) (s Snapshot) {
		for range 400 {
			for range n {
				lba += 1000
				in = append(in, Event{Kind: Submit, Flow: 1, Cmd: &Cmd{LBA: lba, Bytes: 4096, Class: ClassRead}})
			}
			now += Instant(5 * time.Millisecond)
			out, _ := c.Step(now, in, make([]Dispatch, 0, 64))
			in = in[:0]
			for _, d := range out {
				in = append(in, Event{Kind: Complete, Cmd: d.Cmd})
			}
		}
		c.Snapshot(&s)
		return s
	}
	if s := serve(0); s.Capacity != 0 || s.Measured {
		t.Errorf("idle: capacity %d, measured %v", s.Capacity, s.Measured)
	}
	if s := serve(1); s.Capacity < 100_000 || s.Measured {
		t.Errorf("one read at a time: capacity %d, measured %v; want some, not measured", s.Capacity, s.Measured)
	}
	if s := serve(5); !s.Measured || s.Capacity < 600_000 {
		t.Errorf("a full window: capacity %d, measured %v; want 800000, measured", s.Capacity, s.Measured)
	}
	set.Capacity = 500
	if c, err = NewCore(set, 0); err != nil {
		t.Fatal(err)
	}
	var s Snapshot
	if c.Snapshot(&s); !s.Measured || s.Capacity != 500_000 {
		t.Errorf("configured: capacity %d, measured %v; want 500000, measured", s.Capacity, s.Measured)
	}
}
