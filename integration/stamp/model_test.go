// SPDX-License-Identifier: Apache-2.0

package stamp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// script drives the model with a history of one sector, written as steps:
//
//	w1 (write 1 begins)  a1 (acknowledged)  e1 (error)
//	r1 (read 1 begins)   r1=2 (read 1 ends and returns the value of write 2; 0 = initial)
//
// A step with a trailing ! must be a violation, and no other may be.
func script(t *testing.T, steps string) {
	t.Helper()
	m := newModel(1, 8, nil)
	writes, reads := map[int]*op{}, map[int]read{}
	for _, step := range strings.Fields(steps) {
		var n, v int
		text, bad := strings.CutSuffix(step, "!")
		switch {
		case text[0] == 'w':
			fmt.Sscanf(text, "w%d", &n)
			writes[n] = m.beginWrite(1, 3, 1)
		case text[0] == 'a' || text[0] == 'e':
			fmt.Sscanf(text[1:], "%d", &n)
			m.endWrite(writes[n], text[0] == 'e')
		case !strings.Contains(text, "="):
			fmt.Sscanf(text, "r%d", &n)
			reads[n] = m.beginRead(3, 1)
		default:
			fmt.Sscanf(text, "r%d=%d", &n, &v)
			b := make([]byte, SectorSize)
			if v != 0 {
				Stamp{Run: 1, LBA: 3, Writer: 1, Seq: writes[v].seq}.Put(b)
			}
			if got := m.endRead(reads[n], b); (len(got) != 0) != bad {
				t.Errorf("%s\nstep %s: violations %v", steps, step, got)
			}
		}
	}
}

func TestHistories(t *testing.T) {
	tests := []struct{ name, steps string }{
		{"initial, then written", "r1 r1=0 w1 a1 r2 r2=1"},
		{"initial after an acknowledged write", "w1 a1 r1 r1=0!"},
		{"read beside a write may be old or new", "w1 r1 r1=0 r2 r2=1 a1 r3 r3=1"},
		{"new seen before the acknowledgement, then old", "w1 r1 r1=1 r2 r2=0! a1"},
		{"lost write", "w1 a1 w2 a2 r1 r1=1!"},
		{"either of two concurrent writes", "w1 w2 a1 a2 r1 r1=1 r2 r2=1"},
		{"other of two concurrent writes", "w1 w2 a2 a1 r1 r1=2 r2 r2=2"},
		{"flip between two concurrent writes", "w1 w2 a1 a2 r1 r1=1 r2 r2=2!"},
		{"flip back while the second is in flight", "w1 a1 w2 r1 r1=2 r2 r2=1! a2"},
		{"order seen while in flight binds", "w1 w2 r1 r1=1 r2 r2=2 a1 a2 r3 r3=1!"},
		{"order seen, then forgotten by the disk", "w1 w2 r1 r1=1 a1 r2 r2=2 a2 r3 r3=0!"},
		{"write in flight may take effect late", "w1 a1 w2 r1 r1=1 r2 r2=1 a2 r3 r3=2"},
		{"read that began before the write's end", "w1 r1 a1 w2 a2 r1=1"},
		{"the same, after both", "w1 a1 w2 a2 r1 w3 r1=1!"},
		{"failed write stays possible", "w1 a1 w2 e2 r1 r1=1 r2 r2=2 r3 r3=2"},
		{"failed write, seen, then gone", "w1 a1 w2 e2 r1 r1=2 r2 r2=1!"},
		{"failed write is closed by a later acknowledged one", "w1 e1 w2 a2 r1 r1=1!"},
		{"not by one that began before the error", "w1 w2 e1 a2 r1 r1=1"},
		{"nor by one that failed too", "w1 e1 w2 e2 r1 r1=1 r2 r2=2"},
		{"before the acknowledgement it may still land", "w1 e1 w2 r1 r1=1 a2 r2 r2=2"},
		{"and not after it", "w1 e1 w2 r1 r1=1 a2 r2 r2=1!"},
		{"ghost of a retried write", "w1 a1 w2 a2 r1 r1=2 r2 r2=1!"},
		{"write without an answer stays open", "w1 w2 a2 w3 a3 r1 r1=1 r2 r2=1"},
		{"but lands once", "w1 w2 a2 r1 r1=1 w3 a3 r2 r2=3 r3 r3=1!"},
		{"overwritten by many", "w1 a1 w2 a2 w3 a3 w4 a4 w5 a5 w6 a6 w7 a7 w8 a8 w9 a9 w10 a10 r1 r1=1!"},
		{"failed and overwritten by many", "w1 e1 w2 a2 w3 a3 w4 a4 w5 a5 w6 a6 w7 a7 w8 a8 w9 a9 w10 a10 r1 r1=1!"},
		{"open among many", "w1 w2 a2 w3 a3 w4 a4 w5 a5 w6 a6 w7 a7 w8 a8 w9 a9 w10 a10 r1 r1=1"},
		{"a slow read saves what it may still return", "w1 a1 r1 w2 a2 w3 a3 w4 a4 w5 a5 w6 a6 w7 a7 w8 a8 w9 a9 w10 a10 r1=1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { script(t, tt.steps) })
	}
}

// event is one operation of a finished history of one register.
type event struct {
	write      bool
	value      int
	start, end int
	failed     bool
}

// linearizable is the slow and obvious judge: it tries every order that keeps
// to real time. Writes that failed may take effect at any later time or never.
func linearizable(h []event) bool {
	var try func(done uint, cur int) bool
	memo := map[[2]uint]bool{}
	try = func(done uint, cur int) bool {
		key := [2]uint{done, uint(cur)}
		if memo[key] {
			return false
		}
		memo[key] = true
		left := false
		for i, e := range h {
			if done&(1<<i) != 0 {
				continue
			}
			if !e.failed {
				left = true
			}
			early := true // nothing that is still to be placed ended before e began
			for j, f := range h {
				early = early && (done&(1<<j) != 0 || f.failed || f.end > e.start)
			}
			if !early || !e.write && e.value != cur {
				continue
			}
			next := cur
			if e.write {
				next = e.value
			}
			if try(done|1<<i, next) {
				return true
			}
		}
		return !left
	}
	return try(0, 0)
}

// The model and the slow judge must agree on random histories.
func TestModelAgreesWithSearch(t *testing.T) {
	good, wrong := 0, 0
	for seed := range uint64(4000) {
		h, flagged := randomHistory(seed)
		if want := linearizable(h); want == flagged {
			t.Fatalf("seed %d: search says good=%v, model says good=%v:\n%+v", seed, want, !flagged, h)
		} else if want {
			good++
		} else {
			wrong++
		}
	}
	if good < 200 || wrong < 200 {
		t.Errorf("%d good and %d wrong histories: the test is one-sided", good, wrong)
	}
}

// randomHistory plays up to 4 operations at once on one sector of a disk that
// is sometimes wrong, and reports what the model said. No writes fail here:
// the rule for those is stricter than linearizability and has its own tests.
func randomHistory(seed uint64) (h []event, flagged bool) {
	r := rand.New(rand.NewPCG(seed, 0))
	m := newModel(1, 1, nil)
	type running struct {
		at int // in h
		op *op
		rd read
	}
	var live []running
	var seqs []uint64 = []uint64{0}
	clock := 0
	cur, past := 0, []int{0}
	for len(h) < 9 || len(live) > 0 {
		clock++
		if len(h) < 9 && (len(live) == 0 || len(live) < 4 && r.IntN(2) == 0) {
			e := event{start: clock, write: r.IntN(2) == 0}
			l := running{at: len(h)}
			if e.write {
				l.op = m.beginWrite(1, 0, 1)
				seqs = append(seqs, l.op.seq)
				e.value = len(seqs) - 1
				past = append(past, e.value)
			} else {
				l.rd = m.beginRead(0, 1)
			}
			h, live = append(h, e), append(live, l)
			continue
		}
		i := r.IntN(len(live))
		l := live[i]
		live = slices.Delete(live, i, i+1)
		e := &h[l.at]
		e.end = clock
		if e.write {
			cur = e.value
			m.endWrite(l.op, false)
			continue
		}
		e.value = cur
		if r.IntN(3) == 0 {
			e.value = past[r.IntN(len(past))] // old, or not yet acknowledged
		}
		b := make([]byte, SectorSize)
		if e.value != 0 {
			Stamp{Run: 1, Writer: 1, Seq: seqs[e.value]}.Put(b)
		}
		if len(m.endRead(l.rd, b)) != 0 {
			flagged = true
		}
		if flagged { // the model has noted the rest no more: judge what there is
			break
		}
	}
	var finished []event
	for _, e := range h {
		if e.end == 0 {
			if !e.write {
				continue
			}
			e.end, e.failed = 1<<30, true // no answer: may or may not take effect
		}
		finished = append(finished, e)
	}
	return finished, flagged
}

func TestStampParsing(t *testing.T) {
	want := Stamp{Run: 9, LBA: 77, Writer: 3, Seq: 12345}
	b := make([]byte, SectorSize)
	want.Put(b)
	if got, err := parse(b, 9); err != nil || got != want {
		t.Fatalf("got %+v, %v", got, err)
	}
	if _, err := parse(b, 10); err != errNoStamp {
		t.Errorf("another run: %v", err)
	}
	other := make([]byte, SectorSize)
	Stamp{Run: 9, LBA: 77, Writer: 3, Seq: 12346}.Put(other)
	for cut := 1; cut < SectorSize; cut++ { // torn between two stamps, at every byte where they differ
		torn := append(bytes.Clone(b[:cut]), other[cut:]...)
		if bytes.Equal(torn, b) || bytes.Equal(torn, other) {
			continue
		}
		if _, err := parse(torn, 9); err != errTorn {
			t.Fatalf("torn at %d: %v", cut, err)
		}
	}
}
