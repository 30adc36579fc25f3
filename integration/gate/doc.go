// SPDX-License-Identifier: Apache-2.0

// Package gate runs the gateway as a child process, the way an administrator
// does: a configuration file, `pathgate serve -c FILE`, the control socket, the
// command line, signals. Tests of the whole product see it through this package
// only; it shares no code with what it tests.
//
//	g := gate.New(t, gate.Config{
//		Targets: []gate.Target{{Portals: []string{p0.Addr(), p1.Addr()}}},
//	})
//	c := g.Connect(t, "vm1/root")
//	mark := g.Events.Mark()
//	... cut a path ...
//	e := g.Events.Wait(t, mark, 3*time.Second, gate.Kind("failover"))
//
// The binary is built once for each test process, with the race detector if
// PATHGATE_E2E_RACE is set; PATHGATE_BINARY names a ready one instead.
//
// # Events
//
// Events follows the gateway's event stream from its first event on, over
// restarts too, so that a test can assert that the event which names its fault
// came. Times are those of the gateway; it runs on the same clock.
//
// # Measuring
//
// [Probe] keeps requests in flight on ranges that no other request touches and
// remembers each one's begin and end. What was in flight at the moment of a fault,
// and how long it took from there, is the failover as a client sees it.
//
// # Ends
//
// Kill is SIGKILL, Terminate is SIGTERM and waits for the exit status, Goroutines
// ends the process with SIGQUIT and counts what ran. A gateway is killed at the
// end of its test, and shows its log if the test failed; it dies with the test
// process.
package gate
