// SPDX-License-Identifier: Apache-2.0

// Package nbdhosts tests disks of the gateway as block devices of Linux hosts: guests
// whose kernel has the nbd driver, with `pathgate attach` and with nbd-client, against
// the gateway as a process.
//
//	guest                                                 host
//	ext4
//	/dev/nbdN, set up by `pathgate attach` or nbd-client
//	TCP (10.0.2.2, by network card) ------> proxy door -> gateway -> proxy A -> tgtd
//	                                                              -> proxy B -> (two portals)
//
// The commands of docs/nbd.md, "Linux hosts", are run here as they stand there.
package nbdhosts
