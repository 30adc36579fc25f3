// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"testing"

	"pathgate/internal/scsi"
)

// TestOrigin: the device learns whose requests they are.
func TestOrigin(t *testing.T) {
	d := newSlow(t)
	x := newBed(t, UnitConfig{Device: d})
	n, err := x.target.Open(NexusConfig{Initiator: initiator(0), Port: 1, Connection: "iscsi 192.0.2.7:50312"})
	if err != nil {
		t.Fatal(err)
	}
	c := &client{tb: t, n: n}
	c.do(tur(), nil, 0)
	c.start(c.command(0, readCDB(1, 1), nil, 512))
	o := d.held[0].Origin
	if o == nil || o.VM != "vm1" || o.Connection != "iscsi 192.0.2.7:50312" {
		t.Errorf("origin %+v", o)
	}
	d.finish(t, 1)
	if _, err := x.target.Open(NexusConfig{Initiator: initiator(0), Port: 9}); err == nil {
		t.Error("a port that is not there is opened")
	}
}

// TestRequestSense gives the unit attention that would be reported, and ends it.
func TestRequestSense(t *testing.T) {
	x := newBed(t, UnitConfig{})
	for _, descriptor := range []bool{false, true} {
		c := x.openRaw(0, 1)
		ask := cdb(scsi.RequestSense{Descriptor: descriptor, AllocationLength: 252})
		for _, want := range []scsi.SenseCode{scsi.CodeResetOccurred, scsi.CodeNone} {
			data := c.good(ask, nil, 252)
			if s, err := scsi.DecodeSense(data); err != nil || !s.Is(want) || (data[0] == 0x72) != descriptor {
				t.Errorf("%v, %v, want %v", s, err, want)
			}
		}
		c.good(tur(), nil, 0)
	}
}

// TestAttentionOrder: a reset comes first and drops what it makes pointless, but not
// that LUNs have come or gone; none is queued twice; the queue is bounded.
func TestAttentionOrder(t *testing.T) {
	var a attentions
	for _, c := range []scsi.SenseCode{
		scsi.CodeReportedLUNsChanged, scsi.CodeReservationsReleased, scsi.CodeReservationsReleased,
		scsi.CodeCommandsClearedByOther, scsi.CodeDeviceReset, scsi.CodeCapacityChanged,
	} {
		a.add(c)
	}
	for _, want := range []scsi.SenseCode{
		scsi.CodeDeviceReset, scsi.CodeReportedLUNsChanged, scsi.CodeReservationsReleased, scsi.CodeCapacityChanged,
	} {
		if got, ok := a.take(); !ok || got != want {
			t.Errorf("got %v, %v, want %v", got, ok, want)
		}
	}
	if _, ok := a.take(); ok {
		t.Error("one more is left")
	}
	for i := range 20 {
		a.add(scsi.MakeSenseCode(scsi.UnitAttention, 0x3f, uint8(i)))
	}
	if a.n != attentionMax {
		t.Errorf("%d are queued, want %d", a.n, attentionMax)
	}
}

// TestRefuse: a command whose Data-Out went wrong ends with what the transport
// says, once.
func TestRefuse(t *testing.T) {
	c := newBed(t, UnitConfig{}).open(0, 1)
	w := c.command(0, writeCDB(0, 1), pattern(1, 512), 0)
	if !c.n.Begin(w) {
		t.Fatal("refused")
	}
	ends := len(c.ends)
	for range 2 {
		c.n.Refuse(&c.batch, w, scsi.CodeProtocolServiceCRC)
	}
	c.n.Submit(&c.batch, []*Command{w})
	c.batch.Run()
	if len(c.ends) != ends+1 || !senseOf(t, w).Is(scsi.CodeProtocolServiceCRC) {
		t.Errorf("%d ends, %v", len(c.ends)-ends, senseOf(t, w))
	}
	if got := c.good(readCDB(0, 1), nil, 512); got[1] != 0 {
		t.Error("its data was written")
	}
	bad := c.command(0, readCDB(0, 1), nil, 512)
	bad.Attribute = ACA
	if c.n.Begin(bad) || !senseOf(t, bad).Is(codeInvalidMessage) {
		t.Errorf("ACA: %v", senseOf(t, bad))
	}
	naca := readCDB(0, 1)
	naca[9] = 0x04
	c.fails(scsi.CodeInvalidFieldInCDB, naca, nil, 512)
}
