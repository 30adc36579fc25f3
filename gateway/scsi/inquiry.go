// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"pathgate/internal/scsi"
)

// withoutUnit answers a command for a LUN that has no unit: INQUIRY tells so,
// REPORT LUNS and REQUEST SENSE work, all else is 5/25/00 (SPC-4, Incorrect
// logical unit numbers).
func (n *Nexus) withoutUnit(c *Command) {
	c.refuse(scsi.CodeLUNotSupported.Sense())
}
