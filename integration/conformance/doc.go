// SPDX-License-Identifier: Apache-2.0

// Package conformance runs foreign initiators against the iSCSI target: libiscsi's
// conformance suite and tools, and QEMU's. It holds tests only, behind the build
// tag integration.
//
// Every test of the suite has a process and a disk of its own. What each of them has
// to give is in testdata/conformance.txt; run the test with -update to write it
// anew, and look at what has changed.
package conformance
