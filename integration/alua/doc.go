// SPDX-License-Identifier: Apache-2.0

// Package alua has the tests of target port groups and of failback, with the
// gateway as a process of its own: against LIO in a guest with two groups (implicit
// and explicit changes, storage processor failover, the preferred bit), and, where
// the states of groups are no matter, against tgtd.
package alua
