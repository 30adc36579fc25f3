// SPDX-License-Identifier: Apache-2.0

// Package e2e holds no code: its tests run the whole gateway as a child process
// between real targets (tgtd, LIO in a guest) and real clients (an NBD client
// written from the protocol text, libnbd, QEMU, fio, a Linux guest), and break
// what is in between.
//
//	go test -tags integration ./integration/e2e
//	go test -tags integration,long -run '^TestLong' ./integration/e2e
//
// Every test of a fault asserts that the fault took place: the counters of the
// proxy moved, and the event that names it came. Each has a control run, the same
// without the fault, in which neither happens. The judge of the data is
// integration/stamp, afterwards also on the backing file itself.
//
// Figures are printed as one line "measured: ..." each.
package e2e
