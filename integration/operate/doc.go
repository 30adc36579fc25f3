// SPDX-License-Identifier: Apache-2.0

// Package operate proves the operator's verbs on the real program with tgtd behind
// fault proxies: paths are failed, reinstated, looked at and searched for by hand, what
// device simulate tells is held against what there is once the paths are really cut,
// disks on one LUN wait for a path each its own time, and a suspended device is sent
// nothing. Its tests need tgtd and the build tag integration.
package operate
