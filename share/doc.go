// SPDX-License-Identifier: Apache-2.0

// Package share divides the bandwidth of one LUN among the VMs that use it: by
// shares, reservations, limits and priorities, against the capacity that the
// living paths have (the patent, par. 0086-0093 and 0103-0115).
//
// # Two layers
//
// Core is the algorithm: a pure state machine without clock, goroutine, lock,
// map iteration or random number. Step takes the time and what has happened and
// gives the commands to dispatch; the same events give the same dispatches.
//
// Disk is the thin shell around one Core that connections call concurrently. It
// lets commands past the core while nobody waits, collects what is submitted
// and completed while one goroutine runs the core, and keeps the timer.
//
// There is one Core for each LUN ("disk" in the patent), never one for each CPU
// core, connection or path: two would each give a VM its share of half.
//
// # Words
//
// A flow is one VM on one LUN, over all its connections. Consumption units (CU)
// measure commands: one with its first 4 KiB costs 1, each further started
// 4 KiB costs 1 more. A flow's virtual time is CU consumed divided by shares;
// the flow with the lowest goes next. Capacity is in CU per second.
//
// # Files
//
//   - settings*.go: the knobs, their ranges and defaults.
//   - event.go: commands, events, dispatches. explain.go, snapshot.go: what the
//     core tells about itself.
//   - core.go: Step. pick.go: who is next. charge.go: what a dispatch costs.
//     heap.go, queue.go: the sets of flows, the queue of a flow.
//   - plan.go, fill.go, degrade.go: entitlement, over-use, priorities. depth.go:
//     the window. meter.go: use over the last interval. limit.go: the clocks of
//     limits and reservations.
//   - disk*.go: the shell. pacer.go: its timer.
//
// design.md has the algorithm with every rounding and tie, so that it can be
// written a second time (oracle_test.go is one).
package share
