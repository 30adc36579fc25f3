// SPDX-License-Identifier: Apache-2.0

//go:build integration

package exhaust

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/nbdclient"
)

// hoards are the attacks that have the gateway keep something.
var hoards = []string{
	"deaf initiators", "deaf NBD clients", "endless writes", "endless NBD writes", "crumbs of data", "early data", "half PDUs", "options", "half logins",
}

// B68: whatever clients have the gateway keep, on as many connections as they open, its
// resident memory stays below GOMEMLIMIT, and another VM's requests are carried out.
func TestB68Memory(t *testing.T) {
	g, w := start(t, gate.Config{Env: []string{"GOMEMLIMIT=256MiB"}})
	other := g.Connect(t, "vm2/root")
	idle := status(t, g.Pid(), "VmRSS") << 10
	served := 0
	for _, names := range append(apart(hoards), hoards[:4]) {
		served += besides(t, other, func(ctx context.Context, did *atomic.Int64) {
			var all sync.WaitGroup
			for _, name := range names {
				all.Go(func() { launch(ctx, name, w, did) })
			}
			all.Wait()
		})
		t.Logf("%s: %d MiB", names, status(t, g.Pid(), "VmRSS")>>10)
	}
	most := status(t, g.Pid(), "VmHWM") << 10
	t.Logf("measured: %d MiB resident at most, %d MiB at first; %d writes and reads of the other VM meanwhile", most>>20, idle>>20, served)
	if limit := resident(t); most > limit {
		t.Errorf("%d bytes were resident, want at most %d", most, limit)
	}
}

// apart makes a list of each name alone.
func apart(names []string) (lists [][]string) {
	for _, n := range names {
		lists = append(lists, []string{n})
	}
	return lists
}

// besides writes and reads while f runs, for half a second, a few times, and until f
// has done something; it tells how often.
func besides(t *testing.T, c *nbdclient.Client, f func(ctx context.Context, did *atomic.Int64)) (served int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	did := &atomic.Int64{}
	go func() {
		defer close(ended)
		f(ctx, did)
	}()
	defer func() {
		cancel()
		<-ended
	}()
	data, back := bytes.Repeat([]byte("other VM"), 8<<10), make([]byte, 64<<10)
	for begun := time.Now(); time.Since(begun) < time.Second/2 || served < 10 || did.Load() == 0; served++ {
		if time.Since(begun) > 2*time.Minute {
			t.Fatalf("%d actions and %d requests in two minutes", did.Load(), served)
		}
		off := int64(served % 500 * len(data))
		if _, err := c.WriteAt(data, off); err != nil {
			t.Fatal(err)
		}
		if _, err := c.ReadAt(back, off); err != nil || !bytes.Equal(back, data) {
			t.Fatalf("not what was written (%v)", err)
		}
	}
	return served
}
