// SPDX-License-Identifier: Apache-2.0

// Package scripted is an iSCSI target that does what real ones will not do on
// demand: any sense code or status on the n-th command of a kind, another logical
// unit behind a LUN, another size, access states, answers that lie, come late or
// never, and bytes that no target should send. It listens on loopback and is built
// on internal/iscsi and internal/scsi.
//
// # Use
//
//	u := scripted.NewUnit(8 << 20)
//	tg := scripted.New(t, scripted.Options{
//		Portals: []scripted.Portal{{}, {}},
//		Units:   map[uint16]*scripted.Unit{1: u},
//	})
//	tg.On(scripted.Rule{Ops: scripted.Writes, Skip: 2, Times: 1, Do: scripted.Check(scsi.CodeWriteError)})
//
// Without rules it is a well-behaved disk: reads and writes in both directions
// with R2T, sense data, unit attentions, registrations, port groups and task
// management. A [Rule] takes commands out of that: what its action does not
// answer has no answer. An action may carry the command out by [Command.Run],
// before or after it has told something else.
//
// The bytes are on a [Medium], which several units of several targets may share,
// and which counts what reached it. A [Unit] is known by its identity; what is
// mapped where changes at any time by [Target.Map] and [Target.MapAt], what it
// says of itself by [Unit.Set], and what it has to tell by [Unit.Raise].
//
// # Faults of a portal
//
// [Target.Down] and [Target.Up] close and open its port, [Target.Cut] resets its
// connections, [Target.Stop] and [Target.Continue] leave what comes unread, as a
// stopped process does; [Target.OnLogin] refuses, redirects or delays logins, and
// [Target.Advertise] tells what SendTargets answers.
//
// # Concurrency
//
// All exported methods are safe for concurrent use. Actions run on the goroutine
// that reads the connection, unless they go on by [Command.Go]: one that waits
// there holds back all commands behind it. Locks in order: Target.mu, Unit.mu,
// Medium.mu; conn.mu is taken alone, or before those of units.
package scripted
