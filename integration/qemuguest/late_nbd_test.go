// SPDX-License-Identifier: Apache-2.0

//go:build integration

package qemuguest

import (
	"bytes"
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"pathgate/integration/gate"
	"pathgate/integration/proxy"
)

// TestH04QEMUOverNBD: the network holds writes of QEMU back and their connection breaks.
// QEMU connects again, sends the writes again, and writes something newer. What the
// network lets go then does not land over it, where a client has one connection: that of
// a client elsewhere, and with "multi-conn: never". With "always" it does, so that it was
// really under way.
func TestH04QEMUOverNBD(t *testing.T) {
	for _, tt := range []struct{ multiConn, want, lost string }{
		{"never", "newer+++", "older---"},
		{"always", "older---", "newer+++"},
	} {
		t.Run("multi-conn "+tt.multiConn, func(t *testing.T) {
			const size, writes = 2 * mib, 16
			file := filepath.Join(t.TempDir(), "root")
			listen := freeAddress(t)
			g := gate.New(t, gate.Config{
				TCP: fmt.Sprintf("%q", listen), Clients: "exclusive",
				Disks: []string{fmt.Sprintf("{name: root, file: %q, size: 2MiB, multi-conn: %s}", file, tt.multiConn)},
			})
			(&bed{g: g}).available(t)
			front := proxy.MustNew(t, proxy.Options{Target: listen, Protocol: proxy.Raw, Seed: 1})
			host, port, err := net.SplitHostPort(front.Addr())
			if err != nil {
				t.Fatal(err)
			}
			c := storage(t, "", fmt.Sprintf("driver=nbd,node-name=n,server.type=inet,server.host=%s,server.port=%s,export=vm1/root,reconnect-delay=300", host, port), "n")

			front.MustSet(proxy.Fault{Kind: proxy.Hold, Dir: proxy.ToTarget, Conn: 1})
			wrote := make(chan error, 1)
			go func() { wrote <- fill(c, "older---", size, writes) }()
			if err := front.Wait(func(c proxy.Counters) bool { return c.Fault(proxy.Hold).Bytes >= size }, limit); err != nil {
				t.Fatalf("not all is held: %v", err)
			}
			front.MustSet(proxy.Fault{Kind: proxy.HalfClose, Dir: proxy.ToClient, Conn: 1})
			if err := <-wrote; err != nil { // over the second connection
				t.Fatal(err)
			}
			if err := fill(c, "newer+++", size, writes); err != nil {
				t.Fatal(err)
			}
			front.Clear(proxy.Hold)
			if err := front.Wait(func(c proxy.Counters) bool { return c.Active == 1 }, limit); err != nil {
				t.Fatalf("the first connection does not end: %v", err)
			}
			want, got := bytes.Repeat([]byte(tt.want), size/8), make([]byte, size)
			if !gate.Poll(limit, func() bool {
				_, err = c.ReadAt(got, 0)
				return err != nil || bytes.Equal(got, want) || tt.multiConn == "never"
			}) || err != nil || !bytes.Equal(got, want) {
				t.Errorf("QEMU reads other data: %v, %d of %q", err, bytes.Count(got, []byte(tt.lost)), tt.lost)
			}
		})
	}
}
