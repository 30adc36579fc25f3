// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"testing"

	wire "pathgate/internal/iscsi"
)

// B71: with ten thousand commands outstanding that do not end, pings and task management
// functions are answered, on the sessions that are full too.
func TestB71NeverBehindData(t *testing.T) {
	const sessions, each = 40, 250
	d := &stuck{Memory: memory(t), open: each}
	b := serve(t, Config{QueueDepth: each}, newSource().add(t, testTarget, d))
	all := make([]*raw, sessions)
	for i := range all {
		r := b.dial(t)
		r.isid[5] = byte(i)
		r.login(nil)
		r.attention()
		all[i] = r
	}
	d.hold()
	tags := map[*raw][]wire.InitiatorTaskTag{}
	for _, r := range all {
		var out []byte
		for range each {
			c := r.scsiRead(len(tags), 1)
			tags[r] = append(tags[r], c.ITT)
			out = append(out, r.bytes(c, nil, nil)...)
		}
		r.write(out)
	}
	eventually(t, "all commands are outstanding", func() bool { return d.waiting() == sessions*each })
	for _, r := range all {
		r.ping()
		r.managed(r.manage(wire.TaskManagementRequest{Function: wire.AbortTask, ReferencedTaskTag: 9, RefCmdSN: r.cmdSN.Add(1000)}), wire.TaskDoesNotExist)
	}
	if n := d.waiting(); n != sessions*each {
		t.Errorf("%d commands are outstanding", n)
	}
	d.release()
	for _, r := range all {
		for _, itt := range tags[r] {
			r.readData(itt)
		}
		_ = r.conn.Close()
	}
	b.idle(t)
}
