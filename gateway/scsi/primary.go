// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"pathgate/backends"
	"pathgate/internal/scsi"
)

// testUnitReady is TEST UNIT READY.
func testUnitReady(b *backends.Batch, t *task) {
	if !t.l.u.geometry.Load().available {
		t.c.fail(scsi.CodeBecomingReady.Sense())
	}
	t.finish(b, backends.Done())
}
