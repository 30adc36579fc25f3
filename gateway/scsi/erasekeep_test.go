// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"bytes"
	"errors"
	"testing"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// eraseStore keeps an erasure in memory.
type eraseStore struct{ store }

func (s *eraseStore) SaveErasure(data []byte, done func(error)) { s.SaveReservations(data, done) }

// TestEraseKept: an erasure is durable before its command is answered and before the
// first block is changed, and forgotten before the unit is used again. Until then each
// start begins it anew.
func TestEraseKept(t *testing.T) {
	list := scsi.Overwrite{Invert: true, Count: 2, Pattern: []byte{1, 2, 3, 4}}.Append(nil)
	for name, tt := range map[string]struct {
		cdb   scsi.CDB
		list  []byte
		busy  scsi.SenseCode
		after []byte
	}{
		"block erase": {blockErase(true, false), nil, scsi.CodeSanitizeInProgress, make([]byte, 512)},
		"overwrite":   {sanitizeCDB(scsi.ActionOverwrite, true, false, list), list, scsi.CodeSanitizeInProgress, bytes.Repeat([]byte{1, 2, 3, 4}, 128)},
		"format":      {cdb(scsi.FormatUnit{Data: true}), []byte{0, 2, 0, 0}, scsi.CodeFormatInProgress, make([]byte, 512)},
	} {
		t.Run(name, func(t *testing.T) {
			s := &eraseStore{store{hold: true}}
			d := newSlow(t)
			x := newBed(t, UnitConfig{Device: d, Erasures: s})
			c := x.open(0, 1)
			cmd := c.command(0, tt.cdb, tt.list, 0)
			c.start(cmd)
			if c.ended(cmd) || len(d.waiting()) != 0 {
				t.Fatalf("before it is kept: ended %v, %d requests", c.ended(cmd), len(d.waiting()))
			}
			c.fails(tt.busy, tur(), nil, 0)
			s.hold = false
			s.run()
			if !c.ended(cmd) || cmd.Status != scsi.StatusGood || len(d.waiting()) == 0 || s.data == nil {
				t.Fatalf("%v %v, %d requests, %q is kept", cmd.Status, senseOf(t, cmd), len(d.waiting()), s.data)
			}
			d.step()
			x.unit.Close()
			s.run()
			if s.data == nil {
				t.Fatal("a stop forgets it")
			}
			d = newSlow(t)
			x = newBed(t, UnitConfig{Device: d, Erasures: s, Erasure: s.data})
			c = x.open(0, 1)
			if c.fails(tt.busy, tur(), nil, 0); x.unit.Allows(false) {
				t.Error("others may use it")
			}
			s.hold = true
			d.all()
			c.fails(tt.busy, tur(), nil, 0) // not while it could begin anew
			s.hold = false
			s.run()
			c.good(tur(), nil, 0)
			if s.data != nil || !x.unit.Allows(true) {
				t.Errorf("%q is kept", s.data)
			}
			read := c.command(0, readCDB(8191, 1), nil, 512)
			c.start(read)
			d.all()
			if !bytes.Equal(read.In.Bytes(), tt.after) {
				t.Error("the medium has something else")
			}
			read.In.Release()
		})
	}
}

// TestEraseNotKept: an erasure that cannot be kept is none; one that cannot be
// forgotten counts as failed, since the next start would begin it anew.
func TestEraseNotKept(t *testing.T) {
	full := errors.New("disk full")
	s := &eraseStore{store{fail: full}}
	m := memory(t, 4<<20)
	x := newBed(t, UnitConfig{Device: m, Erasures: s})
	c := x.open(0, 1)
	c.good(writeCDB(0, 1), pattern(1, 512), 0)
	erase := func(cdb scsi.CDB, want scsi.SenseCode) {
		t.Helper()
		cmd := c.command(0, cdb, nil, 0)
		c.start(cmd)
		for len(s.held) > 0 {
			s.run()
		}
		if !c.ended(cmd) || !senseOf(t, cmd).Is(want) {
			t.Fatalf("ended %v, %v, want %v", c.ended(cmd), senseOf(t, cmd), want)
		}
	}
	erase(blockErase(true, false), scsi.CodeInternalTargetFailure)
	if got := c.good(readCDB(0, 1), nil, 512); !bytes.Equal(got, pattern(1, 512)) {
		t.Error("the medium was changed")
	}
	cmd := c.command(0, blockErase(false, true), nil, 0)
	c.start(cmd)
	s.fail = nil
	s.hold = true
	s.held[0]() // kept; the answer to the forgetting waits behind it
	s.held = s.held[1:]
	s.fail = full
	s.hold = false
	s.run()
	if !c.ended(cmd) || !senseOf(t, cmd).Is(scsi.CodeSanitizeFailed) {
		t.Fatalf("ended %v, %v", c.ended(cmd), senseOf(t, cmd))
	}
	c.fails(scsi.CodeSanitizeFailed, tur(), nil, 0)
	leave := sanitizeCDB(scsi.ActionExitFailureMode, false, false, nil)
	erase(leave, scsi.CodeInternalTargetFailure)
	c.fails(scsi.CodeSanitizeFailed, tur(), nil, 0)
	s.fail = nil
	erase(leave, scsi.CodeNone)
	c.good(tur(), nil, 0)
	if s.data != nil {
		t.Errorf("%q is kept", s.data)
	}
}

// TestEraseFailureKept: a failure outlives a restart, and is not tried again by itself.
func TestEraseFailureKept(t *testing.T) {
	s := &eraseStore{}
	f := backends.NewErrorFault(memory(t, 4<<20))
	f.Set(&backends.FaultRule{Ops: backends.Ops(backends.WriteZeroes)}, backends.Failed(backends.Medium))
	c := newBed(t, UnitConfig{Device: f, Erasures: s}).open(0, 1)
	c.start(c.command(0, blockErase(false, false), nil, 0))
	for len(s.held) > 0 {
		s.run()
	}
	c.fails(scsi.CodeSanitizeFailed, tur(), nil, 0)
	d := newSlow(t)
	x := newBed(t, UnitConfig{Device: d, Erasures: s, Erasure: s.data})
	c = x.open(0, 1)
	c.fails(scsi.CodeSanitizeFailed, tur(), nil, 0)
	if len(d.waiting()) != 0 || x.unit.Allows(false) {
		t.Errorf("%d requests, others may read: %v", len(d.waiting()), x.unit.Allows(false))
	}
	for _, nonsense := range []string{"{", `{"overwrite":{"Count":0,"Pattern":"AQ=="}}`, `{"overwrite":{"Count":1}}`} {
		if _, err := NewUnit(UnitConfig{Device: memory(t, 1<<20), Erasure: []byte(nonsense)}); err == nil {
			t.Errorf("%s is accepted", nonsense)
		}
	}
}
