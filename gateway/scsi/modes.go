// SPDX-License-Identifier: Apache-2.0

package scsi

import "pathgate/backends"

// modes are the mode parameters that change what the unit does. Guarded by
// Unit.mu.
type modes struct {
	descriptorSense bool // D_SENSE
	writeProtected  bool // SWP
	taskAborted     bool // TAS
	writeCache      bool // WCE; without it every write is FUA
}

// defaultModes are those after a reset; none is kept over one.
func (u *Unit) defaultModes() modes {
	return modes{writeCache: u.geometry.Load().cache != backends.CacheNone}
}

func (u *Unit) setModesLocked(m modes) {
	u.modes = m
	u.descriptorSense.Store(m.descriptorSense)
}
