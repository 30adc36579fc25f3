// SPDX-License-Identifier: Apache-2.0

// Package tgtd runs real tgtd processes (the Linux SCSI target framework) as
// test targets, each with a control socket, portals and files of its own.
//
// In a test:
//
//	s := tgtd.New(t, tgtd.Options{
//		Portals: []string{"127.0.0.1:0", "127.0.0.2:0"},
//		Targets: []tgtd.Target{{Name: "iqn.2026-11.test:a", LUNs: []tgtd.LUN{{SizeBytes: 64 << 20}}}},
//	})
//	s.Portals() // the addresses, with the chosen ports
//
// Elsewhere Start and Close do the same. LUN n of the list is LUN n+1 of the
// target: tgtd keeps 0 for its controller.
//
// # Faults
//
// Stop and Cont send SIGSTOP and SIGCONT, and Stop returns when every thread has
// stopped. Kill is SIGKILL (tgtd ignores SIGTERM); Restart starts the same
// configuration on the same ports and files. Admin runs tgtadm for all else.
//
// # Two processes, one disk
//
// Two servers whose targets have the same name, File, SCSIID and SCSISN are one
// LUN over two targets that fail independently, as two controllers of an array
// would. Without SCSIID and SCSISN, tgtd's default ids are the same in every
// process: that is the case which a path manager must not merge.
//
// A Server needs no root, except for the tgtd builds that insist on it.
package tgtd
