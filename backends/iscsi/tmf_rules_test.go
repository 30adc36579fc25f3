// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"testing"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

// Rule 11: the LUN field of a task management function is that of the commands, byte
// for byte: tgtd compares all eight.
func TestRule11LUNField(t *testing.T) {
	r := newRig(t, func(f *fake) {
		c, _ := f.command()
		p := f.request()
		if p.LUN != c.LUN || p.ReferencedTaskTag != c.ITT {
			t.Errorf("ABORT TASK has the LUN % x and tag %v, the command % x and %v", p.LUN, p.ReferencedTaskTag, c.LUN, c.ITT)
		}
		f.respond(p.ITT, wire.FunctionComplete)
		if p := f.request(); p.LUN != c.LUN {
			t.Errorf("LOGICAL UNIT RESET has the LUN % x, the command % x", p.LUN, c.LUN)
		} else {
			f.respond(p.ITT, wire.FunctionComplete)
		}
	})
	r.waitUp()
	q := read4k()
	ch := r.submit(q)
	wait1(t, r.tmf(abort1(q)), "response")
	wait1(t, ch, "completion")
	if got := wait1(t, r.tmf(&backends.TaskManagement{Function: backends.LUNReset}), "response"); got != backends.TMComplete {
		t.Errorf("got %v", got)
	}
	r.close()
}
