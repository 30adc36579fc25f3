// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"testing"
	"time"

	nc "pathgate/integration/nbdclient"
)

// B54 for a client in front of the kernel's driver, and for all where the configuration
// wants it: what was outstanding at a stop is answered, and what comes after it has no
// answer, since that would be an error of the disk.
func TestB54StopOfOneThatReconnects(t *testing.T) {
	t.Run("the client says so", func(t *testing.T) {
		stopWithoutErrors(t, Config{}, goData(1, "x", 1, infoReconnects))
	})
	t.Run("the configuration says so", func(t *testing.T) {
		stopWithoutErrors(t, Config{CloseOnStop: true}, goData(1, "x", 0))
	})
}

func stopWithoutErrors(t *testing.T, cfg Config, request []byte) {
	d := newTestDevice(t, diskSize)
	cfg.Exports, cfg.StopGrace, cfg.DrainTimeout = newSource().add("x", d), time.Minute, time.Minute
	b := serve(t, cfg)
	r := b.greeted(t)
	if _, err := r.Ask(nc.OptGo, request); err != nil {
		t.Fatal(err)
	}
	d.hold()
	r.Send(nc.Request{Cmd: nc.CmdFlush, Cookie: 1}.Append(nil))
	eventually(t, "in flight", func() bool { return d.heldCount() == 1 })
	over := make(chan struct{})
	go func() { b.Withdraw(t.Context(), "x"); close(over) }()
	eventually(t, "stopping", func() bool { return b.isStopping() })
	r.Send(append(nc.Request{Cmd: nc.CmdWrite, Cookie: 2, Length: 512}.Append(nil), make([]byte, 512)...))
	r.Send(nc.Request{Cmd: nc.CmdRead, Cookie: 3, Length: 512}.Append(nil))
	d.release()
	if cookie, e, err := r.ReadSimpleReply(); cookie != 1 || e != 0 || err != nil {
		t.Errorf("outstanding request: %d, %v, %v", cookie, e, err)
	}
	closed(t, r)
	<-over
}
