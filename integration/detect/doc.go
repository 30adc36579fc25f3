// SPDX-License-Identifier: Apache-2.0

// Package detect shows what the gateway finds out about its paths, as a process,
// against targets that fail in one way at a time: what broke (portal, storage
// processor, LUN), an idle path that does not work, one that answers checks and fails
// I/O, one that comes and goes, one that is slow. What its own interfaces tell is in
// package link.
package detect
