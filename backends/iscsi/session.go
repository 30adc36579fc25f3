// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"sync/atomic"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
	"pathgate/internal/scsi"
)

// session is one nexus on one LUN. It outlives connections.
type session struct {
	n     *nexus
	lun   uint16
	field wire.LUNField
	geo   atomic.Pointer[geometry]
	load  atomic.Int32 // requests submitted and not completed

	// wait holds what the command window does not admit yet, and what was
	// submitted while a lost session is being cleared away. Guarded by the mu of
	// the connection that is current: one ends its use before the next begins.
	wait waitQueue
}

// geometry is a Geometry and the login that it is valid for.
type geometry struct {
	backends.Geometry
	generation uint64
}

func newSession(n *nexus, lun uint16) *session {
	return &session{n: n, lun: lun, field: wire.LUNField(scsi.LUN(lun).Field())}
}

// Nexus implements backends.Session.
func (s *session) Nexus() backends.Nexus { return s.n }

// LUN implements backends.Session.
func (s *session) LUN() uint16 { return s.lun }

// SetGeometry implements backends.Session. A generation that is not that of the
// present login changes nothing.
func (s *session) SetGeometry(generation uint64, g backends.Geometry) {
	if c := s.n.conn.Load(); c != nil && c.generation == generation && validGeometry(&g) {
		s.geo.Store(&geometry{g, generation})
	}
}

func validGeometry(g *backends.Geometry) bool {
	bs := uint64(g.LogicalBlock)
	return bs >= 512 && bs&(bs-1) == 0 && g.Size%bs == 0
}

// Load implements backends.Session.
func (s *session) Load() (outstanding, room int) {
	if c := s.n.conn.Load(); c != nil {
		room = int(c.room.Load())
	}
	return int(s.load.Load()), room
}

// Submit implements backends.Session.
func (s *session) Submit(b *backends.Batch, reqs []*backends.Request) {
	c := s.n.conn.Load()
	g := s.geo.Load()
	if c == nil || g == nil || g.generation != c.generation || !s.n.cfg.lunAllowed(s.lun) {
		for _, r := range reqs {
			b.Complete(r, backends.Failed(backends.Transport))
		}
		return
	}
	c.mu.Lock()
	for _, r := range reqs {
		if class := check(r, &g.Geometry); class != backends.OK {
			b.Complete(r, backends.Failed(class))
			continue
		}
		if c.state == connFinished {
			b.Complete(r, backends.Failed(backends.Transport))
			continue
		}
		s.load.Add(1)
		c.admitLocked(s, waiter{req: r})
	}
	c.mu.Unlock()
	b.Touch(c.queue)
}

// Exec implements backends.Session.
func (s *session) Exec(b *backends.Batch, x *backends.Command) {
	x.Result, x.In, x.Raw = backends.Result{}, nil, nil
	c := s.n.conn.Load()
	var class backends.Class
	switch {
	case x.MaxIn < 0 || x.MaxIn > 0 && len(x.Out) > 0 || x.MaxIn > maxExecBytes || x.Out.Len() > maxExecBytes:
		class = backends.IllegalRequest
	case c == nil || !s.n.cfg.lunAllowed(s.lun):
		class = backends.Transport
	default:
		c.mu.Lock()
		if c.state != connFinished {
			timeout := x.Timeout
			if timeout <= 0 {
				timeout = s.n.cfg.Timeouts.Command
			}
			c.admitLocked(s, waiter{exec: x, deadline: c.deadline(timeout)})
			c.mu.Unlock()
			c.wakeWatch()
			b.Touch(c.queue)
			return
		}
		c.mu.Unlock()
		class = backends.Transport
	}
	x.Result = backends.Failed(class)
	b.Defer(execDone{x})
}

// maxExecBytes bounds the data of one Exec; a caller that wants more is wrong.
const maxExecBytes = 16 << 20

// execDone delivers a command's end as a batch's deferred work.
type execDone struct{ x *backends.Command }

// RunBatch implements backends.Runner.
func (d execDone) RunBatch(b *backends.Batch) { d.x.Done(b, d.x) }

// check gives OK, or the class that a request which cannot be sent fails with.
func check(r *backends.Request, g *backends.Geometry) backends.Class {
	if r.Op == backends.Flush {
		return backends.OK
	}
	mask := uint64(g.LogicalBlock) - 1
	if r.Length == 0 || (r.Offset|r.Length)&mask != 0 || r.Offset > g.Size || r.Length > g.Size-r.Offset {
		return backends.IllegalRequest
	}
	blocks := r.Length / uint64(g.LogicalBlock)
	data := uint64(r.Data.Len())
	switch r.Op {
	case backends.Read:
		return wellSized(r.Length, blocks, g, true)
	case backends.Write:
		return wellSized(r.Length, blocks, g, data == r.Length)
	case backends.Verify:
		return wellSized(r.Length, blocks, g, data == r.Length || data == 0)
	case backends.CompareAndWrite:
		return wellSized(2*r.Length, blocks, g, data == 2*r.Length && blocks <= 0xff)
	case backends.Cache:
		return wellSized(0, blocks, nil, blocks <= 0xffffffff)
	case backends.Unmap:
		if !g.Unmap {
			return backends.Unsupported
		}
		return backends.OK
	case backends.WriteZeroes:
		if r.FastZero && !g.WriteSame {
			return backends.Unsupported
		}
		return backends.OK
	case backends.BlockStatus:
		return backends.OK
	case backends.Flush:
	}
	return backends.IllegalRequest
}

// wellSized checks the payload of one command against the limits of the wire and
// of the LUN.
func wellSized(bytes, blocks uint64, g *backends.Geometry, fits bool) backends.Class {
	if !fits || bytes > 0xffffffff || g != nil && g.MaxBlocks != 0 && blocks > uint64(g.MaxBlocks) {
		return backends.IllegalRequest
	}
	return backends.OK
}
