// SPDX-License-Identifier: Apache-2.0

// Package buffer supplies all payload memory of pathgate: size-classed,
// reference-counted segments, and vectors of slices of them.
//
// A [Segment] is a block of memory with a count of its holders. A [Slice] is a
// run of bytes inside a segment; a [Vec] is a list of slices and is how every
// payload travels, from the socket it was read from to the socket it is
// written to, without being copied.
//
// Ownership is told by three words, here and wherever a Vec is passed:
//
//   - borrows: the callee may look at the bytes until it returns; it calls
//     Retain if it wants to keep them.
//   - takes: the callee becomes a holder in the caller's place and will call
//     Release.
//   - gives back: the caller becomes the holder of what is returned.
//
// A segment goes back to its pool when its last holder releases it. Releasing
// once too often panics at that place, rather than corrupting data later.
//
// Segments are safe for concurrent Retain and Release. The bytes are not
// guarded: they are written by the one who got the segment, before it is
// shared, and are unchanged from then on (a write that may still be sent by a
// dying path must stay what it was).
package buffer
