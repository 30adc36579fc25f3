// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bytes"
	"io"
	"testing"
)

// TestRemoveKeepsMessagesWhole fills a socket with tagged messages, takes out
// those of one tag, and reads what arrives: messages that had begun are whole, of
// the others of that tag not one byte comes, and the rest stays in order.
func TestRemoveKeepsMessagesWhole(t *testing.T) {
	near, far := pair(t)
	q := NewQueue(near, func(err error) { t.Errorf("writing failed: %v", err) })
	const size, n = 256 << 10, 40
	var ends [n]uint64
	for i := range n {
		m := Message{Header: []byte{byte(i)}, Trailer: []byte{byte(i), byte(i)}, Tag: uint64(1 + i%2)}
		m.Data.AppendBytes(bytes.Repeat([]byte{byte(i)}, size))
		start, err := q.Append(&m)
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = start + 1 + size + 2
		m.Data.Release()
	}
	if q.Offered() != 0 {
		t.Errorf("%d bytes offered before a flush", q.Offered())
	}
	q.Flush()
	removed, stayed := q.Remove(2)
	if removed == 0 || removed+stayed > n/2 {
		t.Errorf("removed %d, stayed %d, of %d", removed, stayed, n/2)
	}
	got := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(far)
		got <- b
	}()
	q.Flush()
	if err := q.Drain(0); err != nil {
		t.Fatal(err)
	}
	if last := ends[n-2]; q.Sent() != last { // of tag 1
		t.Errorf("sent up to %d, want %d", q.Sent(), last)
	}
	if q.Offered() < q.Sent() {
		t.Errorf("offered %d, below sent %d", q.Offered(), q.Sent())
	}
	_ = near.CloseWrite()
	b := <-got
	q.Close()
	odd, previous := 0, -1
	for len(b) > 0 {
		id := b[0]
		want := append(bytes.Repeat([]byte{id}, 1+size), id, id)
		if len(b) < len(want) || !bytes.Equal(b[:len(want)], want) {
			t.Fatalf("message %d is torn", id)
		}
		b = b[len(want):]
		if int(id) <= previous {
			t.Errorf("message %d after %d", id, previous)
		}
		previous = int(id)
		odd += int(id % 2)
	}
	if odd != n/2-removed {
		t.Errorf("%d messages of the removed tag came, want %d", odd, n/2-removed)
	}
}
