// SPDX-License-Identifier: Apache-2.0

package scsi

import "pathgate/internal/scsi"

// attentionMax bounds what is queued for one nexus; the oldest kinds stay.
const attentionMax = 8

// attentions are the unit attention conditions that wait for one nexus, in the
// order of their report. The zero value has none. Guarded by Unit.mu.
type attentions struct {
	codes [attentionMax]scsi.SenseCode
	n     int
}

// add queues c, once. A reset comes first, and in the place of an older one; what
// else has changed is told after it.
func (a *attentions) add(c scsi.SenseCode) {
	for _, have := range a.codes[:a.n] {
		if have == c {
			return
		}
	}
	if c.ASC() == ascReset {
		kept := attentions{n: 1}
		kept.codes[0] = c
		for _, have := range a.codes[:a.n] {
			if have.ASC() != ascReset && have.ASC() != ascCleared && kept.n < attentionMax {
				kept.codes[kept.n] = have
				kept.n++
			}
		}
		*a = kept
		return
	}
	if a.n < attentionMax {
		a.codes[a.n] = c
		a.n++
	}
}

// take gives the next condition and forgets it; false when there is none.
func (a *attentions) take() (scsi.SenseCode, bool) {
	if a.n == 0 {
		return 0, false
	}
	c := a.codes[0]
	a.n = copy(a.codes[:], a.codes[1:a.n])
	return c, true
}

// drop forgets c.
func (a *attentions) drop(c scsi.SenseCode) {
	for i, have := range a.codes[:a.n] {
		if have == c {
			a.n = i + copy(a.codes[i:], a.codes[i+1:a.n])
			return
		}
	}
}

const (
	ascReset   = 0x29 // of all kinds of reset
	ascCleared = 0x2f // tasks are gone, as they are after a reset
)
