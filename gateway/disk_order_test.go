// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pathgate/backends"
)

// stuck is a device that takes its time over the first change: who submits it stands
// still there, as a goroutine may that is not run.
type stuck struct {
	*backends.Memory
	here, goOn chan struct{}
}

func newStuck(t *testing.T) *stuck {
	t.Helper()
	return &stuck{Memory: must[*backends.Memory](t)(backends.NewMemory(1 << 20)), here: make(chan struct{}), goOn: make(chan struct{})}
}

func (s *stuck) Submit(b *backends.Batch, reqs []*backends.Request) {
	if here := s.here; here != nil && reqs[0].Op.Changes() {
		s.here = nil
		close(here)
		<-s.goOn
	}
	s.Memory.Submit(b, reqs)
}

// of gives a request of o, to be sent.
func of(o *backends.Origin, op backends.Op, off, length uint64, data []byte) *pending {
	p := &pending{}
	p.Op, p.Offset, p.Length, p.Origin, p.Completer = op, off, length, o, p
	if data != nil {
		p.Data.AppendBytes(data)
	}
	return p
}

func (p *pending) send(d backends.Device) {
	var b backends.Batch
	d.Submit(&b, []*backends.Request{&p.Request})
	b.Run()
}

// TestH04OrderOverConnections: what one connection has sent before another one is not
// overtaken by it, wherever the first one stands.
func TestH04OrderOverConnections(t *testing.T) {
	const off, n = 64 << 10, 8192
	one, two := &backends.Origin{Connection: "one"}, &backends.Origin{Connection: "two"}
	ops := []backends.Op{backends.Write, backends.WriteZeroes, backends.Unmap}
	for _, older := range ops {
		for _, newer := range ops {
			if older == newer && older != backends.Write {
				continue
			}
			t.Run(fmt.Sprint(older, " ", newer), func(t *testing.T) {
				dev := newStuck(t)
				here := dev.here
				d := newPlain(t, dev)
				content := func(op backends.Op, fill byte) []byte {
					if op == backends.Write {
						return bytes.Repeat([]byte{fill}, n)
					}
					return nil
				}
				old := of(one, older, off, n, content(older, 1))
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					old.send(d)
				}()
				<-here
				after := of(two, newer, off+4096, n, content(newer, 2))
				after.send(d)
				if after.ends != 0 {
					t.Error("the newer one has overtaken the older one")
				}
				apart := of(two, backends.Write, off+n+8192, 4096, make([]byte, 4096))
				apart.send(d)
				if apart.ends != 1 {
					t.Error("what overlaps nothing waits")
				}
				look := of(two, backends.Read, off, n, nil)
				look.send(d)
				if look.ends != 1 {
					t.Error("a read waits")
				}
				close(dev.goOn)
				<-sent
				for _, p := range []*pending{old, after} {
					if p.ends != 1 || !p.res.OK() {
						t.Errorf("%d ends, %v", p.ends, p.res)
					}
				}
				want := bytes.Repeat([]byte{2}, n)
				if newer != backends.Write {
					clear(want)
				}
				if got := do(t, d, backends.Read, off+4096, n, nil); !bytes.Equal(got, want) {
					t.Errorf("begins with %d, want %d", got[0], want[0])
				}
			})
		}
	}
}

// TestH04LateOfOneConnection: a disk with a limit of its own sends what has waited for
// it on any goroutine, and keeps the order of one connection all the same.
func TestH04LateOfOneConnection(t *testing.T) {
	dev := newStuck(t)
	here := dev.here
	d := newPlain(t, dev)
	if err := d.Limit(limitPlan(1_000_000), newPacer(), nil); err != nil {
		t.Fatal(err)
	}
	old := of(nil, backends.Write, 0, 4096, bytes.Repeat([]byte{1}, 4096))
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		old.send(d)
	}()
	<-here
	after := of(nil, backends.Write, 2048, 4096, bytes.Repeat([]byte{2}, 4096))
	after.send(d)
	if after.ends != 0 {
		t.Error("the newer one has overtaken the older one")
	}
	close(dev.goOn)
	<-sent
	if got := do(t, d, backends.Read, 2048, 4096, nil); after.ends != 1 || got[0] != 2 {
		t.Errorf("%d ends, begins with %d", after.ends, got[0])
	}
}

// TestH04AbortedWhileItWaits: a change that waits for another connection's ends at once
// when it is aborted, and what waits for it goes on behind the first.
func TestH04AbortedWhileItWaits(t *testing.T) {
	dev := newLimited(t, 1<<20, 0, 0)
	d := newPlain(t, dev)
	one, two, three := &backends.Origin{}, &backends.Origin{}, &backends.Origin{}
	data := func(fill byte) []byte { return bytes.Repeat([]byte{fill}, 4096) }
	dev.hold = true
	first, second := of(one, backends.Write, 0, 4096, data(1)), of(two, backends.Write, 0, 4096, data(2))
	third := of(three, backends.Write, 0, 4096, data(3))
	for _, p := range []*pending{first, second, third} {
		p.send(d)
	}
	if len(dev.held) != 1 || d.waiting != 2 {
		t.Fatalf("%d with the device, %d wait", len(dev.held), d.waiting)
	}
	var b backends.Batch
	d.Abort(&b, &second.Request)
	b.Run()
	if second.ends != 1 || second.res.Class != backends.Aborted || third.ends != 0 || len(dev.held) != 1 {
		t.Errorf("%d ends, %v; the third %d; %d with the device", second.ends, second.res.Class, third.ends, len(dev.held))
	}
	dev.hold = false
	dev.letOne(0)
	if got := do(t, d, backends.Read, 0, 4096, nil); first.ends != 1 || third.ends != 1 || got[0] != 3 {
		t.Errorf("%d and %d ends, begins with %d", first.ends, third.ends, got[0])
	}
	atRest(t, d)
}

// atRest: nothing is left of the order of changes.
func atRest(t *testing.T, d *Disk) {
	t.Helper()
	c := &d.changes
	if d.ops.n != 0 || d.waiting != 0 || d.paced != 0 || c.n != 0 || c.wide != 0 {
		t.Errorf("%d outstanding, %d wait, %d paced, %d changes, %d wide", d.ops.n, d.waiting, d.paced, c.n, c.wide)
	}
	if c.filter != nil {
		for i, n := range c.filter {
			if n != 0 {
				t.Fatalf("%d in bucket %d", n, i)
			}
		}
	}
}

// unordered is a device that carries changes out when it is told to, each when it likes.
type unordered struct {
	limited
	t *testing.T
}

// Submit checks that nothing overlaps a change of another connection that is
// outstanding.
func (u *unordered) Submit(_ *backends.Batch, reqs []*backends.Request) {
	for _, r := range reqs {
		for _, x := range u.held {
			if x.Origin != r.Origin && x.Offset < r.Offset+r.Length && r.Offset < x.Offset+x.Length {
				u.t.Errorf("%v at %d of %d bytes comes before the end of %v at %d of %d of another connection", r.Op, r.Offset, r.Length, x.Op, x.Offset, x.Length)
			}
		}
		u.held = append(u.held, r)
	}
}

// TestH04OrderRandom: whatever several connections send, a device that ends changes in
// any order has the data of the last one in the end, and nothing waits for ever.
func TestH04OrderRandom(t *testing.T) {
	const blocks, block = 512, 4096
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 4))
		dev := &unordered{limited: *newLimited(t, blocks*block, 64<<10, 64<<10), t: t}
		d := newPlain(t, dev)
		origins := make([]*backends.Origin, 1+r.IntN(4))
		for i := range origins {
			origins[i] = new(backends.Origin)
		}
		want := make([]byte, blocks)
		var all []*pending
		let := func() { dev.letOne(r.IntN(len(dev.held))) }
		for i := range 400 {
			// Some changes are wide, some of many parts; those of one connection do not
			// overlap while they are outstanding: that is the client's to see to.
			length := uint64(1 + r.IntN(8))
			if r.IntN(16) == 0 {
				length = uint64(r.IntN(blocks-8) + 8)
			}
			at := uint64(r.IntN(int(blocks - length + 1)))
			origin := origins[r.IntN(len(origins))]
			fill, op := byte(i%255+1), []backends.Op{backends.Write, backends.WriteZeroes, backends.Unmap}[r.IntN(3)]
			for slices.ContainsFunc(all, func(p *pending) bool {
				return p.ends == 0 && p.Origin == origin && p.Offset < (at+length)*block && at*block < p.Offset+p.Length
			}) {
				let()
			}
			var data []byte
			if op == backends.Write {
				data = bytes.Repeat([]byte{fill}, int(length*block))
			} else {
				fill = 0
			}
			for b := at; b < at+length; b++ {
				want[b] = fill
			}
			p := of(origin, op, at*block, length*block, data)
			p.send(d)
			all = append(all, p)
			if r.IntN(50) == 0 {
				for len(dev.held) > 0 {
					let()
				}
			} else if len(dev.held) > 1 && r.IntN(2) == 0 {
				let()
			}
		}
		for len(dev.held) > 0 {
			let()
		}
		for i, p := range all {
			if p.ends != 1 || !p.res.OK() {
				t.Fatalf("seed %d: change %d: %d ends, %v", seed, i, p.ends, p.res)
			}
		}
		got := make([]byte, 0, blocks)
		for i := range uint64(blocks) {
			q := backends.Request{Op: backends.Read, Offset: i * block, Length: block, Completer: &pending{}}
			var b backends.Batch
			dev.Memory.Submit(&b, []*backends.Request{&q})
			b.Run()
			got = append(got, q.Data.Bytes()[block-1])
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("seed %d: other data than those of the last change", seed)
		}
		atRest(t, d)
	}
}

// TestH04OrderFilter: the filter is in use only where connections mix, and never says
// that changes do not overlap that do.
func TestH04OrderFilter(t *testing.T) {
	dev := newLimited(t, 64<<20, 0, 0)
	d := newPlain(t, dev)
	one, two := new(backends.Origin), new(backends.Origin)
	write := func(o *backends.Origin, off, n uint64) { of(o, backends.WriteZeroes, off, n, nil).send(d) }
	for i := range uint64(100) {
		write(one, i*4096, 4096)
		write(two, i*4096, 4096)
	}
	if d.changes.filter != nil {
		t.Error("used for changes that were never outstanding together")
	}
	dev.hold = true
	for i := range uint64(8) {
		write(one, i<<20, 8192)
	}
	if d.changes.filter != nil {
		t.Error("used for one connection")
	}
	if write(two, 32<<20, 4096); !d.changes.mixed || d.waiting != 0 {
		t.Errorf("%+v", d.changes)
	}
	if write(two, 5<<20+4096, 2<<20); d.waiting != 1 { // wide, over one
		t.Error("a wide change does not wait")
	}
	if write(one, 6<<20+8192, 4096); d.waiting != 2 { // over the wide one
		t.Error("nothing waits for a wide change")
	}
	dev.hold = false
	for len(dev.held) > 0 {
		dev.letOne(0)
	}
	atRest(t, d)
	for range orderCalm {
		write(two, 0, 4096)
	}
	if !d.changes.mixed {
		t.Error("given up early")
	}
	if write(two, 0, 4096); d.changes.mixed {
		t.Error("kept for one connection")
	}
	atRest(t, d)
}
