// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// failing is a memory disk whose requests end with a result.
type failing struct {
	*backends.Memory
	res backends.Result
}

func (d *failing) Submit(b *backends.Batch, reqs []*backends.Request) {
	for _, r := range reqs {
		b.Complete(r, d.res)
	}
}

// TestOutcomes has the table from results of a device to what clients see.
func TestOutcomes(t *testing.T) {
	medium := backends.Sense{Valid: true, Key: 3, ASC: 0x11, ASCQ: 0x04}
	attention := backends.Sense{Valid: true, Key: 6, ASC: 0x29}
	tests := []struct {
		res    backends.Result
		status scsi.Status
		read   scsi.SenseCode
		write  scsi.SenseCode
	}{
		{backends.Failed(backends.Transport), 2, 0x0b4400, 0x0b4400},
		{backends.Failed(backends.Busy), scsi.StatusBusy, 0, 0},
		{backends.Failed(backends.Medium), 2, 0x031100, 0x030c00},
		{backends.Result{Class: backends.Medium, Sense: medium}, 2, 0x031104, 0x031104},
		{backends.Result{Class: backends.Medium, Sense: attention}, 2, 0x031100, 0x030c00},
		{backends.Failed(backends.IllegalRequest), 2, 0x052100, 0x052100},
		{backends.Result{Class: backends.IllegalRequest, Sense: backends.Sense{Valid: true, Key: 5, ASC: 0x24}}, 2, 0x052400, 0x052400},
		{backends.Result{Class: backends.IllegalRequest, Sense: backends.Sense{Valid: true, Key: 5, ASC: 0x21}}, 2, 0x052100, 0x052100},
		{backends.Failed(backends.Unsupported), 2, 0x052000, 0x052000},
		{backends.Failed(backends.DataProtect), 2, 0x072700, 0x072700},
		{backends.Failed(backends.ReservationConflict), scsi.StatusReservationConflict, 0, 0},
		{backends.Failed(backends.NoSpace), 2, 0x072707, 0x072707},
		{backends.Failed(backends.NoPath), 2, 0x020403, 0x020403},
		{backends.Failed(backends.Aborted), 2, 0x0b2f02, 0x0b2f02},
		{backends.Failed(backends.Miscompare), 2, 0x0e1d00, 0x0e1d00},
		{backends.Done(), 2, 0x0b4400, 0}, // a READ without its data (promise P8)
	}
	for _, tt := range tests {
		d := &failing{memory(t, 1<<20), tt.res}
		c := newBed(t, UnitConfig{Device: d}).open(0, 1)
		for _, long := range []uint32{1, 2} {
			read, write := c.do(readCDB(0, long), nil, 512*int(long)), c.do(writeCDB(0, long), pattern(1, 512*int(long)), 0)
			wantWrite := tt.status
			if tt.write == 0 && tt.status == 2 {
				wantWrite = scsi.StatusGood
			}
			if read.Status != tt.status || !senseOf(t, read).Is(tt.read) || read.In.Len() != 0 || read.Residual != 512*long {
				t.Errorf("%v: read %v %v, residual %d", tt.res, read.Status, senseOf(t, read), read.Residual)
			}
			if write.Status != wantWrite || !senseOf(t, write).Is(tt.write) {
				t.Errorf("%v: write %v %v", tt.res, write.Status, senseOf(t, write))
			}
		}
	}
}

// TestDeviceChanges: size, capabilities and availability reach the initiators.
func TestDeviceChanges(t *testing.T) {
	d := &changing{Memory: memory(t, 1<<20)}
	d.info = d.Memory.Info()
	x := newBed(t, UnitConfig{Device: d})
	c := x.open(0, 1)
	d.become(backends.SizeChanged, func(i *backends.Info) { i.Size = 512 << 10 })
	c.fails(scsi.CodeCapacityChanged, tur(), nil, 0)
	c.fails(scsi.CodeLBAOutOfRange, readCDB(1024, 1), nil, 512)
	d.become(backends.CapsChanged, func(i *backends.Info) { i.Caps &^= backends.CanUnmap })
	c.fails(scsi.CodeInquiryChanged, tur(), nil, 0)
	c.fails(scsi.CodeInvalidOpcode, cdb(scsi.Unmap{}), nil, 0)
	d.become(backends.AvailabilityChanged, func(i *backends.Info) { i.Available = false })
	c.fails(scsi.CodeBecomingReady, tur(), nil, 0)
	x.unit.Close()
	if d.watchers.Any() {
		t.Error("a closed unit watches its device")
	}
}

// changing is a memory disk whose description changes.
type changing struct {
	*backends.Memory
	mu       sync.Mutex
	info     backends.Info
	watchers watchers
}

type watchers struct{ list []func(backends.Change) }

// Any tells whether somebody watches.
func (w *watchers) Any() bool { return len(w.list) > 0 }

func (d *changing) Info() backends.Info {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.info
}

func (d *changing) Watch(fn func(backends.Change)) (stop func()) {
	d.watchers.list = append(d.watchers.list, fn)
	return func() { d.watchers.list = nil }
}

func (d *changing) become(c backends.Change, f func(*backends.Info)) {
	d.mu.Lock()
	f(&d.info)
	d.mu.Unlock()
	for _, fn := range d.watchers.list {
		fn(c)
	}
}

// TestTaskSetFull: a device without credits answers with TASK SET FULL, and its
// credits come back.
func TestTaskSetFull(t *testing.T) {
	d := &few{slow: newSlow(t), pool: backends.NewPool(2, 1<<20)}
	c := newBed(t, UnitConfig{Device: d}).openRaw(0, 1)
	c.do(tur(), nil, 0)
	first, second := c.command(0, readCDB(1, 1), nil, 512), c.command(0, readCDB(2, 1), nil, 512)
	if !c.start(first) || !c.start(second) {
		t.Fatal("refused")
	}
	c.status(scsi.StatusTaskSetFull, readCDB(3, 1), nil, 512)
	d.finish(t, 1)
	c.good(tur(), nil, 0)
	d.finish(t, 2)
	if commands, bytes := d.pool.Free(); commands != 2 || bytes != 1<<20 {
		t.Errorf("%d commands and %d bytes are left", commands, bytes)
	}
	if got := c.n.Depth(); got != 2 {
		t.Errorf("depth %d, want 2", got)
	}
}

type few struct {
	*slow
	pool *backends.Pool
}

func (d *few) Grant(*backends.Origin) *backends.Grant { return backends.NewGrant(2, d.pool) }

// TestFileDevice: the commands over a real file, with its workers.
func TestFileDevice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := backends.OpenFile(path, backends.FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	c := newBed(t, UnitConfig{Device: f}).openRaw(0, 1)
	wait := func(x scsi.CDB, out []byte, in int) *Command {
		cmd := c.command(0, x, out, in)
		end := make(chan struct{})
		cmd.Completer = ender(end)
		if c.start(cmd) {
			<-end
		}
		return cmd
	}
	wait(tur(), nil, 0)
	data := pattern(3, 64<<10)
	for _, x := range []struct {
		cdb scsi.CDB
		out []byte
	}{
		{writeCDB(16, 128), data},
		{cdb(scsi.Verify{LBA: 16, Blocks: 128, ByteCheck: scsi.ByteCheckData}), data},
		{cdb(scsi.SynchronizeCache{}), nil},
		{cdb(scsi.CompareAndWrite{LBA: 16, Blocks: 1}), append(bytes.Clone(data[:512]), data[:512]...)},
		{cdb(scsi.WriteSame{LBA: 4096, Blocks: 64}), data[:512]},
		{cdb(scsi.Unmap{ParameterListLength: 24}), scsi.AppendUnmapList(nil, []scsi.BlockRange{{LBA: 8192, Blocks: 128}})},
	} {
		if cmd := wait(x.cdb, x.out, 0); cmd.Status != scsi.StatusGood {
			t.Errorf("%v: %v %v", x.cdb.Opcode(), cmd.Status, senseOf(t, cmd))
		}
	}
	got := wait(readCDB(16, 128), nil, len(data))
	if !bytes.Equal(got.In.Bytes(), data) {
		t.Error("other data was read than written")
	}
}

// ender closes a channel at the end of a command.
type ender chan struct{}

// CommandDone tells.
func (e ender) CommandDone(*backends.Batch, *Command) { close(e) }

// TestSelfTest: the default self-test reads the medium.
func TestSelfTest(t *testing.T) {
	test := scsi.CDB{byte(scsi.OpSendDiagnostic), 0x04}
	newBed(t, UnitConfig{}).open(0, 1).good(test, nil, 0)
	bad := newBed(t, UnitConfig{Device: &failing{memory(t, 1<<20), backends.Failed(backends.Medium)}}).open(0, 1)
	bad.fails(codeSelfTestFailed, test, nil, 0)
	bad.good(scsi.CDB{byte(scsi.OpSendDiagnostic)}, nil, 0)
	bad.good(scsi.CDB{byte(scsi.OpSendDiagnostic), 0x10}, nil, 0)
	bad.fails(scsi.CodeInvalidFieldInCDB, scsi.CDB{byte(scsi.OpSendDiagnostic), 0x24}, nil, 0)
}

// TestMediumErrorNamesBlock: the LUN's LBA reaches the initiator in its own blocks, and
// none that is not of the command.
func TestMediumErrorNamesBlock(t *testing.T) {
	for _, tt := range []struct {
		block    uint32
		lba      uint64 // of 512 bytes
		want     uint64
		informed bool
	}{{512, 12, 12, true}, {512, 9, 0, false}, {512, 18, 0, false}, {4096, 85, 10, true}} {
		res := backends.Result{Class: backends.Medium, Sent: backends.SentAnswered, Sense: backends.Sense{
			Valid: true, Key: 3, ASC: 0x11, HasInfo: true, Information: tt.lba,
		}}
		c := newBed(t, UnitConfig{Device: &failing{memory(t, 1<<20), res}, BlockSize: tt.block}).open(0, 1)
		s := c.fails(scsi.CodeUnrecoveredReadError, readCDB(10, 8), nil, 8*int(tt.block))
		if s.InformationValid != tt.informed || s.Information != tt.want {
			t.Errorf("%+v: %v", tt, s)
		}
	}
}

// TestP15WorkIsCredited: what a command holds beside its data counts too, so that few
// bytes of commands cannot claim many of memory.
func TestP15WorkIsCredited(t *testing.T) {
	block := pattern(1, 512)
	list := scsi.CopyList{}.Append(nil)
	unable := func(i *backends.Info) { i.Caps &^= backends.CanVerify }
	for name, tt := range map[string]struct {
		cdb  scsi.CDB
		out  []byte
		want int64
	}{
		"write same":    {cdb(scsi.WriteSame{Blocks: 8192}), block, 512 + pieceMost},
		"short":         {cdb(scsi.WriteSame{Blocks: 2}), block, 512 + 1024},
		"verify":        {cdb(scsi.Verify{Blocks: 8192}), nil, verifyWindow * pieceMost},
		"orwrite":       {cdb(scsi.ReadWrite{Write: true, Size: 16, Blocks: 1}), block, 512 + 512},
		"extended copy": {copyCDB(list), list, int64(len(list)) + copyPiece},
	} {
		if name == "orwrite" {
			tt.cdb[0] = byte(scsi.OpORWrite16)
		}
		c := newBed(t, UnitConfig{Device: newLimited(t, unable)}).open(0, 1)
		cmd := c.command(0, tt.cdb, tt.out, 0)
		if !c.n.Begin(cmd) || cmd.task.credit != tt.want {
			t.Errorf("%s: %v, %d bytes, want %d", name, senseOf(t, cmd), cmd.task.credit, tt.want)
		}
		cmd.Out.Release()
	}
}
