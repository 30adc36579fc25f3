// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"pathgate/integration/certs"
	"pathgate/internal/buffer"
)

// securePair gives a TLS connection: ours as Reader and Queue, and the peer's.
func securePair(t *testing.T, fail func(error)) (near net.Conn, in *Reader, q *Queue, far *tls.Conn) {
	t.Helper()
	return securePairWith(t, fail, &tls.Config{})
}

// securePairWith is securePair with settings of the peer.
func securePairWith(t *testing.T, fail func(error), peer *tls.Config) (near net.Conn, in *Reader, q *Queue, far *tls.Conn) {
	t.Helper()
	ca := certs.New(t, "CA")
	a, b := pair(t)
	s := NewSecure(a, NewReader(a))
	server := tls.Server(s, &tls.Config{Certificates: []tls.Certificate{ca.Server("localhost")}, DynamicRecordSizingDisabled: true})
	peer.RootCAs, peer.ServerName = ca.Pool(), "localhost"
	far = tls.Client(b, peer)
	done := make(chan error, 1)
	go func() { done <- far.Handshake() }()
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	in, q = s.Begin(server, fail)
	return a, in, q, far
}

// What the socket does not take is sent by the queue's goroutine, counts as pending until
// then, and comes in order.
func TestSecureQueue(t *testing.T) {
	near, in, q, far := securePair(t, nil)
	defer func() { near.Close(); q.Close(); in.Close() }()
	const n = 4 << 20
	want := bytes.Repeat([]byte("0123456"), n/7)
	var v buffer.Vec
	v.AppendBytes(want)
	add(t, q, &Message{Header: []byte("head"), Data: v, Trailer: []byte("tail")})
	v.Release()
	q.Flush()
	if got := q.Pending(); got < n/2 {
		t.Fatalf("%d bytes pending: nothing is tested", got)
	}
	for range 100 {
		add(t, q, &Message{Header: []byte("x")})
		q.Flush()
	}
	got := make([]byte, len(want)+8+100)
	if _, err := io.ReadFull(far, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, bytes.Join([][]byte{[]byte("head"), want, []byte("tail"), bytes.Repeat([]byte("x"), 100)}, nil)) {
		t.Error("the stream differs")
	}
	if err := q.Drain(0); err != nil || q.Pending() != 0 {
		t.Errorf("%d bytes pending, %v", q.Pending(), err)
	}
}

// A reader gives all that has come with one Fill, and holds nothing while it waits.
func TestSecureReader(t *testing.T) {
	near, in, q, far := securePair(t, nil)
	defer func() { near.Close(); q.Close(); in.Close() }()
	for range 20 {
		if _, err := far.Write([]byte("some")); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Fill(); err != nil {
		t.Fatal(err)
	}
	if got := string(in.Buffered()); got != string(bytes.Repeat([]byte("some"), 20)) {
		t.Errorf("got %q", got)
	}
	in.Discard(80)
	if _, err := far.Write(make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	var v buffer.Vec
	defer v.Release()
	for !in.Payload(&v, 100_000) {
		if err := in.Fill(); err != nil {
			t.Fatal(err)
		}
	}
	_ = near.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if err := in.Fill(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want a timeout", err)
	}
	if in.seg != nil || in.secure.in.seg != nil {
		t.Error("an idle reader holds memory")
	}
}

// The end of a connection gives back what was encrypted and not sent.
func TestSecureQueueFails(t *testing.T) {
	failed := make(chan error, 1)
	near, in, q, far := securePair(t, func(err error) { failed <- err })
	var v buffer.Vec
	v.AppendZeros(4 << 20)
	add(t, q, &Message{Data: v})
	v.Release()
	q.Flush()
	_ = far.NetConn().Close()
	if err := <-failed; err == nil {
		t.Error("no error")
	}
	near.Close()
	q.Close()
	in.Close()
	if q.Pending() != 0 || q.secure.waits() {
		t.Errorf("%d bytes pending", q.Pending())
	}
}
