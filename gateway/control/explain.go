// SPDX-License-Identifier: Apache-2.0

package control

import (
	"fmt"
	"strings"
	"time"
)

// Explanation is one decision about requests: why one was sent, why one waits. Those
// of a LUN's scheduler have all fields but Path, Offset and Length; those of the path
// manager have no numbers of the scheduler.
type Explanation struct {
	Seq    uint64    `json:"seq"` // rises in each Source and LUN
	Time   time.Time `json:"time"`
	Source string    `json:"source"` // one of the Explain constants
	VM     string    `json:"vm"`
	// Disks are those that it may be about: a scheduler knows the VM only.
	Disks []string `json:"disks,omitempty"`
	LUN   string   `json:"lun,omitempty"`
	Path  string   `json:"path,omitempty"`
	// Verdict is dispatched or queued, of the path manager held, sent-again, chosen or
	// failed.
	Verdict string `json:"verdict"`
	// Phase is the rule by which it was dispatched: reserve, floor, quantum, share, zero.
	Phase string `json:"phase,omitempty"`
	// Reason is why it waits: no-path, fence, busy, limit, over-entitlement, priority,
	// window or share; of the path manager also order, transition, reset and others.
	Reason string `json:"reason,omitempty"`
	// Held: the window is open, but the strict mode keeps it back.
	Held bool `json:"held,omitempty"`
	// Limit is which limit, "iops-read"; GroupLimit: of the group. Until is when it has
	// room.
	Limit      string    `json:"limit,omitempty"`
	GroupLimit bool      `json:"group_limit,omitempty"`
	Until      time.Time `json:"until,omitzero"`
	LeadCU     int64     `json:"lead_cu"`
	// UsedPercent and EntitledPercent are of the capacity, 0 while that is not known.
	UsedPercent     float64 `json:"used_percent"`
	EntitledPercent float64 `json:"entitled_percent"`
	InflightCU      int64   `json:"inflight_cu"`
	DepthCU         int64   `json:"depth_cu"`
	CapacityCU      int64   `json:"capacity_cu"`     // CU/s
	Ahead           string  `json:"ahead,omitempty"` // the VM that goes first
	Version         uint32  `json:"version"`         // of the settings
	Offset          uint64  `json:"offset,omitempty"`
	Length          uint64  `json:"length,omitempty"`
	// Detail is a number of the path manager, whose meaning Reason gives.
	Detail int64 `json:"detail,omitempty"`
}

// The values of Explanation.Source.
const (
	ExplainScheduler = "scheduler"
	ExplainPaths     = "paths"
)

// The values of Explanation.Verdict.
const (
	VerdictDispatched = "dispatched"
	VerdictQueued     = "queued"
	VerdictHeld       = "held"
	VerdictSentAgain  = "sent-again"
	VerdictChosen     = "chosen"
	VerdictFailed     = "failed"
)

// Reasons of a scheduler.
const (
	ReasonNoPath          = "no-path"
	ReasonFence           = "fence"
	ReasonBusy            = "busy"
	ReasonLimit           = "limit"
	ReasonOverEntitlement = "over-entitlement"
	ReasonPriority        = "priority"
	ReasonWindow          = "window"
	ReasonShare           = "share"
)

// ExplainQuery selects explanations; empty fields select all.
type ExplainQuery struct {
	VM, Disk, LUN string
	// Last is how many of the newest are wanted.
	Last int
}

// Short is the reason with the number that made it, in a few words: "window 64/64".
func (e *Explanation) Short() string {
	switch e.Reason {
	case ReasonLimit:
		return "limit " + e.limit()
	case ReasonOverEntitlement:
		s := fmt.Sprintf("over-entitlement %.1f%%>%.1f%%", e.UsedPercent, e.EntitledPercent)
		if e.Held {
			s += " held"
		}
		return s
	case ReasonPriority, ReasonShare:
		if e.Ahead != "" {
			return e.Reason + " behind " + e.Ahead
		}
	case ReasonWindow:
		return fmt.Sprintf("window %d/%d", e.InflightCU, e.DepthCU)
	}
	return e.Reason
}

func (e *Explanation) limit() string {
	if e.GroupLimit {
		return "group " + e.Limit
	}
	return e.Limit
}

// Sentence tells the decision with its numbers, for people.
func (e *Explanation) Sentence() string {
	if e.Source == ExplainPaths {
		return e.pathSentence()
	}
	if e.Verdict == VerdictDispatched {
		return phaseSentences[e.Phase] + e.numbers()
	}
	var s string
	switch e.Reason {
	case ReasonNoPath:
		s = "waits: no path to the LUN is usable"
	case ReasonFence:
		s = "waits: an older write is not fenced yet"
	case ReasonBusy:
		s = "waits: the paths hold it back for now"
	case ReasonLimit:
		s = fmt.Sprintf("waits: the limit %s is reached", e.limit())
		if !e.Until.IsZero() {
			s += ", until " + e.Until.UTC().Format("15:04:05.000")
		}
	case ReasonOverEntitlement:
		s = fmt.Sprintf("waits: it has used %.1f%% of the capacity, and %.1f%% is its part", e.UsedPercent, e.EntitledPercent)
		if e.Held {
			s += "; held, since the mode is strict"
		}
	case ReasonPriority:
		s = "waits: a VM of higher priority needs the capacity"
		if e.Ahead != "" {
			s += ": " + e.Ahead
		}
	case ReasonWindow:
		s = fmt.Sprintf("waits: it is next, but %d CU of %d are in flight", e.InflightCU, e.DepthCU)
	case ReasonShare:
		s = "waits: another VM has the better claim"
		if e.Ahead != "" {
			s += ": " + e.Ahead
		}
	default:
		s = "waits: " + e.Reason
	}
	return s + e.numbers()
}

var phaseSentences = map[string]string{
	"reserve": "sent: its reservation was due",
	"floor":   "sent: every waiting VM gets a command from time to time",
	"quantum": "sent: it goes on with a sequential run",
	"share":   "sent: it was its turn by shares",
	"zero":    "sent: it has no shares, and nobody else could go",
}

// numbers are what a scheduler decided by.
func (e *Explanation) numbers() string {
	var b strings.Builder
	fmt.Fprintf(&b, " (lead %d CU, ", e.LeadCU)
	if e.CapacityCU > 0 {
		fmt.Fprintf(&b, "used %.1f%% of %.1f%%, capacity %d CU/s, ", e.UsedPercent, e.EntitledPercent, e.CapacityCU)
	} else {
		b.WriteString("capacity not known yet, ")
	}
	fmt.Fprintf(&b, "in flight %d/%d CU, settings %d)", e.InflightCU, e.DepthCU, e.Version)
	return b.String()
}

// pathSentence tells what the path manager did.
func (e *Explanation) pathSentence() string {
	s := e.Verdict + ": " + e.Reason
	if e.Length > 0 {
		s += fmt.Sprintf(", %d bytes at %d", e.Length, e.Offset)
	}
	if e.Path != "" {
		s += ", path " + e.Path
	}
	return s
}
