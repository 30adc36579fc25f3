// SPDX-License-Identifier: Apache-2.0

// Package sidebyside compares the gateway with Linux' own open-iscsi and dm-multipath,
// in one guest, on the same two portals of one target, under the same load and through
// the same cuts.
//
//	host                                   guest
//	tgtd A <- proxy A <- network card A <- pathgate (LUN 2, /dev/nbd0)
//	tgtd B <- proxy B <- network card B <- open-iscsi, dm-multipath (LUN 1, /dev/dm-0)
//
// Both tgtd processes show the same files under the same names, as the two controllers
// of an array do. Each cut meets one path of both contenders at the same moment, and
// package load, in the guest, tells how long the requests of each stood still. The
// figures are in docs/side-by-side.md; `make sidebyside` makes them.
package sidebyside
