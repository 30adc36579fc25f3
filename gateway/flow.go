// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"math"
	"sync/atomic"

	"pathgate/backends"
	"pathgate/share"
)

// Flow is one VM on one device, over all its disks and connections: what the
// scheduler gives shares to. Its counters only grow, but for those that tell
// what is outstanding. Safe for concurrent use.
type Flow struct {
	VM    string
	pool  *backends.Pool
	share *share.Flow // nil without a scheduler

	inflight  atomic.Int64
	redriving atomic.Int64
	parked    [parkReasons]atomic.Int64

	reads, writes, others, errors atomic.Uint64
	readBytes, writeBytes         atomic.Uint64
}

// parkReasons is one more than the last ParkReason.
const parkReasons = int(backends.ParkSuspended) + 1

// FlowStats are a flow's counters at one moment.
type FlowStats struct {
	VM         string         `json:"vm"`
	Inflight   int64          `json:"inflight"`
	Held       map[string]int `json:"held,omitempty"` // by reason
	Reads      uint64         `json:"reads"`
	ReadBytes  uint64         `json:"read_bytes"`
	Writes     uint64         `json:"writes"`
	WriteBytes uint64         `json:"write_bytes"`
	Others     uint64         `json:"others"`
	Errors     uint64         `json:"errors"`
}

// Stats gives the counters now.
func (f *Flow) Stats() FlowStats {
	s := FlowStats{
		VM: f.VM, Inflight: f.inflight.Load(),
		Reads: f.reads.Load(), ReadBytes: f.readBytes.Load(),
		Writes: f.writes.Load(), WriteBytes: f.writeBytes.Load(),
		Others: f.others.Load(), Errors: f.errors.Load(),
	}
	for i := range f.parked {
		if n := f.parked[i].Load(); n > 0 {
			if s.Held == nil {
				s.Held = map[string]int{}
			}
			s.Held[backends.ParkReason(i).String()] = int(n)
		}
	}
	return s
}

// add sums the counters of a VM over its devices.
func (s *FlowStats) add(t FlowStats) {
	s.Inflight += t.Inflight
	s.Reads += t.Reads
	s.ReadBytes += t.ReadBytes
	s.Writes += t.Writes
	s.WriteBytes += t.WriteBytes
	s.Others += t.Others
	s.Errors += t.Errors
	for k, n := range t.Held {
		if s.Held == nil {
			s.Held = map[string]int{}
		}
		s.Held[k] += n
	}
}

// atomicFloat is a float64 that is read and written at once.
type atomicFloat struct{ bits atomic.Uint64 }

func (f *atomicFloat) Load() float64   { return math.Float64frombits(f.bits.Load()) }
func (f *atomicFloat) Store(v float64) { f.bits.Store(math.Float64bits(v)) }
