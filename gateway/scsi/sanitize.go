// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"bytes"
	"errors"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// checkSanitize reads SANITIZE. Only an overwrite has parameters.
func checkSanitize(t *task) scsi.Sense {
	c, err := scsi.DecodeSanitize(t.raw())
	if err != nil {
		return scsi.CodeInvalidFieldInCDB.Sense()
	}
	n := uint32(c.ParameterListLength)
	if overwrite := c.Action == scsi.ActionOverwrite; !overwrite && n != 0 ||
		overwrite && (n <= 4 || n > t.l.u.cfg.BlockSize+4) {
		return badField(7, scsi.NoBit)
	}
	if n > 0 {
		t.demand.dir, t.demand.length = scsi.DataOut, uint64(n)
	}
	return scsi.Sense{}
}

// sanitize is SANITIZE, overwrite and block erase.
func sanitize(b *backends.Batch, t *task) {
	c, _ := scsi.DecodeSanitize(t.raw())
	p := erasurePlan{Exit: c.Unrestricted}
	if c.Action == scsi.ActionBlockErase {
		t.erase(b, t.l.u.newErasure(p), c.Immediate)
		return
	}
	o, err := scsi.DecodeOverwrite(t.c.Out.Bytes()[:t.demand.length], t.l.u.cfg.BlockSize)
	switch {
	case errors.Is(err, scsi.ErrTruncated):
		t.deny(b, scsi.CodeParameterListLength.Sense())
	case err != nil:
		t.deny(b, badParameter(0))
	default:
		o.Pattern = bytes.Clone(o.Pattern) // it is the command's
		p.Overwrite = &o
		t.erase(b, t.l.u.newErasure(p), c.Immediate)
	}
}

// checkFormat reads FORMAT UNIT. How long its parameter list is, only the
// initiator's expectation tells.
func checkFormat(t *task) scsi.Sense {
	c, err := scsi.DecodeFormatUnit(t.raw())
	switch {
	case err != nil:
		return scsi.CodeInvalidFieldInCDB.Sense()
	case !c.Data && c != scsi.FormatUnit{}:
		return badField(1, 4) // what tells of a list that there is not
	case !c.Data:
		return scsi.Sense{}
	}
	n := uint32(c.HeaderBytes())
	if t.c.Write {
		n = min(max(n, t.c.Expected), formatBytes)
	}
	t.demand.dir, t.demand.length = scsi.DataOut, uint64(n)
	return scsi.Sense{}
}

// formatBytes bounds the parameter list of FORMAT UNIT, of which the header is
// looked at.
const formatBytes = 512

// formatUnit is FORMAT UNIT: the blocks become zeros, unmapped where the device
// can. The medium has no defects and takes no list of any, no pattern and no
// protection information; its form cannot be changed.
func formatUnit(b *backends.Batch, t *task) {
	c, _ := scsi.DecodeFormatUnit(t.raw())
	var f scsi.Format
	if c.Data {
		var err error
		f, err = scsi.DecodeFormat(t.c.Out.Bytes(), c)
		wrong := -1
		switch {
		case err != nil, f.InitializationPattern:
			wrong = 1
		case f.ProtectionUsage != 0:
			wrong = 0
		case f.DefectBytes != 0:
			wrong = c.HeaderBytes() / 2 // both forms have it in their second half
		}
		if wrong >= 0 {
			t.deny(b, badParameter(wrong))
			return
		}
	}
	t.erase(b, t.l.u.newErasure(erasurePlan{Format: true}), f.Immediate)
}
