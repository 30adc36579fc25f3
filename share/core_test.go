// SPDX-License-Identifier: Apache-2.0

package share

import (
	"testing"
	"time"
)

// coreOf makes a core with equal flows, each with so many commands queued.
func coreOf(tb testing.TB, s Settings, flows, queued int) (*Core, []Cmd) {
	tb.Helper()
	c, err := NewCore(s, 0)
	if err != nil {
		tb.Fatal(err)
	}
	cmds := make([]Cmd, flows*queued)
	e := DefaultEntitlement()
	out := make([]Dispatch, 0, 64)
	for i := range flows {
		c.Step(0, []Event{{Kind: AddFlow, Flow: FlowID(i), Entitlement: &e}}, out)
	}
	for i := range cmds {
		cmds[i] = Cmd{Tag: uint64(i), LBA: uint64(i) * 1000, Bytes: 4096, Class: ClassRead}
	}
	return c, cmds
}

// TestCoreTurn has each of three flows served in turn of its shares.
func TestCoreTurn(t *testing.T) {
	s := DefaultSettings()
	s.Depth, s.Capacity, s.FloorInterval = 1, 10000, 0
	c, cmds := coreOf(t, s, 3, 40)
	weights := []uint32{2000, 2000, 1000}
	var in []Event
	for i, w := range weights {
		e := Entitlement{Weight: w, Priority: 5}
		in = append(in, Event{Kind: ConfigureFlow, Flow: FlowID(i), Entitlement: &e, Version: 1})
	}
	for i := range cmds {
		in = append(in, Event{Kind: Submit, Flow: FlowID(i / 40), Cmd: &cmds[i]})
	}
	now := Instant(time.Millisecond)
	out, _ := c.Step(now, in, make([]Dispatch, 0, 8))
	var got [3]int
	for n := 0; n < 50; n++ {
		if len(out) != 1 {
			t.Fatalf("step %d: %d dispatches, want 1", n, len(out))
		}
		got[out[0].Flow]++
		now += Instant(100 * time.Microsecond)
		out, _ = c.Step(now, []Event{{Kind: Complete, Cmd: out[0].Cmd}}, out[:0])
	}
	if got != [3]int{20, 20, 10} {
		t.Errorf("served %v, want 20, 20, 10", got)
	}
}

// benchCore measures submit, dispatch and complete of one command, with every
// other flow backlogged.
func benchCore(b *testing.B, flows int) {
	s := DefaultSettings()
	s.Depth, s.Capacity = 8, 100000
	c, cmds := coreOf(b, s, flows, 3)
	in := make([]Event, 0, len(cmds))
	for i := range cmds {
		in = append(in, Event{Kind: Submit, Flow: FlowID(i / 3), Cmd: &cmds[i]})
	}
	now := Instant(1)
	out, _ := c.Step(now, in, make([]Dispatch, 0, 64))
	ring := append(make([]Dispatch, 0, 64), out...)
	in = in[:0]
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		d := &ring[i%len(ring)]
		now += 10000
		in = append(in[:0], Event{Kind: Complete, Cmd: d.Cmd}, Event{Kind: Submit, Flow: d.Flow, Cmd: d.Cmd})
		out, _ = c.Step(now, in, out[:0])
		if len(out) != 1 {
			b.Fatalf("%d dispatches", len(out))
		}
		*d = out[0]
	}
}

func BenchmarkCore10(b *testing.B)    { benchCore(b, 10) }
func BenchmarkCore1000(b *testing.B)  { benchCore(b, 1000) }
func BenchmarkCore10000(b *testing.B) { benchCore(b, 10000) }
