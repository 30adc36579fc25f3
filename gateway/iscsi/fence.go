// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"slices"

	wire "pathgate/internal/iscsi"
)

// fence keeps commands from being carried out that come after a task management
// function that covers them: it was immediate, and overtook them in the order of
// CmdSN. They end as if they had come before it, without an answer. RFC 7143 4.2.3.3
// (Standard Multi-Task Abort Semantics), 4.2.2.1.
type fence struct {
	upto       wire.Serial // the CmdSN of the function: commands before it
	everywhere bool
	lun        wire.LUNField
}

// clearsSet tells whether f ends more than one task.
func clearsSet(f wire.TaskFunction) bool {
	switch f {
	case wire.AbortTaskSet, wire.ClearTaskSet, wire.LogicalUnitReset, wire.TargetWarmReset, wire.TargetColdReset:
		return true
	case wire.AbortTask, wire.ClearACA, wire.TaskReassign, wire.QueryTask, wire.QueryTaskSet, wire.ITNexusReset, wire.QueryAsynchronousEvent:
	}
	return false
}

// fence puts up the fence of r, if there is a gap before it. There is one for each
// unit at most.
func (s *session) fence(r *wire.TaskManagementRequest) {
	f := fence{upto: r.CmdSN, everywhere: !r.Function.NamesLUN(), lun: r.LUN}
	s.mu.Lock()
	gap := s.win.exp.Less(r.CmdSN) && r.CmdSN.LessEq(s.win.max.Next())
	s.mu.Unlock()
	if !gap {
		return
	}
	i := slices.IndexFunc(s.fences, func(o fence) bool { return o.everywhere == f.everywhere && sameUnit(o.lun, f.lun) })
	switch {
	case i < 0:
		s.fences = append(s.fences, f)
	case s.fences[i].upto.Less(f.upto):
		s.fences[i].upto = f.upto
	}
}

// fenced tells whether p is a command that a fence keeps out.
func (s *session) fenced(p *pdu) bool {
	if len(s.fences) == 0 || p.bhs.Immediate() || p.bhs.Opcode() != wire.OpSCSICommand {
		return false
	}
	return slices.ContainsFunc(s.fences, func(f fence) bool {
		return p.bhs.CmdSN().Less(f.upto) && (f.everywhere || sameUnit(f.lun, p.bhs.LUN()))
	})
}

// clearFences takes those down that nothing can come to any more.
func (s *session) clearFences() {
	if len(s.fences) == 0 {
		return
	}
	s.mu.Lock()
	exp := s.win.exp
	s.mu.Unlock()
	s.fences = slices.DeleteFunc(s.fences, func(f fence) bool { return f.upto.LessEq(exp) })
}
