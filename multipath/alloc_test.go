// SPDX-License-Identifier: Apache-2.0

//go:build !race

package multipath

import (
	"context"
	"errors"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/internal/buffer"
	"pathgate/internal/scsi"
)

// nullConnector makes sessions that end every request at once with nothing
// allocated: what is left is the path manager's own cost.
type nullConnector struct{}

func (nullConnector) Discover(context.Context, string) ([]backends.TargetPortal, error) {
	return nil, nil
}

func (nullConnector) Connect(p backends.TargetPortal, h backends.NexusHandler) backends.Nexus {
	n := &nullNexus{h: h}
	n.inner = (&fakeNet{portals: map[string]*fakePortal{}}).server(iqn, p.Portal)
	n.inner.addLUN(1, newMedium(), naa(1))
	go func() {
		var b backends.Batch
		h.Up(&b, n, backends.Login{Generation: 1, GroupTag: 1})
		b.Run()
	}()
	return n
}

type nullNexus struct {
	h     backends.NexusHandler
	inner *fakeServer
}

func (n *nullNexus) Session(lun uint16) backends.Session { return &nullSession{n: n, lun: lun} }
func (n *nullNexus) Relogin(backends.Route)              {}
func (n *nullNexus) Logout()                             {}
func (n *nullNexus) Close(context.Context) error         { return nil }

type nullSession struct {
	n   *nullNexus
	lun uint16
}

func (s *nullSession) Nexus() backends.Nexus                 { return s.n }
func (s *nullSession) LUN() uint16                           { return s.lun }
func (s *nullSession) SetGeometry(uint64, backends.Geometry) {}
func (s *nullSession) Load() (int, int)                      { return 0, 128 }

func (s *nullSession) Submit(b *backends.Batch, reqs []*backends.Request) {
	for _, r := range reqs {
		if r.Op == backends.Read {
			seg := buffer.Get(int(r.Length))
			r.Data.Append(seg.Slice(0, int(r.Length)))
		}
		b.Complete(r, backends.Done())
	}
}

func (s *nullSession) Exec(b *backends.Batch, c *backends.Command) {
	cdb := c.CDB
	data, res := s.n.inner.inquire(s.n.inner.luns[s.lun], (*scsi.CDB)(&cdb))
	c.Result = res
	if res.OK() {
		c.In.AppendBytes(data[:min(len(data), c.MaxIn)])
	}
	c.Done(b, c)
}

func (s *nullSession) TMF(b *backends.Batch, t *backends.TaskManagement) { t.Done(b, t) }

// nullDevice is a device of four such paths.
func nullDevice(tb testing.TB, selector string) *Device {
	tb.Helper()
	ups := make(upEvents, 8)
	m, err := New(Config{
		Adapters: []Adapter{{Name: "vmhba0", Connector: nullConnector{}}, {Name: "vmhba1", Connector: nullConnector{}}},
		Targets:  []Target{{Name: iqn, Portals: portals(2)}},
		Rule:     func(...string) Rule { return Rule{Selector: Selection{Name: selector}} },
		Store:    newMemStore(), Events: ups,
	})
	if err != nil {
		tb.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- m.Run(context.Background()) }()
	tb.Cleanup(func() {
		if err := errors.Join(m.Close(), <-ended); err != nil {
			tb.Error(err)
		}
	})
	for range 4 {
		select {
		case <-ups:
		case <-time.After(10 * time.Second):
			tb.Fatalf("not all paths are up: %+v", m.Paths())
		}
	}
	return m.Devices()[0]
}

// upEvents counts the paths that come up.
type upEvents chan struct{}

func (u upEvents) Event(e Event) {
	if e.Kind == PathUp {
		u <- struct{}{}
	}
}

// recycled is a request that is used again and again.
type recycled struct {
	r backends.Request
	n int
}

func (c *recycled) Complete(_ *backends.Batch, r *backends.Request, res backends.Result) {
	if res.OK() {
		c.n++
	}
	if r.Op == backends.Read {
		r.Data.Release()
	}
}

// A request costs no allocation, whatever it does.
func TestSubmitDoesNotAllocate(t *testing.T) {
	origins := []*backends.Origin{{VM: "a", Priority: backends.NewPriority(1)}, {VM: "b"}, nil}
	for _, selector := range SelectorNames() {
		d := nullDevice(t, selector)
		var b backends.Batch
		calls := make([]*recycled, 32)
		reqs := make([]*backends.Request, 32)
		for i := range calls {
			c := &recycled{}
			c.r = backends.Request{Op: backends.Read, Offset: uint64(i) * 4096, Length: 4096, Completer: c, Origin: origins[i%3]}
			if i%2 == 1 {
				c.r.Op = backends.Write
				c.r.Offset = uint64(i/4) * 4096 // some overlap: they are parked
				c.r.Data.AppendBytes(pattern(1, 4096))
			}
			if i == 31 {
				c.r = backends.Request{Op: backends.Flush, Completer: c}
			}
			calls[i], reqs[i] = c, &c.r
		}
		runs := 0
		if n := testing.AllocsPerRun(200, func() {
			runs++
			d.Submit(&b, reqs)
			b.Run()
		}); n != 0 {
			t.Errorf("%s: %v allocations for %d requests", selector, n, len(reqs))
		}
		for i, c := range calls {
			if c.n != runs {
				t.Errorf("%s: request %d: %d successes of %d", selector, i, c.n, runs)
			}
		}
	}
}

func BenchmarkSubmit(b *testing.B) {
	for _, op := range []backends.Op{backends.Read, backends.Write} {
		b.Run(op.String(), func(b *testing.B) {
			d := nullDevice(b, "service-time")
			var batch backends.Batch
			c := &recycled{}
			c.r = backends.Request{Op: op, Length: 4096, Completer: c}
			if op == backends.Write {
				c.r.Data.AppendBytes(pattern(1, 4096))
			}
			reqs := []*backends.Request{&c.r}
			b.ReportAllocs()
			for b.Loop() {
				d.Submit(&batch, reqs)
				batch.Run()
			}
		})
	}
}
