// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"bytes"
	"testing"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

func sanitizeCDB(action uint8, immediate, exit bool, list []byte) scsi.CDB {
	return cdb(scsi.Sanitize{Action: action, Immediate: immediate, Unrestricted: exit, ParameterListLength: uint16(len(list))})
}

// blockErase is SANITIZE, block erase.
func blockErase(immediate, exit bool) scsi.CDB {
	return sanitizeCDB(scsi.ActionBlockErase, immediate, exit, nil)
}

// TestErasures: what every kind of erasure leaves on the medium.
func TestErasures(t *testing.T) {
	repeat := func(p []byte) []byte { return bytes.Repeat(p, 512/len(p)) }
	three := bytes.Repeat([]byte{1, 2, 3}, 171)[:512] // begins anew in each block
	overwrite := func(invert bool, count uint8, p []byte) []byte {
		return scsi.Overwrite{Invert: invert, Count: count, Pattern: p}.Append(nil)
	}
	for _, tt := range []struct {
		name   string
		cdb    scsi.CDB
		list   []byte
		block  []byte
		mapped bool
	}{
		{"block erase", blockErase(false, false), nil, make([]byte, 512), false},
		{"format", cdb(scsi.FormatUnit{}), nil, make([]byte, 512), false},
		{"format with a list", cdb(scsi.FormatUnit{Data: true}), []byte{0, 2, 0, 0}, make([]byte, 512), false},
		{"format with a long list", cdb(scsi.FormatUnit{Data: true, LongList: true, Complete: true}), []byte{0, 0xf2, 0, 0, 0, 0, 0, 0}, make([]byte, 512), false},
		{"a block", cdb(scsi.Sanitize{}), overwrite(false, 1, pattern(7, 512)), pattern(7, 512), true},
		{"four bytes", cdb(scsi.Sanitize{}), overwrite(false, 2, []byte{1, 2, 3, 4}), repeat([]byte{1, 2, 3, 4}), true},
		{"three bytes", cdb(scsi.Sanitize{}), overwrite(true, 3, []byte{1, 2, 3}), three, true},
		{"zeros", cdb(scsi.Sanitize{}), overwrite(true, 2, []byte{0}), make([]byte, 512), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newLimited(t, func(i *backends.Info) { i.MaxTransfer, i.MaxZeroes = 64<<10, 1<<20 })
			c := newBed(t, UnitConfig{Device: d}).open(0, 1)
			c.good(writeCDB(0, 2048), pattern(1, 2048*512), 0)
			c.good(writeCDB(6144, 2048), pattern(1, 2048*512), 0)
			if tt.cdb.Opcode() == scsi.OpSanitize && tt.list != nil {
				tt.cdb = sanitizeCDB(scsi.ActionOverwrite, false, false, tt.list)
			}
			c.good(tt.cdb, tt.list, 0)
			if got := c.good(readCDB(0, 8192), nil, 4<<20); !bytes.Equal(got, bytes.Repeat(tt.block, 8192)) {
				t.Error("the medium has something else")
			}
			status, err := scsi.DecodeLBAStatus(nil, c.good(cdb(scsi.GetLBAStatus{AllocationLength: 256}), nil, 256))
			if err != nil || len(status) != 1 || status[0].Blocks != 8192 || (status[0].Status == scsi.Mapped) != tt.mapped {
				t.Errorf("%+v, %v, want one range", status, err)
			}
		})
	}
}

// zeroer is a device whose zeros stay mapped.
type zeroer struct{ *backends.Memory }

func (d zeroer) Submit(b *backends.Batch, reqs []*backends.Request) {
	for _, r := range reqs {
		r.NoUnmap = r.NoUnmap || r.Op == backends.WriteZeroes
	}
	d.Memory.Submit(b, reqs)
}

// TestEraseUnmaps: what the device's zeros leave mapped is unmapped.
func TestEraseUnmaps(t *testing.T) {
	c := newBed(t, UnitConfig{Device: zeroer{memory(t, 4<<20)}}).open(0, 1)
	c.good(writeCDB(0, 2048), pattern(1, 2048*512), 0)
	c.good(blockErase(false, false), nil, 0)
	status, err := scsi.DecodeLBAStatus(nil, c.good(cdb(scsi.GetLBAStatus{AllocationLength: 256}), nil, 256))
	if err != nil || len(status) != 1 || status[0].Status != scsi.Deallocated {
		t.Errorf("%+v, %v, want one range that is unmapped", status, err)
	}
}

// TestEraseRefusals: what is not carried out changes nothing.
func TestEraseRefusals(t *testing.T) {
	x := newBed(t, UnitConfig{})
	c, other := x.open(0, 1), x.open(1, 1)
	c.good(writeCDB(0, 1), pattern(1, 512), 0)
	short := scsi.Overwrite{Count: 1, Pattern: []byte{1, 2, 3, 4}}.Append(nil)
	for name, tt := range map[string]struct {
		cdb  scsi.CDB
		list []byte
		want scsi.SenseCode
	}{
		"no parameters":        {sanitizeCDB(scsi.ActionOverwrite, false, false, nil), nil, scsi.CodeInvalidFieldInCDB},
		"no pattern":           {sanitizeCDB(scsi.ActionOverwrite, false, false, short[:4]), short[:4], scsi.CodeInvalidFieldInCDB},
		"long list":            {sanitizeCDB(scsi.ActionOverwrite, false, false, make([]byte, 517)), make([]byte, 517), scsi.CodeInvalidFieldInCDB},
		"pattern ends early":   {sanitizeCDB(scsi.ActionOverwrite, false, false, short[:6]), short[:6], scsi.CodeParameterListLength},
		"no pass":              {sanitizeCDB(scsi.ActionOverwrite, false, false, short), []byte{0, 0, 0, 4, 1, 2, 3, 4}, scsi.CodeInvalidFieldInParameters},
		"erase with a list":    {sanitizeCDB(scsi.ActionBlockErase, false, false, short), short, scsi.CodeInvalidFieldInCDB},
		"no keys":              {sanitizeCDB(scsi.ActionCryptoErase, false, false, nil), nil, scsi.CodeInvalidFieldInCDB},
		"data that is missing": {sanitizeCDB(scsi.ActionOverwrite, false, false, short), short[:6], codeInvalidInformationUnit},
		"protection":           {cdb(scsi.FormatUnit{Protection: 2}), nil, scsi.CodeInvalidFieldInCDB},
		"list that is not":     {cdb(scsi.FormatUnit{LongList: true}), nil, scsi.CodeInvalidFieldInCDB},
		"missing list":         {cdb(scsi.FormatUnit{Data: true}), nil, codeInvalidInformationUnit},
		"defects":              {cdb(scsi.FormatUnit{Data: true}), []byte{0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0}, scsi.CodeInvalidFieldInParameters},
		"format pattern":       {cdb(scsi.FormatUnit{Data: true}), []byte{0, 0x88, 0, 0}, scsi.CodeInvalidFieldInParameters},
		"protection usage":     {cdb(scsi.FormatUnit{Data: true}), []byte{1, 0, 0, 0}, scsi.CodeInvalidFieldInParameters},
	} {
		t.Run(name, func(t *testing.T) {
			if cmd := c.do(tt.cdb, tt.list, 0); !senseOf(t, cmd).Is(tt.want) {
				t.Errorf("%v, want %v", senseOf(t, cmd), tt.want)
			}
		})
	}
	other.good(scsi.CDB{byte(scsi.OpReserve6)}, nil, 0)
	for _, cdb := range []scsi.CDB{blockErase(false, false), cdb(scsi.FormatUnit{}), sanitizeCDB(scsi.ActionExitFailureMode, false, false, nil)} {
		c.status(scsi.StatusReservationConflict, cdb, nil, 0)
	}
	other.good(scsi.CDB{byte(scsi.OpRelease6)}, nil, 0)
	if got := c.good(readCDB(0, 1), nil, 512); !bytes.Equal(got, pattern(1, 512)) {
		t.Error("the medium was changed")
	}
	ro := newBed(t, UnitConfig{ReadOnly: true}).open(0, 1)
	ro.fails(scsi.CodeWriteProtected, blockErase(false, false), nil, 0)
	ro.fails(scsi.CodeWriteProtected, cdb(scsi.FormatUnit{}), nil, 0)
	c.good(sanitizeCDB(scsi.ActionExitFailureMode, false, false, nil), nil, 0)
}

// erasing is a bed whose medium is being erased: nothing of it is done yet.
func erasing(t *testing.T, immediate bool) (x *bed, d *slow, c, other *client, cmd *Command) {
	t.Helper()
	d = newSlow(t)
	x = newBed(t, UnitConfig{Device: d})
	c, other = x.open(0, 1), x.open(1, 2)
	cmd = c.command(0, blockErase(immediate, false), nil, 0)
	if !c.start(cmd) || c.ended(cmd) != immediate {
		t.Fatal("the end comes at the wrong time")
	}
	return x, d, c, other, cmd
}

// step carries out what is with the device, and tells how many requests that was.
func (d *slow) step() int {
	d.mu.Lock()
	held := d.held
	d.held = nil
	d.mu.Unlock()
	var b backends.Batch
	d.Memory.Submit(&b, held)
	b.Run()
	return len(held)
}

func (d *slow) all() {
	for d.step() > 0 {
	}
}

// TestEraseProgress: an erasure goes on in slices, of which few are with the device;
// meanwhile the unit tells how far it is.
func TestEraseProgress(t *testing.T) {
	for _, immediate := range []bool{false, true} {
		d := newSlow(t)
		limit := &limitedSlow{slow: d, max: 1 << 20}
		x := newBed(t, UnitConfig{Device: limit})
		c, other := x.open(0, 1), x.open(1, 2)
		cmd := c.command(0, blockErase(immediate, false), nil, 0)
		c.start(cmd)
		if x.unit.Allows(false) {
			t.Error("others may read what is being erased")
		}
		for _, want := range []uint16{0, 16383, 32767, 49151, 65535} {
			for _, c := range []*client{c, other} {
				s := c.fails(scsi.CodeSanitizeInProgress, tur(), nil, 0)
				if s.Specific != scsi.SpecificProgress || s.Progress != want {
					t.Errorf("progress %d, want %d", s.Progress, want)
				}
				c.fails(scsi.CodeSanitizeInProgress, readCDB(0, 1), nil, 512)
				c.fails(scsi.CodeSanitizeInProgress, cdb(scsi.FormatUnit{}), nil, 0)
				c.good(cdb(scsi.Inquiry{AllocationLength: 96}), nil, 96)
				c.good(cdb(scsi.ReportLUNs{AllocationLength: 96}), nil, 96)
				s, err := scsi.DecodeSense(c.good(cdb(scsi.RequestSense{AllocationLength: 18}), nil, 18))
				if err != nil || !s.Is(scsi.CodeSanitizeInProgress) || s.Progress != want {
					t.Errorf("REQUEST SENSE: %v, %v", s, err)
				}
			}
			if n := d.step(); n == 0 || n > eraseWindow {
				t.Errorf("%d requests are with the device, want at most %d", n, eraseWindow)
			}
		}
		d.all()
		if !c.ended(cmd) || cmd.Status != scsi.StatusGood || !x.unit.Allows(true) {
			t.Errorf("ended %v, %v", c.ended(cmd), cmd.Status)
		}
		other.good(tur(), nil, 0)
		c.good(tur(), nil, 0)
	}
}

// limitedSlow is slow with a limit for WriteZeroes and Unmap.
type limitedSlow struct {
	*slow
	max uint64
}

func (d *limitedSlow) Info() backends.Info {
	i := d.slow.Info()
	i.MaxZeroes, i.MaxUnmap = d.max, d.max
	return i
}

// TestEraseSurvives: no task management function and no loss of a nexus stops an
// erasure; they end its command only.
func TestEraseSurvives(t *testing.T) {
	for name, f := range map[string]func(c *client, cmd *Command, done Done){
		"abort task":         func(c *client, cmd *Command, done Done) { c.n.AbortTask(&c.batch, cmd, done) },
		"abort task set":     func(c *client, _ *Command, done Done) { c.n.AbortTaskSet(&c.batch, scsi.LUNField{}, done) },
		"logical unit reset": func(c *client, _ *Command, done Done) { c.n.LogicalUnitReset(&c.batch, scsi.LUNField{}, done) },
		"cold reset":         func(c *client, _ *Command, done Done) { c.n.TargetColdReset(&c.batch, done) },
		"close":              func(c *client, _ *Command, done Done) { c.n.Close(&c.batch, done) },
	} {
		t.Run(name, func(t *testing.T) {
			_, d, c, other, cmd := erasing(t, false)
			done, res := doneOf(t)
			f(c, cmd, done)
			c.batch.Run()
			if !res.OK() || !c.ended(cmd) || !cmd.Silent {
				t.Fatalf("%v, ended %v, silent %v", res, c.ended(cmd), cmd.Silent)
			}
			if d.aborts != 0 {
				t.Error("the device was asked to abort")
			}
			for range attentionMax { // the resets
				if senseOf(t, other.do(tur(), nil, 0)).Is(scsi.CodeSanitizeInProgress) {
					break
				}
			}
			other.fails(scsi.CodeSanitizeInProgress, tur(), nil, 0)
			d.all()
			other.good(tur(), nil, 0)
		})
	}
}

// TestEraseEndsTasks: the unit's tasks end before anything is erased, those that
// wait for data too.
func TestEraseEndsTasks(t *testing.T) {
	d := newSlow(t)
	x := newBed(t, UnitConfig{Device: d})
	c, other := x.open(0, 1), x.open(1, 2)
	d.stuck = true
	written := other.command(0, writeCDB(7, 1), pattern(1, 512), 0)
	other.start(written)
	collecting := other.command(0, writeCDB(8, 1), pattern(1, 512), 0)
	if !other.n.Begin(collecting) {
		t.Fatal("refused")
	}
	erase := c.command(0, blockErase(false, false), nil, 0)
	c.start(erase)
	if !other.ended(collecting) || !senseOf(t, collecting).Is(scsi.CodeSanitizeInProgress) || collecting.Silent {
		t.Errorf("a task that waits for data: %v %v", collecting.Status, senseOf(t, collecting))
	}
	if got := d.waiting(); len(got) != 1 || got[0] != 7 {
		t.Errorf("%v is with the device, want the write alone", got)
	}
	d.step() // it could not be stopped
	if !other.ended(written) || written.Status != scsi.StatusGood || c.ended(erase) {
		t.Error("the erasure does not wait for a write")
	}
	other.n.Submit(&other.batch, []*Command{collecting})
	other.batch.Run()
	d.stuck = false
	d.all()
	if !c.ended(erase) || erase.Status != scsi.StatusGood {
		t.Error("the erasure does not end")
	}
}

// TestEraseFails: after a failure only another erasure is taken, or EXIT FAILURE
// MODE where that was asked for.
func TestEraseFails(t *testing.T) {
	for _, exit := range []bool{false, true} {
		f := backends.NewErrorFault(memory(t, 4<<20))
		x := newBed(t, UnitConfig{Device: f})
		c := x.open(0, 1)
		fail := func(on bool) {
			f.Set(nil, backends.Result{})
			if on {
				f.Set(&backends.FaultRule{Ops: backends.Ops(backends.WriteZeroes)}, backends.Failed(backends.Medium))
			}
		}
		leave := sanitizeCDB(scsi.ActionExitFailureMode, false, false, nil)
		fail(true)
		c.fails(scsi.CodeSanitizeFailed, blockErase(false, exit), nil, 0)
		c.fails(scsi.CodeSanitizeFailed, readCDB(0, 1), nil, 512)
		c.fails(scsi.CodeSanitizeFailed, tur(), nil, 0)
		c.good(cdb(scsi.Inquiry{AllocationLength: 96}), nil, 96)
		if exit {
			c.good(leave, nil, 0)
			c.good(tur(), nil, 0)
			c.fails(scsi.CodeSanitizeFailed, blockErase(false, exit), nil, 0)
		} else {
			c.fails(scsi.CodeInvalidFieldInCDB, leave, nil, 0)
			c.fails(scsi.CodeInvalidFieldInCDB, blockErase(false, true), nil, 0)
		}
		fail(false)
		c.good(blockErase(false, exit), nil, 0)
		c.good(readCDB(0, 1), nil, 512)
		fail(true)
		c.fails(scsi.CodeFormatCorrupted, cdb(scsi.FormatUnit{}), nil, 0)
		c.fails(scsi.CodeFormatCorrupted, tur(), nil, 0)
		fail(false)
		c.good(cdb(scsi.FormatUnit{}), nil, 0)
		c.good(tur(), nil, 0)
	}
}

// TestEraseStops: a unit that is closed begins nothing more.
func TestEraseStops(t *testing.T) {
	x, d, c, _, cmd := erasing(t, false)
	x.unit.Close()
	if len(d.waiting()) != 0 || !c.ended(cmd) || !senseOf(t, cmd).Is(scsi.CodeSanitizeFailed) {
		t.Errorf("%v with the device, %v", d.waiting(), cmd.Status)
	}
}
