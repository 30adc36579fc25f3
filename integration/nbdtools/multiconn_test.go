// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbdtools

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"testing"

	"pathgate/integration/gate"
	"pathgate/integration/nbdclient"
	"pathgate/integration/proxy"
)

// The SCSI commands that a target is watched for.
const (
	write = 0x2a // and 0x8a with 16 bytes
	flush = 0x35 // and 0x91
	read  = 0x28 // and 0x88
)

// watch is what the proxies have seen of the LUN's commands, in order.
type watch struct {
	mu    sync.Mutex
	seen  []step
	fresh map[[2]uint32]byte // by proxy and initiator task tag: commands without a status yet
}

// step is a command that went to the target, or the good status that came back for it.
type step struct {
	op   byte
	done bool
}

// newWatch has the proxies tell of the commands from now on.
func newWatch(b *bed) *watch {
	w := &watch{fresh: map[[2]uint32]byte{}}
	for i, p := range b.proxies {
		// A trigger that never says yes.
		p.MustSet(proxy.Fault{Kind: proxy.Hold, At: &proxy.Trigger{
			Opcodes: []proxy.Opcode{proxy.SCSICommand, proxy.SCSIResponse, proxy.DataIn},
			When:    func(u proxy.PDU) bool { w.note(i, u); return false },
		}})
	}
	return w
}

func (w *watch) note(i int, u proxy.PDU) {
	key := [2]uint32{uint32(i), binary.BigEndian.Uint32(u.BHS[16:])}
	w.mu.Lock()
	defer w.mu.Unlock()
	if u.Opcode == proxy.SCSICommand {
		op := map[byte]byte{0x2a: write, 0x8a: write, 0x35: flush, 0x91: flush, 0x28: read, 0x88: read}[u.CDB()[0]]
		if op != 0 {
			w.fresh[key] = op
			w.seen = append(w.seen, step{op, false})
		}
		return
	}
	op, status := w.fresh[key], u.Opcode == proxy.SCSIResponse || u.BHS[1]&1 != 0 // Data-In: S
	if op == 0 || !status {
		return
	}
	delete(w.fresh, key)
	if u.BHS[3] == 0 && (u.Opcode == proxy.DataIn || u.BHS[2] == 0) { // GOOD, completed at the target
		w.seen = append(w.seen, step{op, true})
	}
}

// take gives what was seen since the last time.
func (w *watch) take() []step {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.seen
	w.seen = nil
	return s
}

// three opens the LUN's disk three times, by connections that say that they may be used
// together.
func three(t *testing.T, b *bed) (conns [3]*nbdclient.Client) {
	t.Helper()
	for i := range conns {
		conns[i] = b.Connect(t, "vm1/root")
		if conns[i].Export().Flags&nbdclient.CanMultiConn == 0 {
			t.Fatal("the export has no multi-conn")
		}
	}
	return conns
}

// TestFlushOverConnections: what B has written is flushed to the target by C's flush, and
// read by A.
func TestFlushOverConnections(t *testing.T) {
	b := newBed(t)
	c := three(t, b)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c[2].Flush()) // what earlier runs may have left in the cache
	w := newWatch(b)
	got := make([]byte, 4096)
	for round := range 20 {
		at, data := int64(round)*mib, bytes.Repeat([]byte{byte(round + 1)}, len(got))
		_, err := c[1].WriteAt(data, at)
		must(err)
		if s := w.take(); !slices.Equal(s, []step{{write, false}, {write, true}}) {
			t.Errorf("round %d, write: the target saw %v", round, s)
		}
		must(c[2].Flush())
		// The answer to the flush came after that of the target to its own.
		if s := w.take(); !slices.Equal(s, []step{{flush, false}, {flush, true}}) {
			t.Errorf("round %d, flush: the target saw %v", round, s)
		}
		_, err = c[0].ReadAt(got, at)
		must(err)
		if !bytes.Equal(got, data) {
			t.Errorf("round %d: A reads %d...", round, got[0])
		}
		if s := w.take(); !slices.Equal(s, []step{{read, false}, {read, true}}) {
			t.Errorf("round %d, read: the target saw %v", round, s)
		}
		must(c[round%3].Flush()) // there is nothing to flush any more, for none of them
		if s := w.take(); len(s) != 0 {
			t.Errorf("round %d, second flush: the target saw %v", round, s)
		}
	}
}

// TestFlushOverConnectionsTellsOfLoss: when the target dies with B's write in its cache,
// C's flush fails; after a flush nothing is lost. So the flushes of one connection do
// answer for the writes of another.
func TestFlushOverConnectionsTellsOfLoss(t *testing.T) {
	for name, flushed := range map[string]bool{"flushed before": true, "not flushed": false} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			c := three(t, b)
			data, got := bytes.Repeat([]byte{7}, 4096), make([]byte, 4096)
			if _, err := c[1].WriteAt(data, mib); err != nil {
				t.Fatal(err)
			}
			if flushed {
				if err := c[2].Flush(); err != nil {
					t.Fatal(err)
				}
			}
			mark := b.Events.Mark()
			if err := b.tgt.Kill(); err != nil {
				t.Fatal(err)
			}
			for i := range b.proxies {
				path := b.path(t, i)
				b.Events.Wait(t, mark, limit, func(e gate.Event) bool { return e.Kind == "path-down" && e.Path == path })
			}
			if err := b.tgt.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.settle(t)
			err := c[2].Flush()
			if flushed && err != nil {
				t.Errorf("C's flush: %v", err)
			}
			if !flushed && !errors.Is(err, nbdclient.EIO) {
				t.Errorf("C's flush: got %v, want EIO", err)
			}
			if lost := b.Events.Since(mark, gate.Kind("flush-lost")); len(lost) > 0 == flushed {
				t.Errorf("told: %v", lost)
			}
			if !flushed { // B writes once more, which C flushes
				if _, err := c[1].WriteAt(data, mib); err != nil {
					t.Fatal(err)
				}
				if err := c[2].Flush(); err != nil {
					t.Errorf("C's flush after B has written again: %v", err)
				}
			}
			if _, err := c[0].ReadAt(got, mib); err != nil || !bytes.Equal(got, data) {
				t.Errorf("A reads %d..., %v", got[0], err)
			}
		})
	}
}
