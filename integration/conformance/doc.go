// SPDX-License-Identifier: Apache-2.0

// Package conformance runs foreign initiators against the iSCSI target: libiscsi's
// conformance suite and tools, and QEMU's. It holds tests only, most of them behind
// the build tag integration.
//
// Every test of the suite has a process and a disk of its own. What each of them has
// to give on each kind of disk is in testdata; run a test with -update to write that
// anew, look at what has changed, and run TestResultsInDocumentation with -update.
// The table of tgtd is a measurement, made by TestMeasureTgtd (build tag measure).
package conformance
