// SPDX-License-Identifier: Apache-2.0

package port

import (
	"net"
	"net/netip"
	"testing"
)

func TestFreeCanBeBound(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "127.0.0.2"} {
		ap, err := Free(netip.MustParseAddr(ip))
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", ap.String())
		if err != nil {
			t.Fatalf("free port is not free: %v", err)
		}
		if got := l.Addr().String(); got != ap.String() {
			t.Errorf("got %s, want %s", got, ap)
		}
		l.Close()
	}
}

func TestFreeOfForeignAddress(t *testing.T) {
	if ap, err := Free(netip.MustParseAddr("192.0.2.1")); err == nil {
		t.Errorf("got %s for an address that is not ours, want an error", ap)
	}
}

func TestResolve(t *testing.T) {
	ap, err := Resolve("127.0.0.1:4711")
	if err != nil || ap.Port() != 4711 {
		t.Errorf("got %v, %v, want the port that was asked for", ap, err)
	}
	if ap, err = Resolve("127.0.0.1:0"); err != nil || ap.Port() == 0 {
		t.Errorf("got %v, %v, want a chosen port", ap, err)
	}
	for _, bad := range []string{"", "127.0.0.1", "localhost:1", "127.0.0.1:70000"} {
		if ap, err := Resolve(bad); err == nil {
			t.Errorf("Resolve(%q) = %v, want an error", bad, ap)
		}
	}
}
