// SPDX-License-Identifier: Apache-2.0

package shares

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/gateway/nbd"
)

// export is a device with the VM and disk that ask for it.
type export struct {
	vm, disk string
	dev      backends.Device
}

// exports shows devices to an NBD server, as "vm/disk".
type exports []export

func (x exports) List(nbd.Peer) (list []nbd.Export) {
	for _, e := range x {
		list = append(list, nbd.Export{Name: e.vm + "/" + e.disk})
	}
	return list
}

func (x exports) Open(_ context.Context, name string, peer nbd.Peer, _ nbd.Mode) (nbd.Handle, error) {
	for _, e := range x {
		if e.vm+"/"+e.disk == name {
			return nbd.Handle{
				Export: nbd.Export{Name: name}, Device: e.dev,
				Origin: &backends.Origin{VM: e.vm, Disk: e.disk, Connection: peer.Connection},
			}, nil
		}
	}
	return nbd.Handle{}, nbd.ErrUnknownExport
}

// serveNBD serves x on a unix socket until the test ends, and gives its address.
func serveNBD(t testing.TB, x exports) string {
	t.Helper()
	// Not t.TempDir: its name is longer than that of a unix socket may be.
	dir, err := os.MkdirTemp("", "shares-")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "nbd.sock"))
	if err != nil {
		t.Fatal(err)
	}
	srv, err := nbd.New(nbd.Config{Exports: x, MaxConnections: 4096, DrainTimeout: 100 * time.Millisecond, StopGrace: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("NBD server: %v", err)
		}
		os.RemoveAll(dir)
	})
	return "unix:" + l.Addr().String()
}

// newService makes a device in memory that serves rate units per second, each 200 us
// after its time.
func newService(t testing.TB, rate int64) *backends.ServiceFault {
	t.Helper()
	m, err := backends.NewMemory(64 << 20)
	if err != nil {
		t.Fatal(err)
	}
	f := backends.NewServiceFault(m)
	f.Set(rate, 200*time.Microsecond)
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// newClock makes the clock of a test.
func newClock(t testing.TB) *Clock {
	t.Helper()
	c := NewClock()
	t.Cleanup(c.Stop)
	return c
}

// start starts a load that ends with the test, if not before.
func start(t testing.TB, c *Clock, job Job) *Load {
	t.Helper()
	l, err := Start(t.Context(), c, job)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Abandon)
	return l
}
