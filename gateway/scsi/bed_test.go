// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

const targetName = "iqn.2026-11.internal.pathgate:vm1"

// bed is a target with one unit as LUN 0.
type bed struct {
	tb     testing.TB
	target *Target
	unit   *Unit
}

func memory(tb testing.TB, size uint64) *backends.Memory {
	tb.Helper()
	m, err := backends.NewMemory(size)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func newBed(tb testing.TB, cfg UnitConfig) *bed {
	tb.Helper()
	if cfg.Device == nil {
		cfg.Device = memory(tb, 4<<20)
	}
	cfg.UUID = [16]byte{1, 2, 3}
	u, err := NewUnit(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	target, err := NewTarget(TargetConfig{Name: targetName, Ports: []Port{
		{Relative: 1, PortalGroupTag: 1, Group: 1}, {Relative: 2, PortalGroupTag: 2, Group: 2},
	}})
	if err != nil {
		tb.Fatal(err)
	}
	b := &bed{tb, target, u}
	b.add(0, u)
	return b
}

func (x *bed) add(lun scsi.LUN, u *Unit) {
	x.tb.Helper()
	if err := x.target.Add(lun, Mapping{Unit: u, Origin: backends.Origin{VM: "vm1"}}); err != nil {
		x.tb.Fatal(err)
	}
}

// client is an initiator port at one target port. Its methods belong to the
// test's goroutine.
type client struct {
	tb    testing.TB
	n     *Nexus
	batch backends.Batch

	mu   sync.Mutex
	ends []*Command // in the order of their end
}

// open logs in; the unit attention of that is taken.
func (x *bed) open(id byte, port uint16) *client {
	x.tb.Helper()
	c := x.openRaw(id, port)
	for _, lun := range x.target.LUNs() {
		c.at(lun, tur(), nil, 0)
	}
	return c
}

func (x *bed) openRaw(id byte, port uint16) *client {
	x.tb.Helper()
	n, err := x.target.Open(NexusConfig{Initiator: initiator(id), Port: port})
	if err != nil {
		x.tb.Fatal(err)
	}
	return &client{tb: x.tb, n: n}
}

func initiator(id byte) scsi.TransportID {
	return scsi.TransportID{
		Protocol: scsi.ProtocolISCSI, Name: "iqn.2026-11.test:host" + string('a'+rune(id)),
		ISID: [6]byte{0x80, id}, HasISID: true,
	}
}

// CommandDone records an end.
func (c *client) CommandDone(_ *backends.Batch, cmd *Command) {
	c.mu.Lock()
	c.ends = append(c.ends, cmd)
	c.mu.Unlock()
}

func (c *client) ended(cmd *Command) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range c.ends {
		if x == cmd {
			return true
		}
	}
	return false
}

// command makes a command; in is the data that is expected, when out is nil.
func (c *client) command(lun scsi.LUN, cdb scsi.CDB, out []byte, in int) *Command {
	cmd := &Command{LUN: lun.Field(), CDB: cdb, Attribute: Simple, Completer: c}
	switch {
	case out != nil:
		cmd.Write, cmd.Expected = true, uint32(len(out))
		cmd.Out.AppendBytes(out)
	case in > 0:
		cmd.Read, cmd.Expected = true, uint32(in)
	}
	return cmd
}

// start begins and submits cmd; false: Begin has ended it.
func (c *client) start(cmd *Command) bool {
	if !c.n.Begin(cmd) {
		return false
	}
	c.n.Submit(&c.batch, []*Command{cmd})
	c.batch.Run()
	return true
}

// at carries out one command of a device that answers at once.
func (c *client) at(lun scsi.LUN, cdb scsi.CDB, out []byte, in int) *Command {
	c.tb.Helper()
	cmd := c.command(lun, cdb, out, in)
	if c.start(cmd) && !c.ended(cmd) {
		c.tb.Fatalf("%v has not ended", cdb.Opcode())
	}
	cmd.Out.Release()
	return cmd
}

// allEnded waits until n commands have ended: a CommandDone may come a little
// later than the answer of a task management function.
func (c *client) allEnded(n int) {
	for end := time.Now().Add(30 * time.Second); ; runtime.Gosched() {
		c.mu.Lock()
		have := len(c.ends)
		c.mu.Unlock()
		if have == n {
			return
		}
		if have > n || time.Now().After(end) {
			c.tb.Errorf("%d ends of %d commands", have, n)
			return
		}
	}
}

func (c *client) do(cdb scsi.CDB, out []byte, in int) *Command {
	c.tb.Helper()
	return c.at(0, cdb, out, in)
}

// good carries out one command that has to succeed, and gives its data.
func (c *client) good(cdb scsi.CDB, out []byte, in int) []byte {
	c.tb.Helper()
	cmd := c.do(cdb, out, in)
	if cmd.Status != scsi.StatusGood {
		c.tb.Fatalf("%v: %v %v, want good", cdb.Opcode(), cmd.Status, senseOf(c.tb, cmd))
	}
	data := append([]byte(nil), cmd.In.Bytes()...)
	cmd.In.Release()
	return data
}

// fails carries out one command that has to end with a sense code.
func (c *client) fails(want scsi.SenseCode, cdb scsi.CDB, out []byte, in int) scsi.Sense {
	c.tb.Helper()
	cmd := c.do(cdb, out, in)
	s := senseOf(c.tb, cmd)
	if cmd.Status != scsi.StatusCheckCondition || !s.Is(want) {
		c.tb.Fatalf("%v: %v %v, want %v", cdb.Opcode(), cmd.Status, s, want)
	}
	return s
}

// ends carries out one command that has to end with a status.
func (c *client) status(want scsi.Status, cdb scsi.CDB, out []byte, in int) {
	c.tb.Helper()
	if cmd := c.do(cdb, out, in); cmd.Status != want {
		c.tb.Fatalf("%v: %v %v, want %v", cdb.Opcode(), cmd.Status, senseOf(c.tb, cmd), want)
	}
}

func senseOf(tb testing.TB, cmd *Command) scsi.Sense {
	tb.Helper()
	if len(cmd.Sense) == 0 {
		return scsi.Sense{}
	}
	s, err := scsi.DecodeSense(cmd.Sense)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

type encoder interface{ Encode(b *[16]byte) int }

// cdb encodes a command.
func cdb(c encoder) scsi.CDB {
	var b [16]byte
	if c.Encode(&b) == 0 {
		panic("impossible command")
	}
	return b
}

func tur() scsi.CDB { return cdb(scsi.TestUnitReady{}) }

func readCDB(lba uint64, blocks uint32) scsi.CDB {
	return cdb(scsi.ReadWrite{LBA: lba, Blocks: blocks})
}

func writeCDB(lba uint64, blocks uint32) scsi.CDB {
	return cdb(scsi.ReadWrite{Write: true, LBA: lba, Blocks: blocks})
}

// pattern gives n bytes that tell where they belong.
func pattern(seed byte, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i/512) ^ byte(i) ^ seed
	}
	return p
}
