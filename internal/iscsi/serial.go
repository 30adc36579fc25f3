// SPDX-License-Identifier: Apache-2.0

package iscsi

import "strconv"

// Serial is a 32-bit sequence number: CmdSN, StatSN, DataSN, R2TSN and their Exp and Max forms. It wraps; order is that
// of RFC 1982 with SERIAL_BITS = 32. It is a struct so that < does not compile; == does, and means what it says.
// The zero value is number 0. RFC 7143 4.2.2.1 (Command Numbering and Acknowledging).
type Serial struct{ n uint32 }

// SerialOf returns the sequence number with the wire value n.
func SerialOf(n uint32) Serial { return Serial{n} }

// Uint32 returns the wire value.
func (s Serial) Uint32() uint32 { return s.n }

// String returns the wire value in decimal.
func (s Serial) String() string { return strconv.FormatUint(uint64(s.n), 10) }

// Next returns s + 1.
func (s Serial) Next() Serial { return Serial{s.n + 1} }

// Prev returns s - 1.
func (s Serial) Prev() Serial { return Serial{s.n - 1} }

// Add returns s + n modulo 2^32. RFC 1982 3.1 (Addition) defines it for n up to 2^31-1 only.
func (s Serial) Add(n uint32) Serial { return Serial{s.n + n} }

// Sub returns the signed distance from t to s: positive when s comes after t. For two numbers exactly 2^31 apart, whose
// order RFC 1982 leaves undefined, it returns -2^31.
func (s Serial) Sub(t Serial) int32 { return int32(s.n - t.n) }

// Less reports whether s comes before t. RFC 1982 3.2 (Comparison). Two numbers exactly 2^31 apart are Less in both
// directions, and Less is the only comparison where they appear.
func (s Serial) Less(t Serial) bool { return int32(s.n-t.n) < 0 }

// LessEq reports whether s comes before t or equals it.
func (s Serial) LessEq(t Serial) bool { return s == t || s.Less(t) }

// InWindow reports whether s lies in [lo, hi], both ends included. A window with hi = lo - 1 is empty: that is how a
// target closes its command window. Invariant of the caller: hi is not before lo - 1.
func (s Serial) InWindow(lo, hi Serial) bool { return s.n-lo.n < hi.n-lo.n+1 }
