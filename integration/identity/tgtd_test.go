// SPDX-License-Identifier: Apache-2.0

//go:build integration

package identity

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/integration/proxy"
	"pathgate/integration/tgtd"
	"pathgate/multipath"
)

const (
	tgtdName = "iqn.2026-11.test:identity"
	tgtdSize = 8 << 20
)

// store makes a backing file of size bytes, filled with fill.
func store(t *testing.T, size int, fill byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "lun")
	if err := os.WriteFile(name, bytes.Repeat([]byte{fill}, size), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// unit puts file behind LUN 1 of s, in the place of what is there.
func unit(t *testing.T, s *tgtd.Server, file, scsiID string) {
	t.Helper()
	lun := []string{"--mode", "logicalunit", "--tid", "1", "--lun", "1"}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(30 * time.Second)
	for { // commands of the connection that was cut may run still
		_, err := s.Admin(t.Context(), append(lun[:len(lun):len(lun)], "--op", "delete")...)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-tick.C
	}
	for _, args := range [][]string{
		{"--op", "new", "--backing-store", file},
		{"--op", "update", "--params", "scsi_id=" + scsiID},
		{"--op", "update", "--params", "scsi_sn=" + scsiID},
	} {
		if _, err := s.Admin(t.Context(), append(lun[:len(lun):len(lun)], args...)...); err != nil {
			t.Fatal(err)
		}
	}
}

// TestH05Tgtd: two target processes serve one file. While the path to one of them is
// cut, another LUN takes the place of its own there: one of another identity, or one
// that says it is the same and has another size. Writes go on all the time. No byte
// reaches the wrong file, and all reach the right one; when the right LUN is back, the
// path is used again.
func TestH05Tgtd(t *testing.T) {
	for name, other := range map[string]struct {
		id   string
		size int
	}{"another identity": {"other", tgtdSize}, "another size": {"right", 2 * tgtdSize}} {
		t.Run(name, func(t *testing.T) {
			right, wrong := store(t, tgtdSize, 0), store(t, other.size, 0xee)
			serve := func() *tgtd.Server {
				return tgtd.New(t, tgtd.Options{Targets: []tgtd.Target{{
					Name: tgtdName, LUNs: []tgtd.LUN{{File: right, SCSIID: "right", SCSISN: "right", WriteThrough: true}},
				}}})
			}
			a, b := serve(), serve()
			pa := proxy.MustNew(t, proxy.Options{Target: a.Portals()[0], Protocol: proxy.ISCSI})
			pb := proxy.MustNew(t, proxy.Options{Target: b.Portals()[0], Protocol: proxy.ISCSI})
			r := start(t, options{}, pa.Addr(), pb.Addr())
			r.up(2)
			d := r.device()

			var wg sync.WaitGroup
			stop := make(chan struct{})
			rounds := make([]int, 4)
			for w := range rounds {
				wg.Go(func() {
					for i := 1; ; i++ {
						select {
						case <-stop:
							return
						default:
						}
						off := w<<20 + i%64*4096
						_, ch := submit(d, backends.Write, uint64(off), 4096, bytes.Repeat([]byte{byte(w<<6 + i%61 + 1)}, 4096))
						if res := <-ch; !res.OK() {
							t.Errorf("write: %+v", res)
							return
						}
						rounds[w] = i
					}
				})
			}
			r.poll("writes over both paths", func() bool {
				return r.path("vmhba0:0:1").Writes > 20 && r.path("vmhba0:1:1").Writes > 20
			})
			pa.MustSet(proxy.Fault{Kind: proxy.Refuse})
			pa.ResetConns()
			r.poll("loss of the path", func() bool { return r.log.count(multipath.PathDown, "vmhba0:0:1") > 0 })
			unit(t, a, wrong, other.id)
			pa.Clear()
			r.poll("quarantine", func() bool { return r.path("vmhba0:0:1").Health == "quarantined" })
			mark := r.path("vmhba0:1:1").Writes
			r.poll("writes over the other path", func() bool { return r.path("vmhba0:1:1").Writes > mark+100 })
			pa.MustSet(proxy.Fault{Kind: proxy.Refuse})
			pa.ResetConns()
			unit(t, a, right, "right")
			pa.Clear()
			r.up(2)
			close(stop)
			wg.Wait()

			got, err := os.ReadFile(wrong)
			if err != nil || !bytes.Equal(got, bytes.Repeat([]byte{0xee}, other.size)) {
				t.Errorf("bytes have reached the wrong LUN (%v)", err)
			}
			got, err = os.ReadFile(right)
			if err != nil {
				t.Fatal(err)
			}
			for w, n := range rounds {
				for i := max(1, n-63); i <= n; i++ {
					if off := w<<20 + i%64*4096; !bytes.Equal(got[off:off+4096], bytes.Repeat([]byte{byte(w<<6 + i%61 + 1)}, 4096)) {
						t.Fatalf("write %d of %d is not on the right LUN", i, w)
					}
				}
			}
		})
	}
}
