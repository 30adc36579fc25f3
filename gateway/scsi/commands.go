// SPDX-License-Identifier: Apache-2.0

package scsi

import "pathgate/internal/scsi"

// commands is the table of all commands.
func commands() []entry {
	return []entry{
		{op: scsi.OpTestUnitReady, action: noAction, size: 6, access: accessOpen, run: testUnitReady},
	}
}
