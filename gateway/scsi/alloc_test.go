// SPDX-License-Identifier: Apache-2.0

//go:build !race

package scsi

import (
	"testing"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// taker takes what commands gave, as a transport does.
type taker struct{ done int }

// CommandDone drops the Data-In.
func (x *taker) CommandDone(_ *backends.Batch, c *Command) {
	x.done++
	c.In.Release()
}

// TestReadWriteDoNotAllocate: the whole way of READ and WRITE, and of commands
// that are refused.
func TestReadWriteDoNotAllocate(t *testing.T) {
	tests := []struct {
		name     string
		cdb      scsi.CDB
		expected int
		write    bool
	}{
		{"read", readCDB(0, 8), 4 << 10, false},
		{"read 256k", readCDB(0, 512), 256 << 10, false},
		{"write", writeCDB(0, 8), 4 << 10, true},
		{"write 256k", writeCDB(0, 512), 256 << 10, true},
		{"out of range", readCDB(1<<30, 8), 4 << 10, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newBed(t, UnitConfig{}).open(0, 1).n
			var b backends.Batch
			var end taker
			cs := make([]*Command, 4)
			for i := range cs {
				cs[i] = &Command{LUN: scsi.LUN(0).Field(), CDB: tt.cdb, Attribute: Simple, Completer: &end, Expected: uint32(tt.expected)}
				cs[i].Write, cs[i].Read = tt.write, !tt.write
				if tt.write {
					cs[i].Out.AppendBytes(pattern(1, tt.expected))
				}
			}
			run := func() {
				k := 0
				for _, c := range cs {
					if n.Begin(c) {
						cs[k] = c
						k++
					}
				}
				n.Submit(&b, cs[:k])
				b.Run()
			}
			run()
			if got := testing.AllocsPerRun(100, run); got != 0 {
				t.Errorf("%v allocations for %d commands, want 0", got, len(cs))
			}
		})
	}
}

func BenchmarkRead4k(b *testing.B) {
	n := newBed(b, UnitConfig{}).open(0, 1).n
	var batch backends.Batch
	var end taker
	c := &Command{LUN: scsi.LUN(0).Field(), CDB: readCDB(8, 8), Read: true, Expected: 4096, Completer: &end}
	cs := []*Command{c}
	b.ReportAllocs()
	for b.Loop() {
		n.Begin(c)
		n.Submit(&batch, cs)
		batch.Run()
	}
}
