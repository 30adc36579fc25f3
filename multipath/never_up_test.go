// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// A device whose paths were never proved in this run lets nobody wait for longer than
// its rule says, or the time of a request where that is longer; then it is as any other.
func TestH12NeverUp(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rule  AllPathsDown
		least time.Duration
	}{
		{"fail", AllPathsDown{Fail: true}, 25 * time.Second},
		{"short", AllPathsDown{For: 10 * time.Second}, 25 * time.Second},
		{"long", AllPathsDown{For: 140 * time.Second}, 140 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bd := newBed(t)
				s := bd.net.server(iqn, portals(1)...)
				s.addLUN(1, newMedium(), naa(1))
				bd.store.off = map[string]bool{"vmhba0:0:1": true, "vmhba1:0:1": true}
				began := time.Now()
				bd.start(func(c *Config) { c.Rule = func(...string) Rule { return Rule{AllPathsDown: tt.rule} } })
				defer bd.stop()
				d := bd.device()
				early := read(d, 0, 4096)
				if res := early.wait(); res.Class != backends.NoPath {
					t.Errorf("got %v, want no path", res.Err())
				}
				if got := time.Since(began); got < tt.least || got > tt.least+time.Second {
					t.Errorf("it ended after %v, want %v", got, tt.least)
				}
				late := read(d, 0, 4096)
				if res := late.wait(); res.Class != backends.NoPath || time.Since(began) > tt.least+time.Second {
					t.Errorf("one later: %v after %v, want no path at once", res.Err(), time.Since(began))
				}
				if n := len(bd.events.of(NoPaths)); n != 1 {
					t.Errorf("got %d events, want one that no path works", n)
				}
				if err := bd.m.SetPathEnabled("vmhba0:0:1", true); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				mustOK(t, write(d, 0, 4096, 1))
				if n := len(bd.events.of(Restored)); n != 1 {
					t.Errorf("got %d events, want one that a path is there", n)
				}
			})
		})
	}
}
