// SPDX-License-Identifier: Apache-2.0

// Package hosts tests the gateway's iSCSI target with Linux' own initiator: guests
// with open-iscsi, dm-multipath, ext4 and sg_persist, against the gateway as a process.
//
//	guest                                          host
//	ext4, dm-multipath, sg_persist
//	open-iscsi (127.0.0.1, by network card) -----> gateway -> proxy A -> tgtd
//	                                                       -> proxy B -> (two portals)
//
// A guest has no loopback network of its own: its 127.0.0.0/8 is the host's, which QEMU's
// network carries it to, so that the portals that discovery tells are those that there are.
//
// The commands of docs/iscsi.md, "Linux hosts", are run here as they stand there.
package hosts
