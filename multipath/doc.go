// SPDX-License-Identifier: Apache-2.0

// Package multipath finds LUNs and their paths, and makes one [Device] of all
// paths to a LUN. A request goes out on the path that the device's selector
// picks; when that path fails it goes out on another, without ever letting an
// old write land over a newer one. design.md tells why that is so.
//
// # Use
//
// [New] makes a [Manager] of a [Config]; [Manager.Run] serves until its end.
// The configuration brings a backends.Connector for each adapter, and a [Store]
// and an [Events] sink. [Manager.Lookup] gives a Device by canonical name,
// identity, alias or path name; [Manager.Paths] and [Device.State] are for
// people.
//
// # One request
//
//  1. accept (device.go, submitter's goroutine): checked, made a task. One that
//     changes the medium takes its place in the order table (order.go); behind
//     an earlier overlapping change it waits.
//  2. route (device.go): the selector picks a path of the group in use
//     (group.go). Without any, the task is parked (park.go).
//  3. launch: an attempt, with a request and holds of the payload of its own,
//     goes into the outbox (outbox.go); Device.send submits it with no lock held.
//  4. done (attempt.go, the session's goroutine): the table of classify.go says
//     whether the task ends, tries the same path again after a back-off, or
//     another one at once. A change whose end is not known leaves a ghost
//     (ghost.go). Changes that waited for it go on in the same step.
//
// Nothing of that allocates in the long run, and no goroutine is started.
//
// # Concurrency
//
//   - All exported methods are safe for concurrent use.
//   - Locks in order: Manager.adopting, Manager.mu, port.mu, Device.mu. Under
//     Device.mu only memory is touched; functions that need it end in Locked.
//     What has to be done outside goes through an outbox.
//   - Goroutines: one per port (control work: fence, scan, prove, one step after
//     another), one per device (its timer), one per discovered portal, one that
//     writes to the store. None is per request.
//   - Cores are pure and take what they need: nextHealth, nextAccess, classify,
//     the selectors, orderTable, vigil, slowPaths.
//
// # What the observer sees
//
// Each request leaves its window by Park or PathDown and enters it again by
// Unpark or Redrive, in strict alternation; park.go has the details.
// The capacity of the paths in use is told in the step that changes it, before
// what moves to other paths is sent again (capacity.go).
package multipath
