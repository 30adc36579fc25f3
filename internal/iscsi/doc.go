// SPDX-License-Identifier: Apache-2.0

// Package iscsi is the wire codec of RFC 7143, used by the initiator and by the target.
//
// It holds the PDU headers, their framing and digests, the text keys, the tables and rules of parameter negotiation,
// and CHAP. It opens no socket, starts no goroutine, reads no clock and logs nothing. It knows no role: it decodes what
// either side may send, and the side that receives a PDU checks whether it may receive it. Only [Negotiator] and the
// CHAP machines take a side, because their rules differ by side.
//
// # Use
//
//	h := (*iscsi.BHS)(buf)                      // a view of 48 received bytes
//	l, err := framing.Lengths(h)                // what follows the header, bounded before anything is allocated
//	cmd, err := iscsi.DecodeSCSICommand(h)      // a value; nothing of it refers to buf
//	iscsi.R2T{ITT: cmd.ITT, ...}.Encode(&out)   // writes all 48 bytes, reserved ones as 0
//
// # Rules that hold for every PDU
//
//   - DecodeX and Encode do not allocate, except for the error value.
//   - Encode overwrites the whole header; bits and fields that the RFC reserves are 0.
//   - DecodeX ignores reserved bits, as 11 (iSCSI PDU Formats) demands, and the constant 1 in the place of the F bit.
//     Fields that the RFC tells a receiver to ignore come out as zero or [NoTag], so that nobody can use them by mistake.
//   - DecodeX refuses a wrong opcode, a length that must be 0, reserved codes, and contradictions inside the header.
//     Codes that the receiver has to answer or classify (task management function and response, reject reason,
//     asynchronous event, login status) are passed on as they are; their String methods name unknown values.
//   - All errors are [*ProtocolError]; errors.Is(err, CodeX) selects by cause.
//
// Sequence numbers are [Serial], which compares by RFC 1982; the operators < and > do not compile on it.
//
// # Concurrency
//
// Values are plain data. Functions are safe for concurrent use. Negotiator, TextAccumulator and the CHAP machines belong
// to the one connection that logs in and are not safe for concurrent use.
package iscsi
