// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"hash/crc32"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

// laggard is a disk whose writes take their time, cannot be aborted, and read their data
// again at the end.
type laggard struct {
	*backends.Memory
	t *testing.T

	mu   sync.Mutex
	held []lagging
	seen int
}

// lagging is a write that is under way.
type lagging struct {
	r   *backends.Request
	sum uint32
}

// sum is the checksum of a request's data as it is now.
func sum(r *backends.Request) (c uint32) {
	for _, s := range r.Data {
		c = crc32.Update(c, crc32.IEEETable, s.B)
	}
	return c
}

func (d *laggard) Submit(b *backends.Batch, reqs []*backends.Request) {
	var rest []*backends.Request
	d.mu.Lock()
	for _, r := range reqs {
		if r.Op == backends.Write {
			d.held = append(d.held, lagging{r, sum(r)})
			d.seen++
		} else {
			rest = append(rest, r)
		}
	}
	d.mu.Unlock()
	d.Memory.Submit(b, rest)
}

func (d *laggard) Abort(b *backends.Batch, r *backends.Request) {
	if r.Op != backends.Write {
		d.Memory.Abort(b, r)
	}
}

// finish ends up to n writes.
func (d *laggard) finish(n int) {
	d.mu.Lock()
	n = min(n, len(d.held))
	ending := append([]lagging(nil), d.held[:n]...)
	d.held = append(d.held[:0], d.held[n:]...)
	d.mu.Unlock()
	var b backends.Batch
	for _, l := range ending {
		if got := sum(l.r); got != l.sum {
			d.t.Error("the data of a write changed while it was being written")
		}
		b.Complete(l.r, backends.Done())
	}
	b.Run()
}

// B28: the data of a write stays what it is until the device has ended the write, also
// when its task is aborted, its session ends, or another login takes its place, and
// others receive data all the time.
func TestB28WriteData(t *testing.T) {
	d := &laggard{Memory: memory(t), t: t}
	b := serve(t, Config{}, newSource().add(t, testTarget, d))
	stop := make(chan struct{})
	var finishing, clients sync.WaitGroup
	finishing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				d.finish(3)
				runtime.Gosched()
			}
		}
	})
	for i := range 4 {
		clients.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 9))
			for range 25 {
				writeAndLeave(t, b, rng, byte(i/2))
			}
		})
	}
	clients.Wait()
	close(stop)
	finishing.Wait()
	eventually(t, "all is at rest", func() bool {
		d.finish(1000)
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.conns) == 0
	})
	b.idle(t)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen == 0 {
		t.Error("no write was begun")
	}
}

// writeAndLeave logs in, writes much, aborts some of it, and goes away in one way or
// another. Two clients have one ISID.
func writeAndLeave(t *testing.T, b *bench, rng *rand.Rand, id byte) {
	r := b.dial(t)
	defer r.conn.Close()
	r.isid[5] = id
	r.loginPDU(wire.OperationalNegotiation, wire.FullFeaturePhase, r.fast(kv(wire.KeyInitialR2T, "No"),
		kv(wire.KeyMaxRecvDataSegmentLength, "262144"), kv(wire.KeyFirstBurstLength, "262144")))
	if _, _, err := r.read(); err != nil { // thrown out already
		return
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for {
			if _, _, err := r.read(); err != nil {
				return
			}
		}
	}()
	send := func(p encoder, data []byte) { _, _ = r.conn.Write(r.bytes(p, nil, data)) }
	r.send.MaxData, r.recv.MaxData = 256<<10, 256<<10
	send(r.command([]byte{0}), nil) // takes the unit attention
	for range 4 + rng.IntN(12) {
		n := 1 + rng.IntN(160)
		c := r.scsiWrite(rng.IntN(1000), n)
		send(c, noise(rng.Uint64(), n*512))
		if rng.IntN(3) == 0 {
			send(wire.TaskManagementRequest{
				Immediate: true, Function: wire.AbortTask, ITT: r.tag(), ReferencedTaskTag: c.ITT, RefCmdSN: c.CmdSN, CmdSN: r.cmdSN,
			}, nil)
		}
	}
	switch rng.IntN(4) {
	case 0:
		send(wire.LogoutRequest{Immediate: true, ITT: r.tag(), CmdSN: r.cmdSN}, nil)
		<-drained
	case 1:
		_ = r.conn.(*net.TCPConn).SetLinger(0)
	case 2:
		_ = r.conn.(*net.TCPConn).CloseWrite()
		<-drained
	default:
		send(wire.TaskManagementRequest{Immediate: true, Function: wire.LogicalUnitReset, ITT: r.tag(), ReferencedTaskTag: wire.NoTag, CmdSN: r.cmdSN}, nil)
	}
	_ = r.conn.Close()
	<-drained
}
