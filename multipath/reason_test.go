// SPDX-License-Identifier: Apache-2.0

package multipath

import (
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
