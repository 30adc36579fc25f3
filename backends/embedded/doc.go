// SPDX-License-Identifier: Apache-2.0

// Package embedded runs an iSCSI target, gostor/gotgt, in child processes of
// the same binary, so that a demonstration or a test has real sessions and
// several real paths to a LUN, and needs nothing but Go.
//
//	t, err := embedded.Start(ctx, embedded.Options{
//		Target:  "iqn.2026-11.internal.pathgate:demo",
//		Portals: []string{"127.0.0.1", "127.0.0.2"},
//		LUNs:    []embedded.LUN{{File: "disk1", Size: 64 << 20}},
//		Dir:     dir,
//	})
//	defer t.Close()
//
// The program's main calls Main when its first argument is Command; so does
// TestMain of a test that uses Start.
//
// # Processes and portals
//
// gotgt listens on one port, on every address. Portals with one port are so
// served by one process, as one portal group; each further port gets a process
// of its own with the same target name, LUNs and identities, on the same files,
// and a portal group of its own. gotgt keeps no cache, so processes agree on
// what a file holds. One process is one storage processor: stopping it (Stop,
// Cont) or killing it takes all its portals; a Relay in front of a portal cuts
// that path alone.
//
// gotgt knows nothing of authentication. A socket filter makes its port refuse
// whatever does not come over the loopback interface.
//
// # Its limits
//
// gotgt carries out the commands of a connection one after the other, panics on
// input that it does not expect, and has races at login: a process that ends is
// started again on the same port, and Restarts counts it. UNMAP and WRITE SAME
// do nothing, so neither is advertised. LUN RESET is answered and does nothing.
// The identity of a LUN is a weak one (NAA 3, within the target's name), made
// from target name and LUN number: the same after each start.
package embedded
