// SPDX-License-Identifier: Apache-2.0

package control

// ShareSource is the part of a Source that knows who gets what of the LUNs. All
// methods are called concurrently; what they return is the caller's.
//
// A change returns when it is on stable storage and in force in every scheduler that
// it concerns, else with an error and nothing changed: ErrInvalid for a value that is
// not allowed, ErrNotFound for an object that has gone since the Server found it.
// Setting what is set already is no error. A reset goes back to the configuration.
type ShareSource interface {
	// Shares gives all flows, by VM in the order of the configuration, and then by LUN.
	// Disks whose LUN is not there are in it, with nothing in force.
	Shares() []Share
	// DiskShares gives what is set for each disk, VMShares for each VM, in the order of
	// the configuration. Their Flows are left out.
	DiskShares() []DiskShare
	VMShares() []VMShare
	// GroupShares gives what is set for each group, likewise.
	GroupShares() []GroupShare
	// ShareLUNs gives the schedulers there are.
	ShareLUNs() []ShareLUN
	SetDiskShare(disk string, c ShareChange) error
	SetVMShare(vm string, c VMShareChange) error
	SetLUNShare(lun string, c LUNShareChange) error
	SetGroupShare(group string, c GroupShareChange) error
	ResetDiskShare(disk string) error
	ResetVMShare(vm string) error
	ResetLUNShare(lun string) error
	ResetGroupShare(group string) error
	// Explain gives the newest decisions that q selects, oldest first.
	Explain(q ExplainQuery) []Explanation
}
