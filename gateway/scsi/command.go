// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"pathgate/backends"
	"pathgate/internal/buffer"
	"pathgate/internal/scsi"
)

// Attribute is a task attribute with the codes of the SCSI Command PDU
// (RFC 7143 11.3.1).
type Attribute uint8

// Task attributes.
const (
	Untagged    Attribute = 0 // is treated as Simple
	Simple      Attribute = 1
	Ordered     Attribute = 2
	HeadOfQueue Attribute = 3
	ACA         Attribute = 4 // refused: there is no auto contingent allegiance
)

// Completer is told the end of a command.
type Completer interface {
	// CommandDone is called once for each command that Begin let in, by the Run of
	// a batch, on any goroutine and with no lock held. The command is the
	// transport's again. It must not block.
	CommandDone(b *backends.Batch, c *Command)
}

// Command is one task. Owners pool commands and use them again after their end;
// Begin clears what was left of the use before, except Out, which is the owner's.
type Command struct {
	// LUN, CDB, Attribute and Tag as received. The CDB is zero behind its length;
	// longer ones (AHS) are not supported and refused by the transport.
	LUN       scsi.LUNField
	CDB       scsi.CDB
	Attribute Attribute
	Tag       uint32
	// Read and Write are the R and W bits: which way the initiator expects data.
	// Both: refused. Expected is the expected data transfer length in bytes.
	Read, Write bool
	Expected    uint32
	// Out is the Data-Out, Want bytes at Submit. The owner releases it.
	Out buffer.Vec
	// Completer is told the end. Not nil.
	Completer Completer

	// Want is how many bytes of Data-Out are to be collected before Submit; at
	// most Expected. Written by Begin.
	Want uint32
	// Status and what follows are written at the end.
	Status scsi.Status
	// Sense is sense data, empty without any. It borrows memory of the command.
	Sense []byte
	// In is the Data-In, at most Expected bytes. The owner takes it.
	In buffer.Vec
	// Residual is the difference of Expected and what the command had to move:
	// Overflow when the command had more, else bytes that were not used.
	Residual uint32
	Overflow bool
	// Silent: no response is to be sent, the task was aborted.
	Silent bool

	task      task
	senseData [scsi.MaxSenseBytes]byte
}
