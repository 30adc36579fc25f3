// SPDX-License-Identifier: Apache-2.0

// Package link breaks the network of the gateway at its own end: interfaces that go
// down, lose their carrier or their address. Its tests run in a network namespace
// that dies with the test process; the targets are in another one, at the other ends
// of veth pairs:
//
//	gateway  pgl0 10.99.0.1 ──── pgt0 10.99.0.2, 10.99.0.3  tgtd
//	         pgl1 10.99.1.1 ──── pgt1 10.99.1.2, 10.99.1.3
//
// Each address of tgtd is a portal, so that each adapter has two paths of its own.
// It needs root.
package link
