// SPDX-License-Identifier: Apache-2.0

package linear

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"pathgate/integration/stamp"
)

// Config of a run. Zero values mean the defaults.
type Config struct {
	Clients int    // 8
	Sectors int    // 64, from offset 0 of the disk
	Longest int    // sectors of the longest request; 8
	Ops     int    // requests in all; 0: until the end of the context
	Reads   int    // per cent of the requests; 50
	Seed    uint64 // of the choice of requests
	// Think is what a client waits before each request; 0: nothing.
	Think time.Duration
}

func (c *Config) defaults() {
	for _, d := range []struct {
		v   *int
		def int
	}{{&c.Clients, 8}, {&c.Sectors, 64}, {&c.Longest, 8}, {&c.Reads, 50}} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
}

// Run has clients read and write at random, client i on targets[i % len], until Ops
// or the end of ctx, after one write of everything. It waits for all requests. The
// error tells that there could be no run; errors of requests are in the history.
func Run(ctx context.Context, c Config, targets ...stamp.Target) (*History, error) {
	c.defaults()
	h := NewHistory(c.Sectors)
	w, data := h.BeginWrite(0, 0, c.Sectors)
	_, err := targets[0].WriteAt(data, 0)
	h.EndWrite(w, err != nil)
	if err != nil {
		return nil, fmt.Errorf("linear: first write of everything: %w", err)
	}
	var left atomic.Int64
	left.Store(int64(c.Ops))
	var clients sync.WaitGroup
	for i := range c.Clients {
		k := client{cfg: &c, h: h, id: i, t: targets[i%len(targets)], r: rand.New(rand.NewPCG(c.Seed, uint64(i)))}
		clients.Go(func() {
			for ctx.Err() == nil && (c.Ops == 0 || left.Add(-1) >= 0) {
				k.one()
			}
		})
	}
	clients.Wait()
	last := client{cfg: &c, h: h, t: targets[0]}
	last.read(0, c.Sectors)
	return h, nil
}

// Observe reads everything from a disk at rest, such as the file behind it.
func (h *History) Observe(disk io.ReaderAt) error {
	n := len(h.open)
	r := h.BeginRead(0, 0, n)
	b := make([]byte, n*SectorSize)
	if _, err := disk.ReadAt(b, 0); err != nil {
		return fmt.Errorf("linear: read the disk at rest: %w", err)
	}
	h.EndRead(r, b)
	return nil
}

// client makes one request after the other.
type client struct {
	cfg *Config
	h   *History
	id  int
	t   stamp.Target
	r   *rand.Rand
}

func (k *client) one() {
	if k.cfg.Think > 0 {
		<-time.After(k.cfg.Think)
	}
	n := 1 + k.r.IntN(min(k.cfg.Longest, k.cfg.Sectors))
	first := k.r.IntN(k.cfg.Sectors - n + 1)
	if k.r.IntN(100) < k.cfg.Reads {
		k.read(first, n)
		return
	}
	w, data := k.h.BeginWrite(k.id, first, n)
	_, err := k.t.WriteAt(data, int64(first)*SectorSize)
	k.h.EndWrite(w, err != nil)
}

func (k *client) read(first, n int) {
	r := k.h.BeginRead(k.id, first, n)
	b := make([]byte, n*SectorSize)
	if _, err := k.t.ReadAt(b, int64(first)*SectorSize); err != nil {
		b = nil
	}
	k.h.EndRead(r, b)
}
