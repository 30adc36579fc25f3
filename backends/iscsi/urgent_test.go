// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

// TestUrgentOvertakesData: pings and task management functions do not wait behind
// the data of a target that takes it slowly, but stay behind the commands that
// they are about.
func TestUrgentOvertakesData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const writes = 60
		blocked, order := make(chan struct{}), make(chan []string, 1)
		r := newRig(t, func(f *fake) {
			f.command() // the read of LUN 1
			<-blocked
			var list []string
			for len(list) < writes+5 {
				h, ok := f.nextRaw()
				if !ok {
					return
				}
				name := h.Opcode().String()
				if h.Opcode() == wire.OpSCSICommand && h[1]&0x40 != 0 {
					name = "read"
				}
				if h.Opcode() == wire.OpTaskManagementRequest {
					p, err := wire.DecodeTaskManagementRequest(&h)
					if err != nil {
						t.Error(err)
					}
					name = p.Function.String()
				}
				list = append(list, name)
			}
			order <- list
		}, withWindow(80))
		l := r.waitUp()
		s1, s2 := r.s, r.n.Session(2)
		s2.SetGeometry(l.Generation, testGeometry)
		victim, second := read4k(), read4k()
		r.submit(victim)
		synctest.Wait()
		for range writes {
			r.submit(write4k())
		}
		r.submit(second) // behind the writes, like the read of LUN 2
		r.s = s2
		r.submit(read4k())
		r.tmf(&backends.TaskManagement{Function: backends.LUNReset, Timeout: time.Minute})
		r.s = s1
		r.tmf(&backends.TaskManagement{Function: backends.AbortTask, Task: victim, Timeout: time.Minute})
		time.Sleep(1500 * time.Millisecond) // until a NOP-Out is due
		close(blocked)
		at := map[string]int{}
		for i, name := range <-order {
			at[name] = i // of the last of that name
		}
		// One write of the queue may have begun: 64 slices, a header and data each.
		for _, name := range []string{wire.OpNOPOut.String(), wire.AbortTask.String()} {
			if i, ok := at[name]; !ok || i > 40 {
				t.Errorf("%s at %d: it waited behind data", name, i)
			}
		}
		if at[wire.LogicalUnitReset.String()] < at["read"] {
			t.Errorf("the reset at %d overtook a command of its LUN at %d", at[wire.LogicalUnitReset.String()], at["read"])
		}
		r.close()
	})
}
