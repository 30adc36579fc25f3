// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"io"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	nc "pathgate/integration/nbdclient"
)

// A long reply leaves over a unix socket before its client has read any of it.
func TestLongReplyLeavesAtOnce(t *testing.T) {
	const n = 256 << 10
	r := offer(t, memory(t, diskSize)).entered(t)
	raw, err := r.Conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	r.Send(nc.Request{Cmd: nc.CmdRead, Length: n}.Append(nil))
	eventually(t, "the reply is in the kernel", func() bool {
		var come int
		if err := raw.Control(func(fd uintptr) { come, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ) }); err != nil {
			t.Fatal(err)
		}
		return come == 16+n
	})
	if _, err := io.ReadFull(r.Conn, make([]byte, 16+n)); err != nil {
		t.Error(err)
	}
}
