// SPDX-License-Identifier: Apache-2.0

package scripted

import (
	wire "pathgate/internal/iscsi"
	"pathgate/internal/scsi"
)

// Task is a task management request.
type Task struct {
	wire.TaskManagementRequest
	Portal int
}

// TaskAnswer is what becomes of it. The zero value handles it as a target should.
type TaskAnswer struct {
	// Scripted: Response is sent, and nothing is done. With Silent nothing is sent.
	Scripted, Silent bool
	Response         wire.TaskResponse
}

// OnTask has f decide about task management; nil: all is handled. It must not wait.
func (tg *Target) OnTask(f func(Task) TaskAnswer) {
	tg.mu.Lock()
	defer tg.mu.Unlock()
	tg.onTask = f
}

// manage does ABORT TASK and LOGICAL UNIT RESET: what has not been carried out by
// then never will be, whatever a script held it back for.
func (c *conn) manage(p wire.TaskManagementRequest) {
	c.t.count(c.portal, func(s *Stats) { s.Tasks++ })
	c.t.mu.Lock()
	f := c.t.onTask
	c.t.mu.Unlock()
	if f != nil {
		if a := f(Task{p, c.portal}); a.Silent {
			return
		} else if a.Scripted {
			c.send(wire.TaskManagementResponse{Response: a.Response, ITT: p.ITT}, nil, advance)
			return
		}
	}
	r := wire.FunctionComplete
	switch p.Function {
	case wire.AbortTask:
		c.mu.Lock()
		if m := c.tasks[p.ReferencedTaskTag]; m == nil {
			r = wire.TaskDoesNotExist
		} else {
			m.answered = true
			delete(c.tasks, p.ReferencedTaskTag)
		}
		c.mu.Unlock()
	case wire.LogicalUnitReset:
		u := c.t.unit(c.portal, field(p.LUN))
		if u == nil {
			r = wire.LUNDoesNotExist
			break
		}
		for _, o := range c.t.portals {
			for _, x := range o.list() {
				x.forgetTasks(u)
			}
		}
		u.mu.Lock()
		u.raiseLocked(scsi.CodeResetOccurred, func(o *conn) bool { return o != c })
		u.mu.Unlock()
	default:
		r = wire.FunctionNotSupported
	}
	c.send(wire.TaskManagementResponse{Response: r, ITT: p.ITT}, nil, advance)
}

func (c *conn) forgetTasks(u *Unit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for itt, m := range c.tasks {
		if m.unit == u {
			m.answered = true
			delete(c.tasks, itt)
		}
	}
}
