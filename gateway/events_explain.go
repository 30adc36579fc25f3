// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Explanation is why something was decided about requests: why they wait, why a path
// was chosen. It is small, fixed in size, and costs no allocation to record.
type Explanation struct {
	// Seq counts the explanations, from 1; set by Explain.
	Seq uint64
	// Time is given by the caller, who has usually read the clock already.
	Time time.Time
	// VM, Disk, Device and Path are names that live on their own; empty ones do not
	// apply.
	VM, Disk, Device, Path string
	Reason                 Reason
	// Offset and Length are the bytes concerned, 0 and 0 when it is about no range.
	Offset, Length uint64
	// Detail is a number whose meaning Reason gives.
	Detail int64
}

// Reason is why.
type Reason uint8

// Reasons, with the meaning of Explanation.Detail.
const (
	WhyNoPath      Reason = iota + 1 // waits: the device has no usable path
	WhyFence                         // waits: an older write of unknown end overlaps
	WhyOrder                         // waits: an older write to the range is in flight
	WhyBusy                          // waits: the target is busy; Detail: ns until it is tried again
	WhyFull                          // waits: the target takes no more commands at once
	WhyTransition                    // waits: the port group is in transition
	WhyReset                         // waits: the LUN is being reset
	WhyWindow                        // waits: as many requests as allowed are in flight; Detail: how many
	WhyLimit                         // waits: a limit is reached; Detail: ns until there is room
	WhyShare                         // waits: others have the better claim
	WhyPriority                      // waits: a VM of higher priority needs the paths
	WhyUnavailable                   // waits or fails: the disk's LUN or file is not there
	WhyRetry                         // sent again on this path; Detail: the attempt's number
	WhyChosen                        // this path was chosen anew; Detail: bytes pending on it
	WhyExpired                       // failed: its time was over; Detail: its age in ns
	WhyRefused                       // failed: not allowed here (read-only, beyond the end)
	WhySuspended                     // waits: the device is suspended
)

var reasonNames = [...]string{
	WhyNoPath:      "no-path",
	WhyFence:       "fence",
	WhyOrder:       "order",
	WhyBusy:        "busy",
	WhyFull:        "task-set-full",
	WhyTransition:  "transition",
	WhyReset:       "reset",
	WhyWindow:      "window",
	WhyLimit:       "limit",
	WhyShare:       "share",
	WhyPriority:    "priority",
	WhyUnavailable: "unavailable",
	WhyRetry:       "retry",
	WhyChosen:      "chosen",
	WhyExpired:     "expired",
	WhyRefused:     "refused",
	WhySuspended:   "suspended",
}

// String gives the name as it is in JSON.
func (r Reason) String() string {
	if r > 0 && int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// MarshalText is String.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Explanations is a ring of the newest explanations. All methods are safe for
// concurrent use.
type Explanations struct {
	slots []explanationSlot
	last  atomic.Uint64 // Seq of the newest
}

// explanationSlot has a lock of its own: two writers meet in one only when one of
// them is a whole ring behind, so nobody waits.
type explanationSlot struct {
	mu  sync.Mutex
	rec Explanation
}

// NewExplanations makes a ring of n records; n <= 0: 8192, about 1 MiB.
func NewExplanations(n int) *Explanations {
	if n <= 0 {
		n = 8192
	}
	return &Explanations{slots: make([]explanationSlot, n)}
}

// Explain records e. It does not allocate and takes no shared lock, and may be
// called with any lock held.
func (x *Explanations) Explain(e Explanation) {
	e.Seq = x.last.Add(1)
	s := &x.slots[(e.Seq-1)%uint64(len(x.slots))]
	s.mu.Lock()
	if s.rec.Seq < e.Seq {
		s.rec = e
	}
	s.mu.Unlock()
}

// ExplainQuery selects explanations; empty fields select all.
type ExplainQuery struct {
	VM, Disk, Device, Path string
	// Since leaves out what is older.
	Since time.Time
	// Limit is the number of newest ones wanted; 0: all.
	Limit int
}

func (q ExplainQuery) matches(e *Explanation) bool {
	same := func(want, got string) bool { return want == "" || want == got }
	return e.Seq != 0 && same(q.VM, e.VM) && same(q.Disk, e.Disk) && same(q.Device, e.Device) &&
		same(q.Path, e.Path) && !e.Time.Before(q.Since)
}

// Query gives what matches, oldest first.
func (x *Explanations) Query(q ExplainQuery) []Explanation {
	var found []Explanation
	for i := range x.slots {
		s := &x.slots[i]
		s.mu.Lock()
		if q.matches(&s.rec) {
			found = append(found, s.rec)
		}
		s.mu.Unlock()
	}
	slices.SortFunc(found, func(a, b Explanation) int { return cmp.Compare(a.Seq, b.Seq) })
	if n := len(found) - q.Limit; q.Limit > 0 && n > 0 {
		found = found[n:]
	}
	return found
}
