// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"bytes"
	"encoding/hex"
	"testing"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

func copyCDB(list []byte) scsi.CDB {
	c := scsi.CDB{byte(scsi.OpExtendedCopy)}
	c[12], c[13] = byte(len(list)>>8), byte(len(list))
	return c
}

// copyBed has two units that the client sees, and one that another target has.
func copyBed(t *testing.T) (x *bed, c *client, hidden *Unit) {
	t.Helper()
	x = newBed(t, UnitConfig{Device: newLimited(t, func(i *backends.Info) { i.MaxTransfer = 64 << 10 })})
	for i, unit := range []**Unit{new(*Unit), &hidden} {
		u, err := NewUnit(UnitConfig{Device: memory(t, 4<<20), UUID: [16]byte{byte(20 + i)}})
		if err != nil {
			t.Fatal(err)
		}
		*unit = u
		if i == 0 {
			x.add(1, u)
		}
	}
	return x, x.open(0, 1), hidden
}

func copyTarget(u *Unit) scsi.CopyTarget { return scsi.CopyTarget{Designator: u.naa(), BlockSize: 512} }

// TestExtendedCopy copies within a unit and between two.
func TestExtendedCopy(t *testing.T) {
	x, c, _ := copyBed(t)
	other := c.n.link(1).u
	data := pattern(6, 2500*512)
	c.good(writeCDB(10, 2500), data, 0)
	list := scsi.CopyList{
		ID: 5, Targets: []scsi.CopyTarget{copyTarget(x.unit), copyTarget(other)},
		Segments: []scsi.CopySegment{
			{Source: 0, Destination: 1, Blocks: 2500, SourceLBA: 10, DestinationLBA: 100},
			{Source: 1, Destination: 0, Blocks: 2500, SourceLBA: 100, DestinationLBA: 5000},
			{Source: 0, Destination: 0},
		},
	}.Append(nil)
	c.good(copyCDB(list), list, 0)
	if got := c.good(readCDB(5000, 2500), nil, len(data)); !bytes.Equal(got, data) {
		t.Error("other data was copied")
	}
	status := scsi.CDB{byte(scsi.OpReceiveCopyResults), 0, 5}
	status[13] = 12
	if got := c.good(status, nil, 12); got[4] != copyStatusCompleted || got[6] != 3 {
		t.Errorf("status %x", got)
	}
	status[2] = 6
	c.fails(scsi.CodeInvalidFieldInCDB, status, nil, 12)
	c.good(copyCDB(nil), nil, 0)
}

// TestP14CopyStaysInside has B27: a unit that the initiator does not see, one
// that is not there, and what reservations and protection forbid, are refused.
func TestP14CopyStaysInside(t *testing.T) {
	x, c, hidden := copyBed(t)
	other := c.n.link(1).u
	o := x.open(1, 1)
	o.at(1, scsi.CDB{byte(scsi.OpReserve6)}, nil, 0)
	inside, outside := copyTarget(x.unit), copyTarget(hidden)
	tests := []struct {
		name string
		list scsi.CopyList
		want scsi.SenseCode
	}{
		{"from a unit of another target", scsi.CopyList{
			Targets: []scsi.CopyTarget{inside, outside}, Segments: []scsi.CopySegment{{Source: 1, Blocks: 1}},
		}, codeCopyTarget},
		{"to a unit of another target", scsi.CopyList{
			Targets: []scsi.CopyTarget{inside, outside}, Segments: []scsi.CopySegment{{Destination: 1, Blocks: 1}},
		}, codeCopyTarget},
		{"no such descriptor", scsi.CopyList{
			Targets: []scsi.CopyTarget{inside}, Segments: []scsi.CopySegment{{Destination: 1, Blocks: 1}},
		}, codeCopyTarget},
		{"reserved by another", scsi.CopyList{
			Targets: []scsi.CopyTarget{inside, copyTarget(other)}, Segments: []scsi.CopySegment{{Source: 1, Blocks: 1}},
		}, codeThirdParty},
		{"off the end", scsi.CopyList{
			Targets: []scsi.CopyTarget{inside}, Segments: []scsi.CopySegment{{Blocks: 2, SourceLBA: 8191}},
		}, codeCopyAborted},
		{"overflow", scsi.CopyList{
			Targets: []scsi.CopyTarget{inside}, Segments: []scsi.CopySegment{{Blocks: 2, DestinationLBA: 1<<64 - 1}},
		}, codeCopyAborted},
		{"too many", scsi.CopyList{Targets: make([]scsi.CopyTarget, 17)}, codeTooManyTargets},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list := tt.list.Append(nil)
			c.fails(tt.want, copyCDB(list), list, 0)
		})
	}
}

// TestCopyPage: VPD page 8Fh, byte for byte; sg_vpd of sg3_utils reads it so.
func TestCopyPage(t *testing.T) {
	c := newBed(t, UnitConfig{}).open(0, 1)
	want := "008f0060" +
		"00010008" + "0783010084020003" +
		"0004001c" + "0000000000100010" + "00000400" + "00000000" + "000000000000000000000000" +
		"00080004" + "0202e400" +
		"000c0004" + "00000000" +
		"80010020" + "00000001" + "00000001" + "01fffe00" + "09000000" + "00000000000000000000000000000000"
	if got := hex.EncodeToString(c.good(cdb(scsi.Inquiry{VPD: true, Page: scsi.PageThirdPartyCopy, AllocationLength: 512}), nil, 512)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestP9CopyIntoErased: an erasure, and what else waits for the tasks of a unit, waits
// for a copy into it whose task is another unit's; and nothing is copied after it.
func TestP9CopyIntoErased(t *testing.T) {
	for _, size := range []int{1, 4096} { // blocks: one step, and several
		x := newBed(t, UnitConfig{})
		d := newSlow(t)
		u, err := NewUnit(UnitConfig{Device: &limitedSlow{slow: d, max: 8 << 20}, UUID: [16]byte{9}})
		if err != nil {
			t.Fatal(err)
		}
		x.add(1, u)
		c := x.open(0, 1)
		c.good(writeCDB(0, 4096), pattern(1, 4096*512), 0)
		list := scsi.CopyList{
			Targets:  []scsi.CopyTarget{copyTarget(x.unit), copyTarget(u)},
			Segments: []scsi.CopySegment{{Source: 0, Destination: 1, Blocks: uint16(size)}},
		}.Append(nil)
		copying := c.command(0, copyCDB(list), list, 0)
		c.start(copying)
		if n := len(d.waiting()); n != 1 {
			t.Fatalf("%d writes of the copy", n)
		}
		done, reset := doneOf(t)
		c.n.LogicalUnitReset(&c.batch, scsi.LUN(1).Field(), done)
		c.batch.Run()
		if reset.Class != 0 {
			t.Error("a reset is answered while a copy changes the unit")
		}
		c.at(1, tur(), nil, 0)
		erase := c.command(1, blockErase(false, false), nil, 0)
		c.start(erase)
		d.mu.Lock()
		if len(d.held) != 1 || d.held[0].Op != backends.Write {
			t.Errorf("%d requests: the erasure does not wait for the copy", len(d.held))
		}
		d.mu.Unlock()
		d.step()
		if !reset.OK() || !c.ended(copying) {
			t.Errorf("reset %v, copy ended %v", reset, c.ended(copying))
		}
		if failed := senseOf(t, copying).Is(codeThirdParty); failed != (size > 1) {
			t.Errorf("the copy: %v %v", copying.Status, senseOf(t, copying))
		}
		d.all()
		if !c.ended(erase) || erase.Status != scsi.StatusGood || len(u.visits) != 0 {
			t.Errorf("the erasure ended %v, %d visits", c.ended(erase), len(u.visits))
		}
	}
}
