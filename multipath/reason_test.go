// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// TestReasonOutlivesTheFence: a path that was lost in silence says so while its
// session is fenced over the other portal and after that; the next word is that of a
// login over its own way.
func TestReasonOutlivesTheFence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		d := bd.device()
		bd.net.mute("10.0.0.1:3260")
		var calls []*call
		for i := range 8 {
			calls = append(calls, write(d, uint64(i)*4096, 4096, 1))
		}
		lost := func(want string) {
			t.Helper()
			n := 0
			for _, p := range bd.m.Paths() {
				if p.Portal != "10.0.0.1:3260" {
					continue
				}
				if n++; p.Health != Down.String() || !strings.Contains(p.Reason, want) {
					t.Errorf("%s is %s for %q, want down for %q", p.Name, p.Health, p.Reason, want)
				}
			}
			if n != 2 {
				t.Errorf("got %d paths through the portal, want 2", n)
			}
		}
		for range 100 {
			if time.Sleep(100 * time.Millisecond); len(bd.events.of(FenceDone)) == 2 {
				break
			}
		}
		if n := len(bd.events.of(FenceDone)); n != 2 {
			t.Fatalf("got %d fences, want 2: %+v", n, bd.events.all())
		}
		lost(backends.LossSilent.String())
		time.Sleep(2 * fakeLoginLimit)
		lost("login: no connection")
		bd.net.mend("10.0.0.1:3260")
		mustOK(t, calls...)
		bd.stop()
	})
}

// TestDenialOfAFenceIsNotThePaths: a login over another way that is denied, as by a
// portal of another group, says nothing of the path itself.
func TestDenialOfAFenceIsNotThePaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		bd.net.mute("10.0.0.1:3260")
		calls := []*call{write(bd.device(), 0, 4096, 1)}
		time.Sleep(3 * fakeLoginLimit)
		denied := func(r backends.Route, want Health) {
			t.Helper()
			n := 0
			for _, p := range bd.m.Paths() {
				if p.Portal != "10.0.0.1:3260" {
					continue
				}
				path, err := bd.m.pathOf(p.Name)
				if err != nil {
					t.Fatal(err)
				}
				var b backends.Batch
				path.port.Down(&b, path.port.nexus, backends.Loss{Class: backends.LossDenied, Err: errors.New("portal group 2 instead of 1"), Route: r})
				b.Run()
			}
			for _, p := range bd.m.Paths() {
				if p.Portal != "10.0.0.1:3260" {
					continue
				}
				if n++; p.Health != want.String() {
					t.Errorf("%s is %s after a denial over %+v, want %v", p.Name, p.Health, r, want)
				}
			}
			if n != 2 {
				t.Errorf("got %d paths through the portal, want 2", n)
			}
		}
		denied(backends.Route{Portal: "10.0.0.2:3260"}, Down)
		denied(backends.Route{}, Quarantined)
		bd.net.mend("10.0.0.1:3260")
		mustOK(t, calls...)
		bd.stop()
	})
}
