// SPDX-License-Identifier: Apache-2.0

package gateway

import "pathgate/share"

// fileDevicePrefix begins the name of a local file as rules and Shares know it.
const fileDevicePrefix = "file:"

// FileDevice is the name under which a local file is a device of Shares, and which
// rules may have as their id.
func FileDevice(path string) string { return fileDevicePrefix + path }

// ShareDevice is a LUN or local file that is there.
type ShareDevice struct {
	// Name tells devices apart: a LUN's canonical name, or FileDevice.
	Name string
	// Names are further ones that rules may have: identity, alias. They need not be
	// unique, since a weak identity may be that of several LUNs.
	Names []string
	// Rotational: it stands on a rotating medium (backends.Rotational).
	Rotational bool
}

// SharePart is one extent of a disk as it was found: so many bytes of a device.
type SharePart struct {
	Device string // ShareDevice.Name
	Bytes  uint64
}

// LUNPlan is all that the scheduler of one device is to know. Whoever is handed one
// may keep it and must not change it.
type LUNPlan struct {
	Device string
	// Version counts the changes of all plans; it only grows.
	Version uint32
	// Enabled false: everything passes as it comes.
	Enabled bool
	// Settings are complete and valid.
	Settings share.Settings
	// Groups are those of the configuration, whether they have a flow here or not.
	// Groups[i] is share.GroupID(i+1), the same on every device.
	Groups []GroupPlan
	// Flows are by VM: the VMs with a disk here. Another VM has share.DefaultEntitlement.
	Flows map[string]FlowPlan

	warnings []ShareWarning
}

// GroupPlan is a group on a device.
type GroupPlan struct {
	Name        string
	Entitlement share.GroupEntitlement
}

// FlowPlan is a VM on a device.
type FlowPlan struct {
	Entitlement share.Entitlement
	// Disks are the full names of the VM's disks with a part here, in the order of the
	// configuration.
	Disks []string
	// QueueCommands and QueueBytes bound what the VM may have outstanding here.
	QueueCommands int
	QueueBytes    int64
}

// DiskPlan is what a disk needs in front of its flows.
type DiskPlan struct {
	Disk    string // full name
	Version uint32 // as LUNPlan.Version
	// Priority is the VM's.
	Priority uint8
	// Limiter is the disk's limit where no flow can keep it, because the disk has
	// parts on several places or the flow has other disks too: the disk needs a
	// scheduler of its own that sees each of its requests once. Nil: none needed.
	Limiter *share.Limits
	// Settings are those of such a scheduler, which has one flow and a window that it
	// never fills. Only with Limiter.
	Settings share.Settings
}

// ShareWarning is something that people should know about what was asked for, for as
// long as it is so.
type ShareWarning struct {
	// Code is stable, such as "reservations-above-capacity".
	Code string
	// Device, VM and Disk say what it concerns; empty where it is none or all.
	Device, VM, Disk string
	Message          string
}

// The codes of warnings.
const (
	WarnReservations     = "reservations-above-capacity"
	WarnLimitNoEffect    = "limit-above-capacity"
	WarnSharesCut        = "shares-cut"
	WarnIdleCreditCut    = "idle-credit-cut"
	WarnGroupDiffers     = "group-differs"
	WarnNoService        = "zero-shares-without-floor"
	WarnSchedulerOff     = "scheduler-off"
	WarnOverrideIgnored  = "override-ignored"
	WarnOverrideOfNobody = "override-of-unknown"
)
