// SPDX-License-Identifier: Apache-2.0

// Package gotgt runs gostor/gotgt, an iSCSI target that shares no code with ours,
// in child processes of a test or a benchmark: a second peer for our initiator, with real sessions
// and several real portals, that needs nothing but Go. The tests of this package hold
// the initiator to it; run them with build tag integration.
//
//	t, err := gotgt.Start(ctx, gotgt.Options{
//		Target:  "iqn.2026-11.internal.pathgate:peer",
//		Portals: []string{"127.0.0.1", "127.0.0.2"},
//		LUNs:    []gotgt.LUN{{File: "disk1", Size: 64 << 20}},
//		Dir:     dir,
//	})
//	defer t.Close()
//
// The program's main, or TestMain, calls Main when its first argument is Command. The program
// pathgate does not import this package, and integration/deps sees to that.
//
// # Processes and portals
//
// gotgt listens on one port, on every address. Portals with one port are so
// served by one process, as one portal group; each further port gets a process
// of its own with the same target name, LUNs and identities, on the same files,
// and a portal group of its own. gotgt keeps no cache, so processes agree on
// what a file holds. One process is one storage processor: stopping it (Stop,
// Cont) or killing it takes all its portals.
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
package gotgt
