// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"fmt"

	"pathgate/internal/buffer"
	wire "pathgate/internal/iscsi"
)

// maxText is the longest data segment of a request that carries text, in bytes. It
// has to be in one piece, so a peer could size the receive memory with it.
const maxText = 16 << 10

// receive waits for the next PDU and takes it into c.rx. fill waits for more bytes.
// A PDU whose additional headers or data digest are wrong is no error: it is
// answered, and the stream is in step.
func (c *conn) receive(fill func() error) error {
	r := &c.rx
	if err := c.need(fill, wire.HeaderLength); err != nil {
		return err
	}
	r.bhs = wire.BHS(c.in.Buffered())
	l, err := c.recv.Lengths(&r.bhs)
	if err != nil {
		return err
	}
	if err := c.need(fill, l.Head()); err != nil {
		return err
	}
	head := c.in.Buffered()[:l.Head()]
	if err := c.recv.CheckHead(head); err != nil {
		return err
	}
	r.additional(head[wire.HeaderLength : wire.HeaderLength+l.AHS])
	c.in.Discard(l.Head())
	r.data, r.damaged = nil, false
	if l.Data == 0 {
		return nil
	}
	switch r.bhs.Opcode() {
	case wire.OpTextRequest, wire.OpLoginRequest:
		return c.receiveText(fill, l)
	default:
		return c.receivePayload(fill, l)
	}
}

// additional reads the additional header segments.
func (r *pdu) additional(b []byte) {
	r.ahs, r.ahsErr, r.longCDB = wire.CommandAHS{}, nil, false
	if len(b) == 0 {
		return
	}
	if r.bhs.Opcode() != wire.OpSCSICommand {
		r.ahsErr = &wire.ProtocolError{Code: wire.CodeAHS, Detail: r.bhs.Opcode().String() + " with an additional header segment"}
		return
	}
	r.ahs, r.ahsErr = wire.DecodeCommandAHS(b)
	r.longCDB = r.ahs.ExtendedCDB != nil
	r.ahs.ExtendedCDB = nil // borrowed
}

// receiveText leaves the data segment in the reader's memory, at r.data, until
// release.
func (c *conn) receiveText(fill func() error, l wire.Lengths) error {
	if l.Data > maxText {
		return fmt.Errorf("%w: %v with %d bytes of data", errProtocol, c.rx.bhs.Opcode(), l.Data)
	}
	if err := c.need(fill, l.Body()); err != nil {
		return err
	}
	body := c.in.Buffered()[:l.Body()]
	c.rx.damaged = c.recv.CheckBody(l, body) != nil
	c.rx.data = body[:l.Data]
	c.rx.pad = l.Body() - l.Data
	return nil
}

// receivePayload moves the data segment to r.vec.
func (c *conn) receivePayload(fill func() error, l wire.Lengths) error {
	for !c.in.Payload(&c.rx.vec, l.Data) {
		if err := fill(); err != nil {
			return err
		}
	}
	tail := l.Pad + l.DataDigest
	if tail == 0 {
		return nil
	}
	if err := c.need(fill, tail); err != nil {
		return err
	}
	t := c.in.Buffered()[:tail]
	if l.DataDigest > 0 {
		c.rx.damaged = !digestOf(c.rx.vec).Update(t[:l.Pad]).Matches(t[l.Pad:])
	}
	c.in.Discard(tail)
	return nil
}

// release gives back what is left of the PDU at hand.
func (c *conn) release() {
	if n := len(c.rx.data); n > 0 {
		c.in.Discard(n + c.rx.pad)
		c.rx.data = nil
	}
	c.rx.vec.Release()
}

// need waits until n bytes are buffered.
func (c *conn) need(fill func() error, n int) error {
	for len(c.in.Buffered()) < n {
		if err := fill(); err != nil {
			return err
		}
	}
	return nil
}

func digestOf(v buffer.Vec) wire.CRC32C {
	var d wire.CRC32C
	for i := range v {
		d = d.Update(v[i].B)
	}
	return d
}
