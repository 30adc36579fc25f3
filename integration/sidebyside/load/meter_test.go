// SPDX-License-Identifier: Apache-2.0

package load

import (
	"errors"
	"testing"
	"time"
)

func TestMeter(t *testing.T) {
	base := time.Unix(1000, 0)
	at := func(ms int) time.Time { return base.Add(time.Duration(ms) * time.Millisecond) }
	m := NewMeter(3, at(0))
	check := func(name string, now int, gap, longest, oldest, done int, settled bool) {
		t.Helper()
		r := m.Report(at(now))
		ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
		if oldest >= 0 && r.Oldest != ms(oldest) || oldest < 0 && r.Oldest >= 0 {
			t.Errorf("%s: oldest %v, want %d ms", name, r.Oldest, oldest)
		}
		if r.Gap != ms(gap) || r.Longest != ms(longest) || r.Done != int64(done) || r.Settled(ms(20)) != settled {
			t.Errorf("%s: got %+v (settled %v), want gap %d, longest %d, done %d, settled %v", name, r, r.Settled(ms(20)), gap, longest, done, settled)
		}
	}
	m.Begin(0, at(0))
	m.End(0, at(5), nil)
	m.Begin(0, at(6))
	m.Begin(1, at(90))
	check("before the mark", 95, 90, 89, 6, 1, false)
	m.Mark(at(100)) // two are in flight
	check("at the mark", 100, 0, 0, 0, 0, false)
	m.Begin(2, at(110))
	m.End(2, at(112), nil)
	check("two stand still", 130, 18, 30, 0, 1, false)
	m.End(0, at(150), nil)
	check("one does", 160, 38, 60, 0, 2, false)
	m.End(1, at(400), nil)
	check("none", 410, 250, 300, -1, 3, true)
	m.Begin(0, at(415))
	check("a new one", 425, 250, 300, 315, 3, true)
	m.End(0, at(430), errors.New("first"))
	m.Begin(0, at(431))
	m.End(0, at(432), errors.New("second"))
	if r := m.Report(at(440)); r.Errors != 2 || r.Failed != "first" {
		t.Errorf("got %+v", r)
	}
}
