// SPDX-License-Identifier: Apache-2.0

//go:build pathgate_unfenced

package multipath

// unfenced switches fencing off, in a program that tests build for themselves to
// see that a stale write then gets through.
const unfenced = true
