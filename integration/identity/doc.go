// SPDX-License-Identifier: Apache-2.0

// Package identity tests what the path manager makes of targets that lie, change
// or fail: the whole error table, logical units that are swapped, resized or shown
// twice, lists of LUNs and unit attentions without end, and bits that flip. The
// targets are scripted ones and tgtd; the manager and the initiator are the real
// ones, over TCP.
package identity
