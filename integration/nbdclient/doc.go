// SPDX-License-Identifier: Apache-2.0

// Package nbdclient is a small NBD client for tests, written from the protocol
// text alone. It shares no code with the NBD server of this repository, so that
// a misreading of the protocol on one side shows as a failed test and not as
// two ends that agree on the same mistake.
//
// There are two levels:
//
//   - [Raw] is a connection on which a test sends and reads what it likes:
//     single handshake messages, options with a lying length, half a request.
//     Hostile tests use it.
//   - [Client] is a negotiated connection with any number of requests in
//     flight; replies are taken in whatever order they come. Correctness and
//     fault tests use it, and it is a target of the stamp checker.
//
// Usage:
//
//	c, err := nbdclient.Connect(ctx, nbdclient.Config{Addr: "unix:/run/nbd.sock", Export: "vm1/root"})
//	if err != nil { ... }
//	defer c.Close()
//	_, err = c.Do(ctx, nbdclient.CmdWrite, nbdclient.FlagFUA, 0, 4096, data)
//	data, err = c.Do(ctx, nbdclient.CmdRead, 0, 0, 4096, nil)
//
// The client does not stop a caller from sending what the protocol forbids
// (flags that were not offered, ranges outside the export): seeing the server
// refuse them is the point. It is strict about what the server sends.
//
// Concurrency: all methods of Client may be called from any goroutine. A Raw
// belongs to one goroutine.
package nbdclient
