// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"io"
	"sync/atomic"
	"testing"

	"pathgate/internal/buffer"
)

// ledger counts.
type ledger struct{ atomic.Int64 }

func (l *ledger) Charge(n int64) { l.Add(n) }

// What a ledger counts is what waits, whatever becomes of it.
func TestLedger(t *testing.T) {
	near, far := pair(t)
	q := NewQueue(near, nil)
	add(t, q, &Message{Header: []byte("before"), Tag: 1})
	var l ledger
	q.Count(&l)
	same := func(want int64) {
		t.Helper()
		if got := l.Load(); got != q.Pending() || want >= 0 && got != want {
			t.Fatalf("%d bytes are counted, %d wait, want %d", got, q.Pending(), want)
		}
	}
	same(6)
	var v buffer.Vec
	v.AppendBytes(make([]byte, 4<<20))
	add(t, q, &Message{Header: []byte("head"), Data: v, Trailer: []byte("tail"), Tag: 2})
	v.Release()
	same(6 + 8 + 4<<20)
	if err := q.Urgent([]byte("urgent"), 0); err != nil {
		t.Fatal(err)
	}
	q.Remove(1)
	same(6 + 8 + 4<<20)
	q.Flush() // the kernel takes a part
	if _, err := io.ReadFull(far, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if l.Load() >= 14+4<<20 {
		t.Error("nothing that has left was given back")
	}
	_ = near.Close()
	q.Close()
	same(0)
}
