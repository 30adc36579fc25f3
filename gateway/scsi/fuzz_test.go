// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"testing"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// FuzzCommands plays commands on two nexuses of a disk that takes short requests
// only. Of the input, each command takes a header of 4 bytes (nexus and flags,
// attribute, expected length in 64 bytes, length of the Data-Out that follows the
// CDB, in bytes), 16 bytes of CDB and its Data-Out, which is repeated as often as
// needed. Nothing panics; every command that is let in ends once; what comes back
// fits what was expected.
func FuzzCommands(f *testing.F) {
	seed := func(c scsi.CDB, flags, expected byte, out []byte) []byte {
		b := append([]byte{flags, 1, expected, byte(len(out))}, c[:]...)
		return append(b, out...)
	}
	for i := range commands() {
		var c scsi.CDB
		e := commands()[i]
		copy(c[:], e.usage[:])
		f.Add(seed(c, 1, 64, nil))
		if e.action != noAction {
			c[1] = byte(e.action)
		}
		for j := 2; j < len(c); j++ {
			c[j] &= 0x01
		}
		f.Add(append(seed(c, 1, 64, nil), seed(c, 2, 64, []byte{1, 2, 3, 0, 0})...))
	}
	f.Add(append(seed(cdb(scsi.PersistentReserveOut{ParameterListLength: 24}), 2, 1, scsi.ReserveParameters{ActionKey: 1}.Append(nil)),
		seed(cdb(scsi.PersistentReserveOut{Action: scsi.Reserve, Type: scsi.WriteExclusive, ParameterListLength: 24}), 2, 1, scsi.ReserveParameters{Key: 1}.Append(nil))...))
	f.Add(seed(cdb(scsi.Unmap{ParameterListLength: 24}), 2, 1, scsi.AppendUnmapList(nil, []scsi.BlockRange{{LBA: 1, Blocks: 9}})))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := newLimited(t, func(i *backends.Info) { i.MaxTransfer, i.MaxZeroes, i.MaxUnmap = 8192, 4096, 4096 })
		x := newBed(t, UnitConfig{Device: d, MaxTransfer: 1 << 20})
		clients := []*client{x.open(0, 1), x.open(1, 2)}
		for len(data) >= 20 {
			c := clients[data[0]>>7]
			cmd := c.command(0, scsi.CDB(data[4:20]), nil, 0)
			cmd.Read, cmd.Write = data[0]&1 != 0, data[0]&2 != 0
			if data[0]&4 != 0 {
				cmd.LUN[1] = data[1]
			}
			cmd.Attribute = Attribute(data[1] & 7)
			cmd.Expected = uint32(data[2]) * 64
			n := min(int(data[3]), len(data)-20)
			play := data[20 : 20+n]
			data = data[20+n:]
			fuzzOne(t, c, cmd, play)
		}
		for _, c := range clients {
			closed := false
			c.n.Close(&c.batch, func(*backends.Batch, backends.Result) { closed = true })
			c.batch.Run()
			if !closed {
				t.Error("a nexus does not close")
			}
		}
		if x.unit.tasks.first != nil {
			t.Error("the task set is not empty")
		}
	})
}

func fuzzOne(t *testing.T, c *client, cmd *Command, out []byte) {
	let := c.n.Begin(cmd)
	if let {
		if cmd.Want > cmd.Expected {
			t.Fatalf("%v wants %d of %d bytes", cmd.CDB, cmd.Want, cmd.Expected)
		}
		payload := make([]byte, cmd.Want)
		for i := range payload {
			if len(out) > 0 {
				payload[i] = out[i%len(out)]
			}
		}
		cmd.Out.AppendBytes(payload)
		c.n.Submit(&c.batch, []*Command{cmd})
		c.batch.Run()
	}
	ends := 0
	for _, e := range c.ends {
		if e == cmd {
			ends++
		}
	}
	if let != (ends == 1) {
		t.Fatalf("%v: let in %v, %d ends", cmd.CDB, let, ends)
	}
	c.ends = c.ends[:0]
	if cmd.In.Len() > int(cmd.Expected) || cmd.Silent {
		t.Fatalf("%v: %d bytes of %d, silent %v", cmd.CDB, cmd.In.Len(), cmd.Expected, cmd.Silent)
	}
	if (cmd.Status == scsi.StatusCheckCondition) != (len(cmd.Sense) > 0) {
		t.Fatalf("%v: %v with %d bytes of sense", cmd.CDB, cmd.Status, len(cmd.Sense))
	}
	if len(cmd.Sense) > 0 {
		senseOf(t, cmd)
	}
	cmd.In.Release()
	cmd.Out.Release()
}
