// SPDX-License-Identifier: Apache-2.0

// Package lio runs the Linux kernel's own iSCSI target (LIO) in a test guest,
// reached through ports of the host's loopback. It answers about four seconds
// after its start.
//
//	s := lio.New(t, lio.Options{LUNs: []lio.LUN{{SizeBytes: 64 << 20}}})
//	s.Portals()[0] // 127.0.0.1:PORT
//	s.URL(0)       // iscsi://127.0.0.1:PORT/iqn.../0, for libiscsi and QEMU
//
// Its LUNs are files in the guest's memory, numbered from 0 as in Options.LUNs,
// and are lost with the guest.
//
// # Portals and groups
//
// Each PortalGroup is a target portal group with its own portals, and an ALUA
// target port group of the same number for each LUN, whose state SetALUA changes
// as an array would. One group without more is the default.
//
// SendTargets answers with the guest's addresses (10.0.2.15), which cannot be
// reached from the host: connect to Portals.
//
// # Faults
//
// Exec runs a shell command in the guest, where the target's configuration is
// the tree under /sys/kernel/config/target; Stop and Cont freeze the whole
// guest; Kill pulls its plug.
package lio
