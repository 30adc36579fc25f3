// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"slices"
)

// Job is one kind of load. The zero value is no job.
type Job struct {
	Name       string
	Write      bool
	Random     bool
	BlockBytes int
	Depth      int // requests in flight, of each VM
	VMs        int // that do it at once, each on a disk of its own; 0: one
	// Connections that do it at once on one disk, each with Depth requests in flight;
	// 0: one.
	Connections int
}

// Jobs are what servers are compared with each other by, in the order of the report.
func Jobs() []Job {
	return []Job{
		{Name: "4k random read, depth 1", Random: true, BlockBytes: 4 << 10, Depth: 1},
		{Name: "4k random read, depth 32", Random: true, BlockBytes: 4 << 10, Depth: 32},
		{Name: "4k random write, depth 1", Write: true, Random: true, BlockBytes: 4 << 10, Depth: 1},
		{Name: "4k random write, depth 32", Write: true, Random: true, BlockBytes: 4 << 10, Depth: 32},
		{Name: "256k sequential read, depth 8", BlockBytes: 256 << 10, Depth: 8},
		{Name: "256k sequential write, depth 8", Write: true, BlockBytes: 256 << 10, Depth: 8},
	}
}

// nbdJobs are Jobs, and several connections.
func nbdJobs() []Job {
	jobs := Jobs()
	several := []Job{
		{Name: "4k random read, depth 32, 4 connections", Random: true, BlockBytes: 4 << 10, Depth: 32, Connections: 4},
		{Name: "4k random write, depth 32, 4 connections", Write: true, Random: true, BlockBytes: 4 << 10, Depth: 32, Connections: 4},
	}
	return slices.Concat(jobs[:2], several[:1], jobs[2:4], several[1:], jobs[4:])
}

// dialectJobs are those of the dialects' rows: a write is answered alike in all.
func dialectJobs() []Job {
	return slices.DeleteFunc(Jobs(), func(j Job) bool { return j.Write })
}

// iscsiJobs are Jobs, and a depth of 128.
func iscsiJobs() []Job {
	jobs := Jobs()
	deep := []Job{
		{Name: "4k random read, depth 128", Random: true, BlockBytes: 4 << 10, Depth: 128},
		{Name: "4k random write, depth 128", Write: true, Random: true, BlockBytes: 4 << 10, Depth: 128},
	}
	return slices.Concat(jobs[:2], deep[:1], jobs[2:4], deep[1:], jobs[4:])
}

// schedulerJobs are those of the scheduler's rows.
func schedulerJobs(vms int) []Job {
	prefix := ""
	if vms > 1 {
		prefix = fmt.Sprintf("%d VMs, ", vms)
	}
	return []Job{
		{Name: prefix + "4k random read, depth 32", Random: true, BlockBytes: 4 << 10, Depth: 32, VMs: vms},
		{Name: prefix + "4k random write, depth 32", Write: true, Random: true, BlockBytes: 4 << 10, Depth: 32, VMs: vms},
	}
}

// vms is how many disks the job needs.
func (j Job) vms() int { return max(j.VMs, 1) }

// connections is how many connections it has to each.
func (j Job) connections() int { return max(j.Connections, 1) }

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

// PerCPUSecond is how many I/Os a second of the server's CPU time does.
func (s Sample) PerCPUSecond() float64 { return float64(s.IOs) / max(s.Server, 1.0/userHZ) }

// TargetMicros is the target's CPU time for each I/O, in microseconds.
func (s Sample) TargetMicros() float64 { return s.Target * 1e6 / float64(s.IOs) }
