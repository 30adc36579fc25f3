// SPDX-License-Identifier: Apache-2.0

// Package nbdcrash replays crashes of the storage below the gateway. A guest makes an
// ext4 over NBD, writes, fsyncs, renames and deletes; the LUN under the gateway's paths
// is a disk of the test, with a volatile write cache, that records what it answers and
// in which order. Each flush, and a few moments between each two, then becomes an image
// of what a loss of power would have left there: everything that a flush covers or FUA
// protects, and any part of the rest. A second guest mounts them all: the journal has to
// replay without a complaint, each file that was fsynced has to be there with its
// checksum, and e2fsck has to find nothing.
//
// # What is right
//
// The guest asks before and after each step, so the test knows how long the record was
// then. Before: from here on the files of the step may be in either state. After: their
// new state holds from the last flush in the record on, since the guest was told so.
//
// # Controls
//
// Some images are wrong on purpose: one write is left out of the record, or all that was
// written since a flush that the guest waited for. The check has to find each.
package nbdcrash
