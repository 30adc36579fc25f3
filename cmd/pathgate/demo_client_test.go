// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// attached gives a guest's disk and the other end of its connection, as after attach.
func attached(slots int) (*guestDisk, net.Conn) {
	here, there := net.Pipe()
	d := &guestDisk{conn: here, slots: make([]guestSlot, slots), done: make(chan struct{})}
	for i := range d.slots {
		d.slots[i].reply = make(chan error, 1)
	}
	go d.receive()
	return d, there
}

func nbdReply(code uint32, cookie uint64, data ...byte) []byte {
	be := binary.BigEndian
	b := be.AppendUint32(nil, nbdSimpleReply)
	b = be.AppendUint32(b, code)
	return append(be.AppendUint64(b, cookie), data...)
}

// TestGuestDiskMatchesReplies: replies come in another order, and each reaches its own.
func TestGuestDiskMatchesReplies(t *testing.T) {
	d, server := attached(3)
	defer d.close()
	data := []byte("0123456789abcdef")
	read := make([]byte, len(data))
	errs := make([]error, 3)
	var all sync.WaitGroup
	all.Go(func() { errs[0] = d.do(0, nbdCmdRead, read, 4096) })
	all.Go(func() { errs[1] = d.do(1, nbdCmdWrite, data, 8192) })
	all.Go(func() { errs[2] = d.do(2, nbdCmdWrite, data, 12288) })
	be := binary.BigEndian
	for range errs {
		var h [28]byte
		if _, err := io.ReadFull(server, h[:]); err != nil {
			t.Fatal(err)
		}
		slot, n := be.Uint64(h[8:]), be.Uint32(h[24:])
		if be.Uint32(h[:]) != nbdRequest || slot > 2 || be.Uint64(h[16:]) != 4096*(slot+1) || int(n) != len(data) {
			t.Fatalf("request %x", h)
		}
		if be.Uint16(h[6:]) == nbdCmdWrite {
			got := make([]byte, n)
			if _, err := io.ReadFull(server, got); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("written %q, %v", got, err)
			}
		}
	}
	for _, r := range [][]byte{nbdReply(5, 2), nbdReply(0, 0, data...), nbdReply(0, 1)} {
		if _, err := server.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	all.Wait()
	if errs[0] != nil || errs[1] != nil || !bytes.Equal(read, data) {
		t.Errorf("read %q, %v; write %v", read, errs[0], errs[1])
	}
	if errs[2] == nil || errs[2].Error() != "I/O error 5" {
		t.Errorf("the failed write: %v", errs[2])
	}
}

// TestGuestDiskRefusesNonsense: a reply that cannot be one ends the connection, and so
// all that is outstanding, with an error.
func TestGuestDiskRefusesNonsense(t *testing.T) {
	for name, reply := range map[string][]byte{
		"a reply to no request": nbdReply(0, 1),
		"malformed reply":       nbdReply(0, 2),
		"connection lost: EOF":  nil,
	} {
		d, server := attached(2)
		result := make(chan error)
		go func() { result <- d.do(0, nbdCmdRead, make([]byte, 16), 0) }()
		if _, err := io.ReadFull(server, make([]byte, 28)); err != nil {
			t.Fatal(err)
		}
		if reply != nil {
			if _, err := server.Write(reply); err != nil {
				t.Fatal(err)
			}
		} else {
			server.Close()
		}
		if err := <-result; err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		d.close()
	}
}
