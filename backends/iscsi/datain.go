// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

// A read may come in one Data-In for each minDataIn bytes, the least that
// MaxRecvDataSegmentLength can be, and spareDataIn more: every PDU costs a slice
// and a segment, so that single bytes would take hundreds of times their memory.
const (
	minDataIn   = 512
	spareDataIn = 64
)

// dataIn receives read data straight into the task's payload. Data has to come
// in order and without gaps, which we negotiated. RFC 7143 11.7 (SCSI Data-Out and
// SCSI Data-In).
func (c *conn) dataIn(b *backends.Batch, l wire.Lengths) error {
	d, err := wire.DecodeDataIn(&c.rx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	err = c.expectedLocked(&d)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if err := c.readPayload(b, l); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// The task is still there: only this goroutine frees one that was sent. It
	// may have become a tombstone, whose data nobody wants.
	t := c.tasks.find(d.ITT)
	if t == nil {
		return errNoTask("Data-In", d.ITT)
	}
	t.got += d.DataSegmentLength
	t.dataSN++
	if t.kind == kindLate {
		c.rxData.Release()
	} else {
		t.in.Move(&c.rxData)
	}
	if d.HasStatus {
		err = c.statusLocked(b, t, d.Status, d.Residual, nil)
	}
	c.acknowledgeLocked(b, d.Numbers, d.HasStatus)
	return err
}

// expectedLocked checks that d is the next data of a read task.
func (c *conn) expectedLocked(d *wire.DataIn) error {
	t := c.tasks.find(d.ITT)
	switch {
	case t == nil:
		return errNoTask("Data-In", d.ITT)
	case !t.read:
		return lost(backends.LossProtocol, "Data-In for a task that reads nothing, tag %#x", uint32(d.ITT))
	case d.DataSN.Uint32() != t.dataSN:
		return lost(backends.LossProtocol, "Data-In number %v instead of %d", d.DataSN, t.dataSN)
	case d.BufferOffset != t.got:
		return lost(backends.LossProtocol, "Data-In at offset %d instead of %d", d.BufferOffset, t.got)
	case d.DataSegmentLength > t.edtl-t.got:
		return lost(backends.LossProtocol, "Data-In beyond the %d bytes asked for", t.edtl)
	case t.dataSN > t.edtl/minDataIn+spareDataIn:
		return lost(backends.LossProtocol, "%d bytes of data in %d PDUs", t.got, t.dataSN)
	case d.DataSegmentLength == 0 && !d.HasStatus:
		return lost(backends.LossProtocol, "Data-In without data and status")
	}
	return nil
}

// readPayload receives a data segment into c.rxData and checks its digest.
func (c *conn) readPayload(b *backends.Batch, l wire.Lengths) error {
	if l.Data == 0 {
		return nil
	}
	for !c.reader.Payload(&c.rxData, l.Data) {
		if err := c.fill(b); err != nil {
			return err
		}
	}
	tail := l.Pad + l.DataDigest
	if tail == 0 {
		return nil
	}
	if err := c.need(b, tail); err != nil {
		return err
	}
	t := c.reader.Buffered()[:tail]
	if l.DataDigest > 0 && !digestOf(c.rxData).Update(t[:l.Pad]).Matches(t[l.Pad:]) {
		return &wire.ProtocolError{Code: wire.CodeDataDigest, Detail: "Data-In"}
	}
	c.reader.Discard(tail)
	return nil
}

func errNoTask(pdu string, itt wire.InitiatorTaskTag) error {
	return lost(backends.LossProtocol, "%s for tag %#x, which names no task", pdu, uint32(itt))
}
