// SPDX-License-Identifier: Apache-2.0

// Package shares measures what VMs get of a LUN whose speed is known, over real NBD
// connections, against the acceptance table of the share scheduler (SCHEDULER
// section 6).
//
//   - load.go: clients that keep so many commands outstanding, or ask for so many
//     per second. clock.go: when this process stood still. judge.go: rates over a
//     time against what is to be had.
//   - rig_test.go and row_*_test.go: router, disk and NBD server in this process, on
//     a device that serves so many units per second and no more
//     (backends.ServiceFault).
//   - bed_test.go and serve_*_test.go: `pathgate serve` between the same clients and
//     tgtd, whose two portals are behind proxies of a fixed rate each.
//
// The rates of the table are scaled down, so that the device and never the machine is
// the bottleneck; all its ratios stay. A rate is right within 5 % of the table or, if
// that is more, two quanta in the time measured (SCHEDULER section 6). Where the
// machine kept this process from running, another time is measured; the bound stays.
//
// The tests need the build tag integration, those of TestLong... long too.
package shares
