// SPDX-License-Identifier: Apache-2.0

package scsi

// levelsLocked works out anew what every nexus may do.
func (u *Unit) levelsLocked() {
	for _, l := range u.links {
		l.level = accessWrite
		if u.reserver != nil && u.reserver != l {
			l.level = accessFree
		}
	}
}
