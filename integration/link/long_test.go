// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package link

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"pathgate/integration/detect"
	"pathgate/integration/gate"
)

// TestLongP16StallAfterLinkLoss takes one of two links down a hundred times: the goal
// is p99 50 ms from the moment at which the interface is down.
func TestLongP16StallAfterLinkLoss(t *testing.T) {
	const cuts = 100
	b := newBed(t, gate.Config{Timeouts: map[string]string{"failback": "10ms"}}, near(0), near(1))
	p := b.probe(t)
	s := detect.NewStalls(50*time.Millisecond, 50*time.Millisecond)
	defer s.Stop()
	for i, missed := 0, 0; s.Len() < cuts; i++ {
		adapter := "vmhba" + strconv.Itoa(i%2)
		b.g.WaitUp(t, 4, 30*time.Second)
		mark, from, at := b.g.Events.Mark(), s.Now(), time.Now()
		setLink(t, near(i%2), false)
		list := b.waitDown(t, mark, adapter)
		var moved []gate.Event
		gate.Poll(300*time.Millisecond, func() bool {
			moved = b.g.Events.Since(mark, func(e gate.Event) bool { return e.Kind == "failover" && strings.HasPrefix(e.Path, adapter+":") })
			return len(moved) == 2
		})
		done := p.Done()
		if !gate.Poll(20*time.Second, func() bool { return p.Done() > done+100 }) { // those that moved have ended
			t.Fatal("the load stands still")
		}
		setLink(t, near(i%2), true)
		if len(moved) == 0 {
			if missed++; missed > cuts {
				t.Fatal("the cuts meet no requests")
			}
			continue
		}
		n := 0
		for _, e := range moved {
			k, err := strconv.Atoi(e.Attrs["requests"])
			if err != nil {
				t.Fatalf("%v: %v", e, err)
			}
			n += k
		}
		s.Cut(p, from, at, list[len(list)-1].Time, n)
	}
	text, err := s.Judge()
	t.Logf("measured: link down: %s", text)
	if err != nil {
		t.Error(err)
	}
	if errs := p.Stop(); len(errs) > 0 {
		t.Errorf("%d requests failed: %v", len(errs), errs[0])
	}
}
