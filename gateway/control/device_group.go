// SPDX-License-Identifier: Apache-2.0

package control

import "time"

// Group is a target port group of a device (ALUA). Its paths are used together, and
// with those of other groups of the same priority.
type Group struct {
	ID uint16 `json:"id"`
	// Access is as Path.Access, as the target said last, or "failed" after a
	// transition that has taken longer than it may.
	Access    string `json:"access"`
	Preferred bool   `json:"preferred"`
	// Priority: groups with the highest one are used.
	Priority int  `json:"priority"`
	Used     bool `json:"used"` // requests go over a path of it now
	// Since is when Access changed last.
	Since time.Time `json:"since,omitzero"`
	// Explicit: the group in use can be chosen by the gateway. Implicit: the target
	// changes the states by itself.
	Explicit bool     `json:"explicit"`
	Implicit bool     `json:"implicit"`
	Paths    []string `json:"paths"`
}
