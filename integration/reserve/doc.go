// SPDX-License-Identifier: Apache-2.0

// Package reserve proves the reservations towards targets (HAZARDS H6, FEATURES
// PA-16) on the Linux kernel's target in a guest, where another initiator reads what
// the target really knows: a second gateway writes nothing until it preempts, keys
// are right after each loss of a path, and a write that is stuck on the way to a
// portal group that cannot be reached is fenced by its path's key (section 4 rule
// 6(c)). Its tests need the build tag integration.
package reserve
