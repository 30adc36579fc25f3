// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bytes"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"pathgate/internal/buffer"
)

// add appends m.
func add(t *testing.T, q *Queue, m *Message) {
	t.Helper()
	if _, err := q.Append(m); err != nil {
		t.Fatal(err)
	}
}

// pair gives the two ends of a unix socket connection.
func pair(t *testing.T) (near, far *net.UnixConn) {
	t.Helper()
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialed, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	near, far = accepted.(*net.UnixConn), dialed.(*net.UnixConn)
	t.Cleanup(func() { near.Close(); far.Close() })
	far.SetDeadline(time.Now().Add(10 * time.Second))
	return near, far
}

func TestDrainWaitsForTheReader(t *testing.T) {
	near, far := pair(t)
	q := NewQueue(near, nil)
	defer func() { near.Close(); q.Close() }()
	if err := q.Drain(0); err != nil {
		t.Fatalf("empty: %v", err)
	}
	const n = 4 << 20
	var v buffer.Vec
	v.AppendZeros(n)
	add(t, q, &Message{Header: []byte("head"), Data: v})
	if got := q.Pending(); got != n+4 {
		t.Errorf("pending %d, want %d", got, n+4)
	}
	q.Flush()
	drained := make(chan error, 2)
	go func() { drained <- q.Drain(n / 2) }()
	go func() { drained <- q.Drain(0) }()
	if q.Pending() == 0 {
		t.Fatal("the socket took 4 MiB: nothing is tested")
	}
	select {
	case err := <-drained:
		t.Fatalf("drained before anything was read: %v", err)
	default:
	}
	if _, err := io.ReadFull(far, make([]byte, n+4)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-drained; err != nil {
			t.Error(err)
		}
	}
}

func TestDrainEndsWithTheConnection(t *testing.T) {
	near, far := pair(t)
	failed := make(chan error, 1)
	q := NewQueue(near, func(err error) { failed <- err })
	var v buffer.Vec
	v.AppendZeros(4 << 20)
	add(t, q, &Message{Data: v})
	q.Flush()
	drained := make(chan error, 1)
	go func() { drained <- q.Drain(0) }()
	far.Close()
	if err := <-drained; err == nil {
		t.Error("drained into a closed connection")
	}
	if err := <-failed; err == nil {
		t.Error("fail was told nil")
	}
	near.Close()
	q.Close()
	if err := q.Drain(0); err == nil || errors.Is(err, ErrClosed) {
		t.Errorf("afterwards: got %v, want the error of writing", err)
	}
}

// An idle queue holds no memory, and header memory is not reused while a write
// still looks at it.
func TestIdleQueueHoldsNoMemory(t *testing.T) {
	near, far := pair(t)
	q := NewQueue(near, nil)
	defer func() { near.Close(); q.Close() }()
	got := make([]byte, 3)
	for i := range 3 {
		add(t, q, &Message{Header: []byte{byte(i)}})
		if q.hdr == nil {
			t.Fatal("no header memory in use: nothing is tested")
		}
		q.Flush()
		if q.hdr != nil {
			t.Error("header memory is kept")
		}
	}
	if _, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, []byte{0, 1, 2}) {
		t.Errorf("got %v, %v", got, err)
	}
}

// Sparse small payloads do not each pin a receive chunk; dense ones are taken
// by reference.
func TestPayloadMemory(t *testing.T) {
	near, far := pair(t)
	r := NewReader(near)
	defer r.Close()
	take := func(n int) *buffer.Segment {
		if _, err := far.Write(bytes.Repeat([]byte{byte(n)}, n)); err != nil {
			t.Fatal(err)
		}
		var v buffer.Vec
		defer func() { v.Release() }()
		for len(r.Buffered()) < n {
			if err := r.Fill(); err != nil {
				t.Fatal(err)
			}
		}
		if !r.Payload(&v, n) || v.Len() != n || !bytes.Equal(v.Bytes(), bytes.Repeat([]byte{byte(n)}, n)) {
			t.Fatalf("payload of %d bytes: %d", n, v.Len())
		}
		return v[0].Seg
	}
	if s := take(512); s.Cap() != 512 {
		t.Errorf("a payload of 512 bytes holds %d", s.Cap())
	}
	if s := take(32 << 10); s.Cap() != readChunk {
		t.Errorf("a payload of 32 KiB was copied into %d bytes", s.Cap())
	}
}
