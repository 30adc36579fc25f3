// SPDX-License-Identifier: Apache-2.0

package share

import (
	"fmt"
	"sync"
	"testing"
)

// benchDisk gives a Disk with a fixed window and flows that nothing limits.
// Commands that are issued go to sink.
func benchDisk(tb testing.TB, depth Unit, flows int, sink func(cmds []*Cmd)) (*Disk, []*Flow) {
	tb.Helper()
	s := DefaultSettings()
	s.Depth, s.Capacity = depth, 1_000_000
	d, err := NewDisk(s, NewPacer(nil, nil), func(_ any, cmds []*Cmd) { sink(cmds) })
	if err != nil {
		tb.Fatal(err)
	}
	list := make([]*Flow, flows)
	for i := range list {
		if list[i], err = d.AddFlow(DefaultEntitlement()); err != nil {
			tb.Fatal(err)
		}
	}
	return d, list
}

func read4k(i int) *Cmd { return &Cmd{LBA: uint64(i) * 997 * 8, Bytes: 4096, Class: ClassRead} }

// passing makes a step of a client that nobody contends with: one command that
// is submitted, issued and completed.
func passing(tb testing.TB) (d *Disk, step func()) {
	var last *Cmd
	d, flows := benchDisk(tb, 64, 1, func(cmds []*Cmd) { last = cmds[0] })
	list := []*Cmd{read4k(1)}
	return d, func() {
		d.Submit(nil, flows[0], list)
		if d.Complete(last) {
			d.Pull(nil)
		}
	}
}

// BenchmarkDiskPass is a command while nobody waits. The targets are 80 ns, and 150
// with both looks at the clock.
func BenchmarkDiskPass(b *testing.B) {
	for _, sparse := range []uint32{sparseSamples, 0} {
		b.Run(fmt.Sprintf("measured=1in%d", sparse+1), func(b *testing.B) {
			d, step := passing(b)
			step()
			d.sparse.Store(sparse)
			b.ReportAllocs()
			for b.Loop() {
				step()
			}
		})
	}
}

// backlogged makes a step of flows that all wait: the oldest command in the
// device completes, another is dispatched, and it is submitted anew.
func backlogged(tb testing.TB, flows int) (d *Disk, step func()) {
	const depth, queue = 32, 4
	var ring [4 * depth]*Cmd
	var head, tail int
	d, list := benchDisk(tb, depth, flows, func(cmds []*Cmd) {
		for _, c := range cmds {
			ring[tail%len(ring)] = c
			tail++
		}
	})
	one := make([]*Cmd, 1)
	for i := range flows * (queue + 1) {
		one[0] = read4k(i)
		d.Submit(nil, list[i%flows], one)
	}
	for i := range depth * 2 {
		one[0] = read4k(i)
		d.Submit(nil, list[i%flows], one)
	}
	return d, func() {
		c := ring[head%len(ring)]
		head++
		f := c.shell.flow
		if d.Complete(c) {
			d.Pull(nil)
		}
		one[0] = c
		d.Submit(nil, f, one)
	}
}

// BenchmarkDiskContended is submit, dispatch and complete while all wait. The
// targets are 250 ns with 10 flows, 450 with 1000, 700 with 10000.
func BenchmarkDiskContended(b *testing.B) {
	for _, flows := range []int{10, 1000, 10000} {
		b.Run(fmt.Sprintf("flows=%d", flows), func(b *testing.B) {
			_, step := backlogged(b, flows)
			for range 4 * flows {
				step()
			}
			b.ReportAllocs()
			for b.Loop() {
				step()
			}
		})
	}
}

// BenchmarkDiskGoroutines has clients on their own goroutines and flows, while
// nobody waits and while all do; per command. The target for two is 1.5 times
// that of one.
func BenchmarkDiskGoroutines(b *testing.B) {
	for _, mode := range []struct {
		name  string
		depth Unit
	}{{"pass", 1024}, {"contended", 4}} {
		for _, n := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/goroutines=%d", mode.name, n), func(b *testing.B) {
				b.ReportAllocs()
				runClients(b, mode.depth, n, b.N/n+1)
			})
		}
	}
}

// runClients has n goroutines, each with 8 commands outstanding, do rounds
// commands each. What completes is whatever was issued to the client's queue.
func runClients(tb testing.TB, depth Unit, n, rounds int) {
	const outstanding = 8
	queues := make([]chan *Cmd, n)
	d, flows := benchDisk(tb, depth, n, func(cmds []*Cmd) {
		for _, c := range cmds {
			queues[c.Tag] <- c
		}
	})
	var wg sync.WaitGroup
	for i := range n {
		queues[i] = make(chan *Cmd, outstanding)
		wg.Go(func() {
			one := make([]*Cmd, 1)
			for j := range outstanding {
				one[0] = read4k(j)
				one[0].Tag = uint64(i)
				d.Submit(nil, flows[i], one)
			}
			for range rounds {
				c := <-queues[i]
				if d.Complete(c) {
					d.Pull(nil)
				}
				one[0] = c
				d.Submit(nil, flows[i], one)
			}
			for range outstanding {
				if d.Complete(<-queues[i]) {
					d.Pull(nil)
				}
			}
		})
	}
	wg.Wait()
}
