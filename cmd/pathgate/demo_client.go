// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
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

// guestDisk is a guest's connection to its disk: one request at a time, as a
// guest's process that waits for each. It speaks NBD to the gateway's socket.
type guestDisk struct {
	conn net.Conn
	size uint64
	next uint64 // cookie
	head [28]byte
}

// openGuestDisk attaches to an export.
func openGuestDisk(socket, export string) (*guestDisk, error) {
	conn, err := net.DialTimeout("unix", socket, nbdDialTimeout)
	if err != nil {
		return nil, err
	}
	d := &guestDisk{conn: conn}
	if err := d.attach(export); err != nil {
		return nil, errors.Join(fmt.Errorf("attach %s: %w", export, err), conn.Close())
	}
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
func (d *guestDisk) do(cmd uint16, p []byte, off uint64) error {
	be := binary.BigEndian
	d.next++
	h := d.head[:28]
	be.PutUint32(h, nbdRequest)
	be.PutUint16(h[4:], 0)
	be.PutUint16(h[6:], cmd)
	be.PutUint64(h[8:], d.next)
	be.PutUint64(h[16:], off)
	be.PutUint32(h[24:], uint32(len(p)))
	if _, err := d.conn.Write(h); err != nil {
		return err
	}
	if cmd == nbdCmdWrite {
		if _, err := d.conn.Write(p); err != nil {
			return err
		}
	}
	h = d.head[:16]
	if _, err := io.ReadFull(d.conn, h); err != nil {
		return err
	}
	if be.Uint32(h) != nbdSimpleReply || be.Uint64(h[8:]) != d.next {
		return errors.New("malformed reply")
	}
	if code := be.Uint32(h[4:]); code != 0 {
		return fmt.Errorf("I/O error %d", code)
	}
	if cmd == nbdCmdRead {
		if _, err := io.ReadFull(d.conn, p); err != nil {
			return err
		}
	}
	return nil
}

func (d *guestDisk) close() { _ = d.conn.Close() }
