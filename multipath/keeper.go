// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"sync"

	"pathgate/backends"
)

// storeOp is one record to put, or to remove.
type storeOp struct {
	put bool
	g   *ghost // told when a put is done; may be nil
	rec GhostRecord
}

// keeper writes ghost records to the store, in order, on a goroutine of its
// own: no request waits for the disk but those that wait for a fence anyway.
type keeper struct {
	m    *Manager
	kick chan struct{}

	mu     sync.Mutex
	queue  []storeOp
	closed bool
	failed bool // a put has failed: the next run cannot trust the ranges
}

// add takes ops, which are borrowed.
func (k *keeper) add(ops []storeOp) {
	k.mu.Lock()
	k.queue = append(k.queue, ops...)
	k.mu.Unlock()
	k.wake()
}

func (k *keeper) wake() {
	select {
	case k.kick <- struct{}{}:
	default:
	}
}

// close has run end when the queue is empty.
func (k *keeper) close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.wake()
}

func (k *keeper) run() {
	var ops []storeOp
	for {
		k.mu.Lock()
		ops, k.queue = k.queue, ops[:0]
		closed := k.closed
		k.mu.Unlock()
		if len(ops) == 0 {
			if closed {
				return
			}
			<-k.kick
			continue
		}
		for from := 0; from < len(ops); {
			to := from + 1
			for to < len(ops) && ops[to].put == ops[from].put {
				to++
			}
			k.write(ops[from:to])
			from = to
		}
		clear(ops)
	}
}

// write carries out ops, all of one kind, with one wait for the disk.
func (k *keeper) write(ops []storeOp) {
	recs := make([]GhostRecord, len(ops))
	for i := range ops {
		recs[i] = ops[i].rec
	}
	var err error
	if ops[0].put {
		err = k.m.cfg.Store.PutGhosts(recs...)
	} else {
		err = k.m.cfg.Store.DeleteGhosts(recs...)
	}
	if err != nil {
		// A ghost that was not kept is held here all the same, and the record of
		// its path, which is in the store, holds all of the LUN in the next run.
		k.mu.Lock()
		k.failed = k.failed || ops[0].put
		k.mu.Unlock()
		k.m.event(Event{Kind: StoreFailed, Reason: err.Error()})
	}
	if !ops[0].put {
		return
	}
	var b backends.Batch
	for _, o := range ops {
		if o.g != nil {
			o.g.d.ghostKept(&b, o.g)
		}
	}
	b.Run()
}
