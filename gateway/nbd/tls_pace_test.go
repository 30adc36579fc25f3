// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pathgate/internal/netserve"
)

// P15: TLS handshakes are made at a bounded rate. Clients wait for a while, and no longer.
func TestP15HandshakePace(t *testing.T) {
	ca := pki(t)
	cfg := clientTLS(ca, "vm1")
	bubbleTLS(t, Config{Exports: newSource().add("x", memory(t, diskSize)), HandshakeTimeout: 10 * time.Second}, security(ca, TLSRequired),
		func(t *testing.T, srv *Server, p *pipes, _ func()) {
			srv.handshakes = netserve.NewPaces(1, 2, 100, 100)
			var wg sync.WaitGroup
			var made, refused atomic.Int64
			begun := time.Now()
			for range 20 {
				wg.Go(func() {
					r := p.dial()
					r.greet()
					switch _, err := r.upgrade(cfg); {
					case err == nil:
						made.Add(1)
					case isTimeout(err):
						t.Error(err)
					default:
						refused.Add(1)
					}
				})
			}
			wg.Wait()
			if took := time.Since(begun); made.Load() != 7 || refused.Load() != 13 || took != 5*time.Second {
				t.Errorf("%d handshakes and %d refusals in %v, want 2 at once, 5 in 5 seconds, and 13", made.Load(), refused.Load(), took)
			}
		})
}

func TestNetwork(t *testing.T) {
	for a, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::", "::1": "::",
	} {
		if got := network(netip.MustParseAddr(a)).String(); got != want {
			t.Errorf("%s: got %s, want %s", a, got, want)
		}
	}
	if network(netip.Addr{}).IsValid() {
		t.Error("no address became one")
	}
}
