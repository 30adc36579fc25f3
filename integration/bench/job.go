// SPDX-License-Identifier: Apache-2.0

package bench

import "fmt"

// Job is one kind of load. The zero value is no job.
type Job struct {
	Name       string
	Write      bool
	Random     bool
	BlockBytes int
	Depth      int // requests in flight
}

// Jobs are all jobs, in the order of the report.
func Jobs() []Job {
	return []Job{
		{"4k random read, depth 1", false, true, 4 << 10, 1},
		{"4k random read, depth 32", false, true, 4 << 10, 32},
		{"4k random write, depth 1", true, true, 4 << 10, 1},
		{"4k random write, depth 32", true, true, 4 << 10, 32},
		{"256k sequential read, depth 8", false, false, 256 << 10, 8},
		{"256k sequential write, depth 8", true, false, 256 << 10, 8},
	}
}

// rate gives perSecond I/Os in the unit that fits the job.
func (j Job) rate(perSecond float64) string {
	if j.BlockBytes >= 64<<10 {
		return fmt.Sprintf("%.0f MB/s", perSecond*float64(j.BlockBytes)/1e6)
	}
	return fmt.Sprintf("%.1f kIOPS", perSecond/1e3)
}

// Sample is one measurement.
type Sample struct {
	IOs     int64
	Seconds float64 // of the client's run
	// Server and Target are the CPU seconds of the measured server, and of the
	// target behind it (0: none).
	Server, Target float64
}

// PerSecond is the rate in I/Os per second.
func (s Sample) PerSecond() float64 { return float64(s.IOs) / s.Seconds }

// ServerMicros is the server's CPU time for each I/O, in microseconds.
func (s Sample) ServerMicros() float64 { return s.Server * 1e6 / float64(s.IOs) }

// TargetMicros is the target's CPU time for each I/O, in microseconds.
func (s Sample) TargetMicros() float64 { return s.Target * 1e6 / float64(s.IOs) }
