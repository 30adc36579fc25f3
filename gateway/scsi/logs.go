// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"encoding/binary"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// Log pages (SPC-4): what smartctl and sg_logs ask every disk for.
const (
	logSupported     = 0x00
	logInformational = 0x2f
	logAllSubpages   = 0xff
)

// checkLogSense reads LOG SENSE. The values are the same for every kind (PC).
func checkLogSense(t *task) scsi.Sense {
	page, subpage := t.c.CDB[2]&0x3f, t.c.CDB[3]
	switch {
	case page != logSupported && page != logInformational:
		return badField(2, 5)
	case subpage != 0 && (subpage != logAllSubpages || page != logSupported):
		return badField(3, scsi.NoBit)
	}
	return checkAllocation(t)
}

// logSense is LOG SENSE: which pages there are, and that there is no informational
// exception, nor a temperature.
func logSense(b *backends.Batch, t *task) {
	page, subpage := t.c.CDB[2]&0x3f, t.c.CDB[3]
	var data []byte
	switch {
	case page == logInformational:
		data = []byte{0, 0, 0x03, 4, 0, 0, 0xff, 0} // parameter 0: ASC, ASCQ, temperature
	case subpage == logAllSubpages:
		data = []byte{logSupported, 0, logSupported, logAllSubpages, logInformational, 0}
	default:
		data = []byte{logSupported, logInformational}
	}
	head := []byte{page, subpage, 0, 0}
	if subpage != 0 {
		head[0] |= 0x40 // SPF
	}
	binary.BigEndian.PutUint16(head[2:], uint16(len(data)))
	t.reply(append(head, data...))
	t.finish(b, backends.Done())
}

// checkDiagnostic reads RECEIVE DIAGNOSTIC RESULTS.
func checkDiagnostic(t *task) scsi.Sense {
	if t.c.CDB[1]&0x01 != 0 && t.c.CDB[2] != 0 {
		return badField(2, scsi.NoBit)
	}
	t.demand.dir, t.demand.alloc = scsi.DataIn, uint64(binary.BigEndian.Uint16(t.c.CDB[3:]))
	return scsi.Sense{}
}

// receiveDiagnostic is RECEIVE DIAGNOSTIC RESULTS: of pages there is the list of pages.
func receiveDiagnostic(b *backends.Batch, t *task) {
	t.reply([]byte{0, 0, 0, 1, 0})
	t.finish(b, backends.Done())
}
