// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Values of the NBD protocol that the demo's guests use (NBD proto.md, "Values").
const (
	nbdMagic        = 0x4e42444d41474943 // "NBDMAGIC"
	nbdOptionMagic  = 0x49484156454f5054 // "IHAVEOPT"
	nbdReplyMagic   = 0x3e889045565a9
	nbdRequest      = 0x25609513
	nbdSimpleReply  = 0x67446698
	nbdOptGo        = 7
	nbdAck          = 1
	nbdInfo         = 3
	nbdInfoExport   = 0
	nbdCmdRead      = 0
	nbdCmdWrite     = 1
	nbdFixed        = 3 // fixed newstyle, no zeroes
	nbdDialTimeout  = 5 * time.Second
	nbdMaxOptReply  = 4096
	nbdExportLength = 12
)

// guestDisk is a guest's connection to its disk, with as many requests outstanding as
// it has slots. It speaks NBD to the gateway's socket. do may be called concurrently,
// for each slot by one goroutine.
type guestDisk struct {
	conn  net.Conn
	size  uint64
	slots []guestSlot
	done  chan struct{} // closed when receive has ended

	send sync.Mutex // a request goes out whole

	mu  sync.Mutex
	err error // why receive has ended
}

// guestSlot holds one request; its number is the request's cookie.
type guestSlot struct {
	mu    sync.Mutex
	busy  bool
	read  []byte // where the data go that a read asks for
	reply chan error
}

// openGuestDisk attaches to an export, for so many requests at a time.
func openGuestDisk(socket, export string, slots int) (*guestDisk, error) {
	conn, err := net.DialTimeout("unix", socket, nbdDialTimeout)
	if err != nil {
		return nil, err
	}
	d := &guestDisk{conn: conn, slots: make([]guestSlot, slots), done: make(chan struct{})}
	for i := range d.slots {
		d.slots[i].reply = make(chan error, 1)
	}
	if err := d.attach(export); err != nil {
		return nil, errors.Join(fmt.Errorf("attach %s: %w", export, err), conn.Close())
	}
	go d.receive()
	return d, nil
}

func (d *guestDisk) attach(export string) error {
	if err := d.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	var greeting [18]byte
	if _, err := io.ReadFull(d.conn, greeting[:]); err != nil {
		return err
	}
	be := binary.BigEndian
	if be.Uint64(greeting[:]) != nbdMagic || be.Uint64(greeting[8:]) != nbdOptionMagic {
		return errors.New("not an NBD server")
	}
	msg := be.AppendUint32(nil, nbdFixed)
	msg = be.AppendUint64(msg, nbdOptionMagic)
	msg = be.AppendUint32(msg, nbdOptGo)
	msg = be.AppendUint32(msg, uint32(4+len(export)+2))
	msg = be.AppendUint32(msg, uint32(len(export)))
	msg = append(msg, export...)
	msg = be.AppendUint16(msg, 0)
	if _, err := d.conn.Write(msg); err != nil {
		return err
	}
	for {
		var h [20]byte
		if _, err := io.ReadFull(d.conn, h[:]); err != nil {
			return err
		}
		kind, n := be.Uint32(h[12:]), be.Uint32(h[16:])
		if be.Uint64(h[:]) != nbdReplyMagic || n > nbdMaxOptReply {
			return errors.New("malformed option reply")
		}
		data := make([]byte, n)
		if _, err := io.ReadFull(d.conn, data); err != nil {
			return err
		}
		switch {
		case kind == nbdAck:
			return d.conn.SetDeadline(time.Time{})
		case kind&(1<<31) != 0:
			return fmt.Errorf("refused: %s", data)
		case kind == nbdInfo && n == nbdExportLength && be.Uint16(data) == nbdInfoExport:
			d.size = be.Uint64(data[2:])
		}
	}
}

// do carries out one command on p at off.
func (d *guestDisk) do(slot int, cmd uint16, p []byte, off uint64) error {
	s := &d.slots[slot]
	s.mu.Lock()
	s.busy = true
	if cmd == nbdCmdRead {
		s.read = p
	}
	s.mu.Unlock()
	be := binary.BigEndian
	h := make([]byte, 0, 28+len(p))
	h = be.AppendUint32(h, nbdRequest)
	h = be.AppendUint16(h, 0)
	h = be.AppendUint16(h, cmd)
	h = be.AppendUint64(h, uint64(slot))
	h = be.AppendUint64(h, off)
	h = be.AppendUint32(h, uint32(len(p)))
	if cmd == nbdCmdWrite {
		h = append(h, p...)
	}
	d.send.Lock()
	_, err := d.conn.Write(h)
	d.send.Unlock()
	if err != nil {
		return err
	}
	select {
	case err := <-s.reply:
		return err
	case <-d.done:
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.err
	}
}

// receive hands out replies until the connection ends.
func (d *guestDisk) receive() {
	defer close(d.done)
	for {
		if err := d.receiveOne(); err != nil {
			d.mu.Lock()
			d.err = fmt.Errorf("connection lost: %w", err)
			d.mu.Unlock()
			return
		}
	}
}

func (d *guestDisk) receiveOne() error {
	be := binary.BigEndian
	var h [16]byte
	if _, err := io.ReadFull(d.conn, h[:]); err != nil {
		return err
	}
	cookie := be.Uint64(h[8:])
	if be.Uint32(h[:]) != nbdSimpleReply || cookie >= uint64(len(d.slots)) {
		return errors.New("malformed reply")
	}
	s := &d.slots[cookie]
	s.mu.Lock()
	busy, read := s.busy, s.read
	s.busy, s.read = false, nil
	s.mu.Unlock()
	if !busy {
		return fmt.Errorf("a reply to no request: %d", cookie)
	}
	if code := be.Uint32(h[4:]); code != 0 {
		s.reply <- fmt.Errorf("I/O error %d", code)
		return nil
	}
	if _, err := io.ReadFull(d.conn, read); err != nil {
		return err
	}
	s.reply <- nil
	return nil
}

// close ends the connection; nothing may be outstanding.
func (d *guestDisk) close() {
	_ = d.conn.Close()
	<-d.done
}
