// SPDX-License-Identifier: Apache-2.0

package stamp

import (
	"fmt"
	"strings"
	"time"
)

// ViolationKind says in what way a sector was wrong.
type ViolationKind uint8

// Kinds of violation.
const (
	// Stale: an older value, while an acknowledged newer one was never seen
	// (a lost write, or a read from an old copy).
	Stale ViolationKind = iota + 1
	// Ghost: an older value came back over a newer one that had been seen, or
	// that was overwritten many times.
	Ghost
	// Torn: the sector begins as a stamp of this run and ends as something else.
	Torn
	// Misdirected: the stamp of another LBA.
	Misdirected
	// Corrupt: bytes that were neither there before nor written by this run.
	Corrupt
)

// String returns the kind in lower case.
func (k ViolationKind) String() string {
	if k >= Stale && k <= Corrupt {
		return [...]string{"stale", "ghost", "torn", "misdirected", "corrupt"}[k-1]
	}
	return "unknown"
}

// MarshalText returns String, for JSON.
func (k ViolationKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Violation is one sector of one read that is wrong. Times count from the
// start of the run.
type Violation struct {
	Kind ViolationKind `json:"kind"`
	LBA  uint64        `json:"lba"` // in units of SectorSize
	// Found names the write whose data were read.
	Found string `json:"found"`
	// Because names the newer write that forbids it, for Stale and Ghost.
	Because string `json:"because,omitempty"`
	// Expected are the values that the read might have returned.
	Expected []string `json:"expected"`
	// Begun and Ended are the times of the read.
	Begun time.Duration `json:"begunNs"`
	Ended time.Duration `json:"endedNs"`
}

// String is one line for a person.
func (v Violation) String() string {
	s := fmt.Sprintf("%v at LBA %d: found %s; expected %s", v.Kind, v.LBA, v.Found, strings.Join(v.Expected, " or "))
	if v.Because != "" {
		s += "; because of " + v.Because
	}
	return fmt.Sprintf("%s; read %v..%v", s, v.Begun.Round(time.Microsecond), v.Ended.Round(time.Microsecond))
}

func describe(s Stamp, err error) string {
	if err == errNoStamp {
		return "bytes that are no stamp of this run"
	}
	name := fmt.Sprintf("write %d.%d for LBA %d", s.Writer, s.Seq, s.LBA)
	if err != nil {
		name += ", damaged"
	}
	return name
}

func (o *op) String() string {
	switch at := o.begun.Round(time.Microsecond); {
	case o.seq == 0:
		return "initial contents"
	case o.end == never:
		return fmt.Sprintf("write %d.%d (begun %v, no answer)", o.writer, o.seq, at)
	case o.failed:
		return fmt.Sprintf("write %d.%d (begun %v, error %v)", o.writer, o.seq, at, o.ended.Round(time.Microsecond))
	default:
		return fmt.Sprintf("write %d.%d (begun %v, acknowledged %v)", o.writer, o.seq, at, o.ended.Round(time.Microsecond))
	}
}

// violation describes a fault of the sector at lba; because may be nil.
func (m *model) violation(kind ViolationKind, r read, lba uint64, found string, because *value) Violation {
	v := Violation{Kind: kind, LBA: lba, Found: found, Begun: r.begun, Ended: time.Since(m.began)}
	if because != nil {
		v.Because = because.op.String()
	}
	values := *m.at(lba)
	for i := range values {
		ok := true
		for j := range values {
			ok = ok && (i == j || !values[j].blocks(&values[i], r.start))
		}
		if ok {
			v.Expected = append(v.Expected, values[i].op.String())
		}
	}
	return v
}
