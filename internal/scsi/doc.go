// SPDX-License-Identifier: Apache-2.0

// Package scsi is the SCSI codec that the initiator, the path manager and the
// target share: CDBs, status, sense data, VPD pages, identifiers and the
// parameter data of the commands that a disk needs. It holds no state, starts
// nothing, and knows neither role nor transport.
//
// # Sources
//
// Field layouts follow SAM-5, SPC-4 and SBC-3; where a field is of a later
// revision (WRITE ATOMIC, NDOB) the comment names it. Clause numbers move
// between revisions, so comments cite the command, page or descriptor.
//
// # Shapes
//
//   - A command is a small value struct. Encode fills a 16-byte CDB and returns
//     its length (6, 10, 12 or 16); bytes behind it are zero. A result of 0
//     means that a field does not fit: the caller asked for the impossible.
//     DecodeX reads the same struct back. Neither allocates.
//   - Data-in and parameter lists have DecodeX(b) and Append(dst). Decoders of
//     variable data return slices that alias b when the comment says "borrows".
//   - Sense is a value; DecodeSense and AppendFixed or AppendDescriptor convert
//     it. SenseCode is key, ASC and ASCQ in one comparable number, and
//     Sense.Condition is the one table of what an initiator must tell apart.
//
// # Trust
//
// Everything decoded here may come from a hostile peer. Decoders never panic,
// never read outside b, and check every inner length against what was really
// received: a length that claims more is ErrTruncated, one that cannot be right
// is ErrMalformed. Bytes behind the stated length are ignored, because targets
// may fill the allocation length. Nothing is allocated by a number that the
// peer sent; results grow only with bytes that are there, or up to a limit that
// the caller gives.
//
// Reserved bits are written as zero and ignored when read.
//
// # Lengths
//
// Blocks and LBAs count logical blocks. AllocationLength and
// ParameterListLength count bytes. Transfer needs the block size to turn one
// into the other.
//
// Every function is safe for concurrent use; the package has no mutable state.
package scsi
