// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"errors"
	"slices"
	"testing"

	"pathgate/internal/scsi"
)

// store keeps reservations in memory. It answers when it is let.
type store struct {
	data  []byte
	fail  error
	hold  bool
	held  []func()
	saves int
}

func (s *store) SaveReservations(data []byte, done func(error)) {
	s.saves++
	answer := func() {
		if s.fail == nil {
			s.data = data
		}
		done(s.fail)
	}
	s.held = append(s.held, answer)
}

// run lets the answers go that are due; the done functions must not be called
// inside SaveReservations.
func (s *store) run() {
	for len(s.held) > 0 && !s.hold {
		answer := s.held[0]
		s.held = s.held[1:]
		answer()
	}
}

// prOut makes PERSISTENT RESERVE OUT.
func prOut(action scsi.ReserveOutAction, kind scsi.ReservationType, p scsi.ReserveParameters) (scsi.CDB, []byte) {
	list := p.Append(nil)
	return cdb(scsi.PersistentReserveOut{Action: action, Type: kind, ParameterListLength: uint32(len(list))}), list
}

// reserve carries one out.
func (c *client) reserve(s *store, want scsi.Status, action scsi.ReserveOutAction, kind scsi.ReservationType, p scsi.ReserveParameters) {
	c.tb.Helper()
	x, list := prOut(action, kind, p)
	cmd := c.command(0, x, list, 0)
	if c.start(cmd) && s != nil {
		s.run()
	}
	if cmd.Status != want || cmd.task.state != taskFree {
		c.tb.Fatalf("%v: %v %v, want %v", action, cmd.Status, senseOf(c.tb, cmd), want)
	}
}

const conflicted = scsi.StatusReservationConflict

// TestReservationKeptOverRestart: with APTPL the store has the state before GOOD
// is sent, and a new unit begins with it (PERSISTENT RESERVE OUT, APTPL).
func TestReservationKeptOverRestart(t *testing.T) {
	s := &store{}
	x := newBed(t, UnitConfig{Store: s})
	a, o := x.open(0, 1), x.open(1, 1)
	a.reserve(s, scsi.StatusGood, scsi.Register, 0, scsi.ReserveParameters{ActionKey: 7, Persist: true})
	a.reserve(s, scsi.StatusGood, scsi.Reserve, scsi.WriteExclusive, scsi.ReserveParameters{Key: 7})
	if s.data == nil {
		t.Fatal("nothing was kept")
	}
	o.status(conflicted, writeCDB(0, 1), pattern(1, 512), 0)

	y := newBed(t, UnitConfig{Store: s, Reservations: s.data})
	if y.unit.Allows(true) || !y.unit.Allows(false) {
		t.Error("the reservation does not hold for one that is no nexus")
	}
	a, o = y.open(0, 1), y.open(1, 1)
	o.status(conflicted, writeCDB(0, 1), pattern(1, 512), 0)
	o.good(readCDB(0, 1), nil, 512)
	a.good(writeCDB(0, 1), pattern(1, 512), 0)
	r, err := scsi.DecodeReservation(o.good(cdb(scsi.PersistentReserveIn{Action: scsi.ReadReservation, AllocationLength: 64}), nil, 64))
	if err != nil || !r.Held || r.Key != 7 || r.Type != scsi.WriteExclusive {
		t.Errorf("reservation %+v, %v", r, err)
	}
	saves := s.saves
	a.reserve(s, scsi.StatusGood, scsi.Register, 0, scsi.ReserveParameters{Key: 7, ActionKey: 7})
	if s.data != nil || s.saves != saves+1 {
		t.Errorf("APTPL was cleared: %q is kept after %d saves", s.data, s.saves-saves)
	}
	if !newBed(t, UnitConfig{Store: s, Reservations: s.data}).unit.Allows(true) {
		t.Error("a reservation without APTPL outlives a restart")
	}
	if _, err := NewUnit(UnitConfig{Device: memory(t, 1<<20), Reservations: []byte(`{"type":5}`)}); err == nil {
		t.Error("kept nonsense is accepted")
	}
}

// TestReservationStoreFails: what is not durable is not done.
func TestReservationStoreFails(t *testing.T) {
	s := &store{fail: errors.New("disk full")}
	a := newBed(t, UnitConfig{Store: s}).open(0, 1)
	a.reserve(s, scsi.StatusCheckCondition, scsi.Register, 0, scsi.ReserveParameters{ActionKey: 7, Persist: true})
	a.reserve(s, conflicted, scsi.Reserve, scsi.WriteExclusive, scsi.ReserveParameters{Key: 7})
	a.reserve(s, scsi.StatusGood, scsi.Register, 0, scsi.ReserveParameters{ActionKey: 7})
	without := newBed(t, UnitConfig{}).open(0, 1)
	x, list := prOut(scsi.Register, 0, scsi.ReserveParameters{ActionKey: 1, Persist: true})
	without.fails(scsi.CodeInvalidFieldInParameters, x, list, 0)
}

// TestReservationsInTurn: while the store works, others wait and reads go on.
func TestReservationsInTurn(t *testing.T) {
	s := &store{hold: true}
	x := newBed(t, UnitConfig{Store: s})
	a, o := x.open(0, 1), x.open(1, 1)
	cdb1, list1 := prOut(scsi.Register, 0, scsi.ReserveParameters{ActionKey: 1, Persist: true})
	cdb2, list2 := prOut(scsi.Register, 0, scsi.ReserveParameters{ActionKey: 2})
	first, second := a.command(0, cdb1, list1, 0), o.command(0, cdb2, list2, 0)
	a.start(first)
	o.start(second)
	o.good(readCDB(0, 1), nil, 512)
	if a.ended(first) || o.ended(second) {
		t.Fatal("answered before it is durable")
	}
	s.hold = false
	s.run()
	if !a.ended(first) || !o.ended(second) || first.Status != scsi.StatusGood || second.Status != scsi.StatusGood {
		t.Fatalf("ended %v with %v, %v with %v", a.ended(first), first.Status, o.ended(second), second.Status)
	}
	k, err := scsi.DecodeRegisteredKeys(a.good(cdb(scsi.PersistentReserveIn{AllocationLength: 64}), nil, 64))
	if err != nil || !slices.Equal(k.Keys, []uint64{1, 2}) || k.Generation != 2 {
		t.Errorf("keys %+v, %v", k, err)
	}
}

// TestPreemptAndAbort: the answer comes after the tasks of the preempted nexus
// have ended; it learns of it.
func TestPreemptAndAbort(t *testing.T) {
	d := newSlow(t)
	d.stuck = true
	x := newBed(t, UnitConfig{Device: d})
	a, o := x.open(0, 1), x.open(1, 2)
	for i, c := range []*client{a, o} {
		c.reserve(nil, scsi.StatusGood, scsi.Register, 0, scsi.ReserveParameters{ActionKey: uint64(i + 1)})
	}
	o.reserve(nil, scsi.StatusGood, scsi.Reserve, scsi.WriteExclusiveRegistrantsOnly, scsi.ReserveParameters{Key: 2})
	write := o.command(0, writeCDB(5, 1), pattern(1, 512), 0)
	o.start(write)
	p, list := prOut(scsi.PreemptAndAbort, scsi.WriteExclusiveRegistrantsOnly, scsi.ReserveParameters{Key: 1, ActionKey: 2})
	preempt := a.command(0, p, list, 0)
	a.start(preempt)
	if a.ended(preempt) {
		t.Fatal("answered while a write of the other nexus runs")
	}
	d.finish(t, 5)
	if !a.ended(preempt) || preempt.Status != scsi.StatusGood || !o.ended(write) {
		t.Fatalf("ended %v with %v", a.ended(preempt), preempt.Status)
	}
	o.fails(scsi.CodeRegistrationsPreempted, tur(), nil, 0)
	o.status(conflicted, writeCDB(5, 1), pattern(1, 512), 0)
}

// TestReserveRelease: RESERVE of SPC-2 and what it does to the others.
func TestReserveRelease(t *testing.T) {
	for _, op := range []scsi.Opcode{scsi.OpReserve6, scsi.OpReserve10} {
		t.Run(op.String(), func(t *testing.T) {
			x := newBed(t, UnitConfig{})
			a, o := x.open(0, 1), x.open(1, 1)
			reserve, release := scsi.CDB{byte(op)}, scsi.CDB{byte(op) + 1}
			a.good(reserve, nil, 0)
			a.good(reserve, nil, 0)
			a.good(readCDB(0, 1), nil, 512)
			a.status(conflicted, cdb(scsi.PersistentReserveIn{AllocationLength: 8}), nil, 8)
			for _, c := range []scsi.CDB{reserve, tur(), readCDB(0, 0), cdb(scsi.PersistentReserveIn{AllocationLength: 8})} {
				o.status(conflicted, c, nil, 0)
			}
			o.good(release, nil, 0)
			o.good(cdb(scsi.Inquiry{AllocationLength: 36}), nil, 36)
			o.good(cdb(scsi.ReportLUNs{AllocationLength: 16}), nil, 16)
			if x.unit.Allows(false) {
				t.Error("it does not hold for one that is no nexus")
			}
			a.good(release, nil, 0)
			o.good(tur(), nil, 0)
			o.good(reserve, nil, 0)
			done, _ := doneOf(t)
			a.n.LogicalUnitReset(&a.batch, scsi.LUN(0).Field(), done)
			a.batch.Run()
			a.fails(scsi.CodeDeviceReset, tur(), nil, 0)
			a.reserve(nil, scsi.StatusGood, scsi.Register, 0, scsi.ReserveParameters{ActionKey: 1})
			a.status(conflicted, reserve, nil, 0)
		})
	}
}

// TestReserveWhileRegistering: a RESERVE that comes while a registration is being kept
// does not get between.
func TestReserveWhileRegistering(t *testing.T) {
	s := &store{hold: true}
	x := newBed(t, UnitConfig{Store: s})
	a, o := x.open(0, 1), x.open(1, 1)
	p, list := prOut(scsi.Register, 0, scsi.ReserveParameters{ActionKey: 1, Persist: true})
	a.start(a.command(0, p, list, 0))
	o.status(conflicted, scsi.CDB{byte(scsi.OpReserve6)}, nil, 0)
	s.hold = false
	s.run()
	a.reserve(s, scsi.StatusGood, scsi.Reserve, scsi.ExclusiveAccess, scsi.ReserveParameters{Key: 1})
}

// TestReservationAccess: a command of each class in the presence of reservations.
func TestReservationAccess(t *testing.T) {
	classes := []struct {
		cdb  scsi.CDB
		out  []byte
		need access
	}{
		{cdb(scsi.Inquiry{AllocationLength: 36}), nil, accessFree},
		{tur(), nil, accessOpen},
		{cdb(scsi.ReadCapacity10{}), nil, accessOpen},
		{cdb(scsi.StartStopUnit{Start: true}), nil, accessOpen},
		{cdb(scsi.StartStopUnit{}), nil, accessWrite},
		{readCDB(0, 1), nil, accessRead},
		{cdb(scsi.Verify{Blocks: 1}), nil, accessRead},
		{writeCDB(0, 1), pattern(0, 512), accessWrite},
		{cdb(scsi.Unmap{ParameterListLength: 8}), []byte{0, 6, 0, 0, 0, 0, 0, 0}, accessWrite},
		{cdb(scsi.SynchronizeCache{}), nil, accessWrite},
		{cdb(scsi.ModeSense{Page: scsi.AllModePages, AllocationLength: 64}), nil, accessRead},
		{cdb(scsi.ModeSense{Size: 10, Page: scsi.CachingMode, AllocationLength: 64}), nil, accessRead},
	}
	for kind, level := range map[scsi.ReservationType]access{scsi.WriteExclusive: accessRead, scsi.ExclusiveAccess: accessOpen} {
		x := newBed(t, UnitConfig{})
		a, o := x.open(0, 1), x.open(1, 1)
		a.reserve(nil, scsi.StatusGood, scsi.Register, 0, scsi.ReserveParameters{ActionKey: 1})
		a.reserve(nil, scsi.StatusGood, scsi.Reserve, kind, scsi.ReserveParameters{Key: 1})
		for _, tt := range classes {
			want := scsi.StatusGood
			if tt.need > level {
				want = conflicted
			}
			o.status(want, tt.cdb, tt.out, 512)
			a.status(scsi.StatusGood, tt.cdb, tt.out, 512)
		}
	}
}

// TestB26ReserveLists: parameter lists that are too long, too short, or lie.
func TestB26ReserveLists(t *testing.T) {
	c := newBed(t, UnitConfig{}).open(0, 1)
	good := scsi.ReserveParameters{ActionKey: 1}.Append(nil)
	lies := append(slices.Clone(good), 0, 0, 1, 0)
	lies[20] = 0x08
	for name, list := range map[string][]byte{
		"short": good[:23], "too long": append(slices.Clone(good), 0), "above 4096": make([]byte, 4097), "lying": lies,
	} {
		t.Run(name, func(t *testing.T) {
			x := cdb(scsi.PersistentReserveOut{ParameterListLength: uint32(len(list))})
			c.fails(scsi.CodeParameterListLength, x, list, 0)
		})
	}
	x := cdb(scsi.PersistentReserveOut{Action: scsi.Reserve, Scope: 1, ParameterListLength: 24})
	c.fails(scsi.CodeInvalidFieldInCDB, x, good, 0)
	x = cdb(scsi.PersistentReserveOut{Action: scsi.Register, Scope: 1, Type: 4, ParameterListLength: 24})
	c.good(x, good, 0) // which means nothing there
	x = cdb(scsi.PersistentReserveOut{ParameterListLength: 24})
	x[1] = 0x1f
	c.fails(scsi.CodeInvalidFieldInCDB, x, good, 0)
}

// TestReadFullStatus: registrations of others (SPEC_I_PT), all ports, and a moved
// reservation, as PERSISTENT RESERVE IN tells them.
func TestReadFullStatus(t *testing.T) {
	s := &store{}
	x := newBed(t, UnitConfig{Store: s})
	a, o := x.open(0, 1), x.open(1, 2)
	a.reserve(s, scsi.StatusGood, scsi.Register, 0, scsi.ReserveParameters{ActionKey: 1, Initiators: []scsi.TransportID{initiator(2)}})
	o.reserve(s, scsi.StatusGood, scsi.Register, 0, scsi.ReserveParameters{ActionKey: 2, AllPorts: true})
	a.reserve(s, scsi.StatusGood, scsi.Reserve, scsi.ExclusiveAccess, scsi.ReserveParameters{Key: 1})
	move := func(port uint16) (scsi.CDB, []byte) {
		list := scsi.MoveParameters{Key: 1, ActionKey: 9, RelativePort: port, Initiator: initiator(3), Persist: true}.Append(nil)
		return cdb(scsi.PersistentReserveOut{Action: scsi.RegisterAndMove, Type: scsi.ExclusiveAccess, ParameterListLength: uint32(len(list))}), list
	}
	wrong, list := move(7)
	a.fails(scsi.CodeInvalidFieldInParameters, wrong, list, 0)
	right, list := move(2)
	cmd := a.command(0, right, list, 0)
	a.start(cmd)
	s.run()
	if cmd.Status != scsi.StatusGood || s.data == nil {
		t.Fatalf("REGISTER AND MOVE: %v %v", cmd.Status, senseOf(t, cmd))
	}
	in := cdb(scsi.PersistentReserveIn{Action: scsi.ReadFullStatus, AllocationLength: 1024})
	generation, regs, err := scsi.DecodeFullStatus(o.good(in, nil, 1024))
	if err != nil || generation != 3 {
		t.Fatalf("generation %d, %v", generation, err)
	}
	want := []scsi.Registration{
		{Key: 1, RelativePort: 1, Initiator: initiator(0)},
		{Key: 1, RelativePort: 1, Initiator: initiator(2)},
		{Key: 2, AllPorts: true, Initiator: initiator(1)},
		{Key: 9, RelativePort: 2, Initiator: initiator(3), Holder: true, Type: scsi.ExclusiveAccess},
	}
	if !slices.Equal(regs, want) {
		t.Errorf("got %+v, want %+v", regs, want)
	}
	moved := x.openRaw(3, 2)
	moved.fails(scsi.CodeResetOccurred, tur(), nil, 0)
	moved.good(writeCDB(0, 1), pattern(1, 512), 0)
	a.status(conflicted, readCDB(0, 1), nil, 512)
	caps, err := scsi.DecodeReservationCapabilities(a.good(cdb(scsi.PersistentReserveIn{Action: scsi.ReportCapabilities, AllocationLength: 64}), nil, 64))
	if err != nil || !caps.PersistCapable || !caps.PersistActive || !caps.SpecifyPorts || !caps.AllTargetPorts || !caps.Types.Has(scsi.WriteExclusiveAllRegistrants) {
		t.Errorf("capabilities %+v, %v", caps, err)
	}
}

// A name without an ISID registers all ports of that initiator that are there, and
// is refused when none is; REGISTER AND MOVE needs one port.
func TestRegisterByName(t *testing.T) {
	s := &store{}
	x := newBed(t, UnitConfig{Store: s})
	a, b := x.open(0, 1), x.open(1, 1)
	second, err := x.target.Open(NexusConfig{Initiator: scsi.TransportID{
		Protocol: scsi.ProtocolISCSI, Name: initiator(1).Name, ISID: [6]byte{9}, HasISID: true,
	}, Port: 1})
	if err != nil {
		t.Fatal(err)
	}
	other := &client{tb: t, n: second}
	other.do(tur(), nil, 0)
	name := scsi.TransportID{Protocol: scsi.ProtocolISCSI, Name: initiator(1).Name}
	nobody := scsi.TransportID{Protocol: scsi.ProtocolISCSI, Name: "iqn.2026-11.test:nobody"}
	a.reserve(s, scsi.StatusCheckCondition, scsi.Register, 0, scsi.ReserveParameters{ActionKey: 1, Initiators: []scsi.TransportID{name, nobody}})
	a.reserve(s, scsi.StatusGood, scsi.Register, 0, scsi.ReserveParameters{ActionKey: 1, Initiators: []scsi.TransportID{name}})
	_, list, err := scsi.DecodeFullStatus(a.good(cdb(scsi.PersistentReserveIn{Action: scsi.ReadFullStatus, AllocationLength: 512}), nil, 512))
	if err != nil || len(list) != 3 {
		t.Errorf("%+v, %v, want three ports", list, err)
	}
	for _, c := range []*client{b, other} {
		c.do(tur(), nil, 0) // the unit attention of the release before
		c.reserve(s, scsi.StatusGood, scsi.Reserve, scsi.WriteExclusiveRegistrantsOnly, scsi.ReserveParameters{Key: 1})
		c.reserve(s, scsi.StatusGood, scsi.Release, scsi.WriteExclusiveRegistrantsOnly, scsi.ReserveParameters{Key: 1})
	}
	a.do(tur(), nil, 0)
	a.reserve(s, scsi.StatusGood, scsi.Reserve, scsi.WriteExclusive, scsi.ReserveParameters{Key: 1})
	move := scsi.MoveParameters{Key: 1, ActionKey: 2, RelativePort: 1, Initiator: name}.Append(nil)
	a.fails(scsi.CodeInvalidFieldInParameters, cdb(scsi.PersistentReserveOut{Action: scsi.RegisterAndMove, ParameterListLength: uint32(len(move))}), move, 0)
}
