// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"io"
	"net"
	"testing"

	"pathgate/backends"
	"pathgate/integration/nbdclient"
)

// bare makes a connection of the process that is at the unix socket, in transmission.
func (b *ownerBed) bare(t *testing.T, addr string) *nbdclient.Raw {
	t.Helper()
	r := must[*nbdclient.Raw](t)(nbdclient.DialRaw(t.Context(), addr))
	t.Cleanup(func() { r.Close() })
	if _, err := r.Greet(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Info(nbdclient.OptGo, "vm1/root"); err != nil {
		t.Fatal(err)
	}
	return r
}

// jammed has a connection use up the credits of the disk, with reads that are held, and
// send a write behind them.
func (b *ownerBed) jammed(t *testing.T, addr string, fill byte) *nbdclient.Raw {
	t.Helper()
	r := b.bare(t, addr)
	b.hold.Hold(&backends.FaultRule{Ops: backends.Ops(backends.Read)})
	var msg []byte
	for i := range uint64(defaultQueueCommands) {
		msg = nbdclient.Request{Cmd: nbdclient.CmdRead, Cookie: i, Offset: 4096, Length: 512}.Append(msg)
	}
	msg = nbdclient.Request{Cmd: nbdclient.CmdWrite, Cookie: 1 << 32, Length: 512}.Append(msg)
	if err := r.Send(append(msg, blockOf(fill)...)); err != nil {
		t.Fatal(err)
	}
	// They are submitted when the write is found to have to wait.
	waitUntil(t, "all credits are used", func() bool { return b.hold.Counts().Waiting == defaultQueueCommands })
	return r
}

// left waits until so many connections are left.
func (b *ownerBed) left(t *testing.T, n int) {
	t.Helper()
	waitUntil(t, "connections end", func() bool { return len(b.nbd.Connections()) == n })
}

// TestH04ResentOverAnotherConnection: the kernel's nbd driver gives a connection up on
// which a request took too long, sends its requests again over another one that is
// there already, and newer ones. What it had sent on the first one and nobody had read
// is not carried out any more.
func TestH04ResentOverAnotherConnection(t *testing.T) {
	for name, addr := range map[string]func(*ownerBed) string{
		"unix": func(b *ownerBed) string { return b.unix },
		"tcp":  func(b *ownerBed) string { return b.tcp },
	} {
		t.Run(name, func(t *testing.T) {
			b := newOwnerBed(t, ClientsExclusive, "")
			two := b.mustConnect(t, addr(b))
			one := b.jammed(t, addr(b), 1)
			one.Close()
			for fill := range byte(2) {
				if _, err := two.WriteAt(blockOf(1+fill), 0); err != nil {
					t.Fatal(err)
				}
			}
			b.hold.Release()
			b.left(t, 1)
			data := make([]byte, 512)
			if _, err := two.ReadAt(data, 0); err != nil || data[0] != 2 {
				t.Errorf("reads %d, %v, want 2", data[0], err)
			}
		})
	}
}

// TestHalfClosedIsServed: what a client has sent before it ended its stream is carried
// out: it reads the answers, or sends nothing over another connection before it has
// come back, which waits for that.
func TestHalfClosedIsServed(t *testing.T) {
	for name, more := range map[string]bool{"of several": true, "of one": false} {
		t.Run(name, func(t *testing.T) {
			b := newOwnerBed(t, ClientsExclusive, "")
			if more {
				b.bare(t, b.unix)
			}
			one := b.jammed(t, b.unix, 3)
			if err := one.Conn.(*net.UnixConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			b.hold.Release()
			if _, err := io.Copy(io.Discard, one.Conn); err != nil { // the answers
				t.Error(err)
			}
			two := b.mustConnect(t, b.unix)
			data := make([]byte, 512)
			if _, err := two.ReadAt(data, 0); err != nil || !bytes.Equal(data, blockOf(3)) {
				t.Errorf("reads %d, %v, want 3", data[0], err)
			}
		})
	}
}
