// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bytes"
	"io"
	"syscall"
	"testing"

	"pathgate/internal/buffer"
)

func TestVectorCall(t *testing.T) {
	for _, quiet := range []bool{true, false} {
		var fd [2]int
		if err := syscall.Pipe2(fd[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(fd[0])
		in := []syscall.Iovec{iovec(make([]byte, 3)), iovec(make([]byte, 5))}
		if n, errno := vectorCall(syscall.SYS_READV, uintptr(fd[0]), in, quiet); errno != syscall.EAGAIN {
			t.Errorf("quiet %v: empty pipe: got %d, %v, want EAGAIN", quiet, n, errno)
		}
		out := []syscall.Iovec{iovec([]byte("abcd")), iovec([]byte("ef"))}
		if n, errno := vectorCall(syscall.SYS_WRITEV, uintptr(fd[1]), out, quiet); n != 6 || errno != 0 {
			t.Errorf("quiet %v: write: got %d, %v", quiet, n, errno)
		}
		if n, errno := vectorCall(syscall.SYS_READV, uintptr(fd[0]), in, quiet); n != 6 || errno != 0 || *in[1].Base != 'd' {
			t.Errorf("quiet %v: read: got %d, %v, %q", quiet, n, errno, *in[1].Base)
		}
		syscall.Close(fd[1])
		if n, errno := vectorCall(syscall.SYS_WRITEV, uintptr(fd[1]), out, quiet); errno != syscall.EBADF {
			t.Errorf("quiet %v: closed: got %d, %v, want EBADF", quiet, n, errno)
		}
	}
}

// A reader that always finds bytes tells the scheduler from time to time; one
// that has to wait begins anew.
func TestReaderTells(t *testing.T) {
	near, far := pair(t)
	r := NewReader(near)
	defer r.Close()
	told := 0
	for i := range 3*quietCalls - 1 {
		if _, err := far.Write([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		if err := r.Fill(); err != nil {
			t.Fatal(err)
		}
		r.Discard(1)
		if r.streak%quietCalls == 0 {
			told++
		}
	}
	if told != 2 {
		t.Errorf("told %d times in %d calls, want 2", told, 3*quietCalls-1)
	}
	done := make(chan error, 1)
	go func() { done <- r.Fill() }()
	// The reader is in the kernel's hands, or will find the byte: both are right.
	if _, err := far.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.Discard(1)
	if r.readv(fdOf(t, near)); r.streak != 0 {
		t.Errorf("streak %d after a call that found nothing, want 0", r.streak)
	}
}

func fdOf(t *testing.T, c syscall.Conn) (fd uintptr) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(f uintptr) { fd = f })
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// A message that takes many calls, quiet ones and others, arrives whole.
func TestLongMessage(t *testing.T) {
	near, far := pair(t)
	q := NewQueue(near, nil)
	defer func() { near.Close(); q.Close() }()
	want := make([]byte, 3*quietBytes+77)
	for i := range want {
		want[i] = byte(i * i >> 8)
	}
	var v buffer.Vec
	v.AppendBytes(want)
	defer v.Release()
	add(t, q, &Message{Data: v})
	q.Flush()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the message is not what was sent (%v)", err)
	}
}
