// SPDX-License-Identifier: Apache-2.0

//go:build integration

package exhaust

import (
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/nbdclient"
	"pathgate/integration/tgtd"
)

// B71: a VM with one request at a time does not wait behind the ten thousand that
// another VM has in flight on the same LUN.
func TestB71Shares(t *testing.T) {
	const conns, each = 10, 1000
	srv := tgtd.New(t, tgtd.Options{Targets: []tgtd.Target{{Name: "iqn.2026-11.test:lun", LUNs: []tgtd.LUN{{SizeBytes: 64 << 20}}}}})
	g := gate.New(t, gate.Config{
		Targets: []gate.Target{{Portals: srv.Portals()[:1]}},
		Disks:   []string{`{name: root, lun: "vmhba0:0:1", size: 32MiB}`},
		VMs:     []string{`{name: vm2, disks: [{name: root, lun: "vmhba0:0:1", offset: 32MiB, size: 32MiB}]}`},
	})
	one := g.Connect(t, "vm2/root")
	var all sync.WaitGroup
	var done atomic.Int64
	var peers []*nbdclient.Raw
	for range conns {
		r, err := transmission(where{NBD: g.NBD()})
		if err != nil {
			t.Fatal(err)
		}
		peers = append(peers, r)
		window := make(chan struct{}, each)
		all.Go(func() {
			for i := uint64(0); ; i++ {
				window <- struct{}{}
				if r.Send(nbdclient.Request{Cmd: nbdclient.CmdRead, Offset: i % 8192 * 4096, Length: 4096}.Append(nil)) != nil {
					return
				}
			}
		})
		all.Go(func() {
			for {
				if _, errno, err := r.ReadSimpleReply(); err != nil || errno != 0 {
					break
				}
				if _, err := io.CopyN(io.Discard, r.Conn, 4096); err != nil {
					break
				}
				done.Add(1)
				<-window
			}
			_ = r.Conn.Close()
			for len(window) > 0 { // the sender sees that the connection is closed
				<-window
			}
		})
	}
	defer func() {
		for _, r := range peers {
			_ = r.Conn.Close()
		}
		all.Wait()
	}()
	buf := make([]byte, 4096)
	read := func(i int) time.Duration {
		begun := time.Now()
		if _, err := one.ReadAt(buf, int64(i%8192)*4096); err != nil {
			t.Fatal(err)
		}
		return time.Since(begun)
	}
	for i := 0; done.Load() < conns*each; i++ { // until all windows have been full
		read(i)
	}
	for n := 1; ; n++ { // what else the machine does may disturb a measurement
		first, begun := done.Load(), time.Now()
		var waits []time.Duration
		for i := 0; i < 200 || done.Load() < first+conns*each; i++ {
			waits = append(waits, read(i))
		}
		rate := float64(done.Load()-first) / time.Since(begun).Seconds()
		behind := time.Duration(conns * each / rate * float64(time.Second))
		slices.Sort(waits)
		median := waits[len(waits)/2]
		t.Logf("measured: %.0f requests per second of one VM, who waits %v for each; the other one's median is %v", rate, behind.Round(time.Millisecond), median)
		if median <= behind/10 {
			return
		}
		if n == 3 {
			t.Fatalf("%v for a request, want at most a tenth of %v", median, behind)
		}
	}
}
