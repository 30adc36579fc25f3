// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

// maxSmall is the longest data segment of a PDU that is not Data-In: sense data,
// text, a rejected header, all far shorter.
const maxSmall = 8192

// read serves the socket until the session is lost, and gives the cause.
func (c *conn) read(b *backends.Batch) error {
	for {
		l, err := c.readHead(b)
		if err != nil {
			return err
		}
		if c.rx.Opcode() == wire.OpDataIn {
			err = c.dataIn(b, l)
		} else {
			err = c.small(b, l)
		}
		if err != nil {
			return err
		}
	}
}

// readHead waits for a header and takes it into c.rx.
func (c *conn) readHead(b *backends.Batch) (wire.Lengths, error) {
	if err := c.need(b, wire.HeaderLength); err != nil {
		return wire.Lengths{}, err
	}
	c.rx = wire.BHS(c.reader.Buffered())
	if c.rx.TotalAHSLength() != 0 {
		return wire.Lengths{}, lost(backends.LossProtocol, "%v with an additional header segment", c.rx.Opcode())
	}
	l, err := c.recvFraming.Lengths(&c.rx)
	if err != nil {
		return l, err
	}
	if err := c.need(b, l.Head()); err != nil {
		return l, err
	}
	if err := c.recvFraming.CheckHead(c.reader.Buffered()[:l.Head()]); err != nil {
		return l, err
	}
	c.reader.Discard(l.Head())
	return l, nil
}

// need waits until n bytes are buffered.
func (c *conn) need(b *backends.Batch, n int) error {
	for len(c.reader.Buffered()) < n {
		if err := c.fill(b); err != nil {
			return err
		}
	}
	return nil
}

// fill delivers what the batch holds, and then waits for bytes.
func (c *conn) fill(b *backends.Batch) error {
	b.Run()
	c.filling.Store(true)
	err := c.reader.Fill()
	c.filling.Store(false)
	c.lastRx.Store(c.now())
	return err
}

// small handles a PDU whose data segment is short: it is borrowed from the
// reader's buffer.
func (c *conn) small(b *backends.Batch, l wire.Lengths) error {
	if l.Data > maxSmall {
		return lost(backends.LossProtocol, "%v with %d bytes of data", c.rx.Opcode(), l.Data)
	}
	if err := c.need(b, l.Body()); err != nil {
		return err
	}
	body := c.reader.Buffered()[:l.Body()]
	if err := c.recvFraming.CheckBody(l, body); err != nil {
		return err
	}
	err := c.dispatch(b, body[:l.Data])
	c.reader.Discard(l.Body())
	return err
}

func (c *conn) dispatch(b *backends.Batch, data []byte) error {
	switch c.rx.Opcode() {
	case wire.OpSCSIResponse:
		return c.response(b, data)
	case wire.OpR2T:
		return c.r2t(b)
	case wire.OpNOPIn:
		return c.nopIn(b)
	case wire.OpTaskManagementResponse:
		return c.tmResponse(b)
	case wire.OpAsyncMessage:
		return c.async(b, data)
	case wire.OpReject:
		return c.reject(b, data)
	case wire.OpLogoutResponse:
		return c.logoutResponse()
	default:
		return lost(backends.LossProtocol, "unexpected %v", c.rx.Opcode())
	}
}

// acknowledgeLocked takes the numbers of a PDU; status tells whether it advances
// StatSN. A window that has opened lets waiting commands go.
func (c *conn) acknowledgeLocked(b *backends.Batch, n wire.Numbers, status bool) {
	if status && !n.StatSN.Less(c.expStatSN) {
		c.expStatSN = n.StatSN.Next()
	}
	if c.state != connLive {
		return
	}
	c.win.update(n)
	if c.leave.sent {
		return
	}
	c.pumpLocked(b)
	c.room.Store(int32(c.win.room()))
}
