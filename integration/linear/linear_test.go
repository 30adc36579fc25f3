// SPDX-License-Identifier: Apache-2.0

package linear

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// disk is a disk in memory that is right, but for one fault that is made on purpose.
type disk struct {
	fault string

	mu   sync.Mutex
	r    *rand.Rand
	b    []byte
	old  []byte // contents of a while ago
	ops  int
	late []late // to be written again, or at last
}

type late struct {
	p    []byte
	off  int64
	when int
}

func newDisk(fault string, seed uint64) *disk {
	return &disk{fault: fault, r: rand.New(rand.NewPCG(seed, 1)), b: make([]byte, 64*SectorSize)}
}

var errDisk = errors.New("the disk says no")

// stepLocked counts a request and does what is late.
func (d *disk) stepLocked() {
	d.ops++
	if d.ops%50 == 0 {
		d.old = bytes.Clone(d.b)
	}
	for len(d.late) > 0 && d.late[0].when <= d.ops {
		l := d.late[0]
		d.late = d.late[1:]
		copy(d.b[l.off:], l.p)
	}
}

func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	runtime.Gosched()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stepLocked()
	src := d.b
	if d.fault == "stale" && d.old != nil && d.r.IntN(20) == 0 {
		src = d.old
	}
	copy(p, src[off:])
	return len(p), nil
}

func (d *disk) WriteAt(p []byte, off int64) (int, error) {
	runtime.Gosched()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stepLocked()
	hit := d.ops > 20 && d.r.IntN(20) == 0
	switch {
	case d.fault == "lost" && hit:
		return len(p), nil
	case d.fault == "torn" && hit:
		copy(d.b[off:], p[:len(p)-SectorSize/2])
		return len(p), nil
	case d.fault == "misdirected" && hit && off >= SectorSize:
		copy(d.b[off-SectorSize:], p)
		return len(p), nil
	case d.fault == "doubled" && hit:
		d.late = append(d.late, late{bytes.Clone(p), off, d.ops + 60})
	case d.fault == "ghost" && hit: // failed, and lands behind newer ones
		d.late = append(d.late, late{bytes.Clone(p), off, d.ops + 60})
		return 0, errDisk
	case d.fault == "errors" && hit: // failed, and took effect or not: both are right
		if d.r.IntN(2) == 0 {
			copy(d.b[off:], p)
		}
		return 0, errDisk
	}
	copy(d.b[off:], p)
	return len(p), nil
}

func (d *disk) Flush() error { return nil }

// The checker itself: a disk that is right passes, each fault is found.
func TestInjectedFaultsAreFound(t *testing.T) {
	for _, tt := range []struct {
		fault string
		right bool
	}{{"", true}, {"errors", true}, {"stale", false}, {"torn", false}, {"lost", false}, {"misdirected", false}, {"doubled", false}, {"ghost", false}} {
		t.Run("fault "+tt.fault, func(t *testing.T) {
			for seed := range uint64(5) {
				d := newDisk(tt.fault, seed)
				h, err := Run(context.Background(), Config{Ops: 1000, Seed: seed}, d)
				if err != nil {
					t.Fatal(err)
				}
				v := h.Check(20 * time.Second)
				if v.OK() != tt.right || v.Result == porcupine.Unknown {
					t.Errorf("seed %d: %v", seed, v)
				}
			}
		})
	}
}

// A full history is judged in a time that tests can afford.
func TestFullHistory(t *testing.T) {
	h, err := Run(context.Background(), Config{Ops: 10_000}, newDisk("errors", 1))
	if err != nil {
		t.Fatal(err)
	}
	if v := h.Check(time.Minute); !v.OK() || v.Requests < 10_000 {
		t.Error(v)
	}
}

// script makes a history of one sector by hand.
type script struct {
	h *History
	t *testing.T
}

func (s script) write() *Write {
	w, _ := s.h.BeginWrite(1, 0, 1)
	return w
}

func (s script) acked() *Write {
	w := s.write()
	s.h.EndWrite(w, false)
	return w
}

func (s script) sees(w *Write) {
	r := s.h.BeginRead(0, 0, 1)
	s.h.EndRead(r, contents(w, w))
}

// contents are those of a sector, half of each.
func contents(a, b *Write) []byte {
	h := NewHistory(1)
	var p []byte
	for _, w := range []*Write{a, b} {
		h.writes = make([]*Write, w.id-1)
		_, half := h.BeginWrite(0, 0, 1)
		p = append(p, half[:SectorSize/2]...)
	}
	return p
}

func (s script) check(right bool) {
	s.t.Helper()
	if v := s.h.Check(10 * time.Second); v.OK() != right {
		s.t.Errorf("got %v, want %v", v, right)
	}
}

// TestErrors is the rule about writes that failed (HAZARDS 6), case by case.
func TestErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		play  func(s script)
		right bool
	}{
		"it took effect late": {func(s script) {
			s.acked()
			w := s.write()
			s.h.EndWrite(w, true)
			s.sees(w)
		}, true},
		"it took no effect": {func(s script) {
			a, w := s.acked(), s.write()
			s.h.EndWrite(w, true)
			s.sees(a)
			s.sees(s.acked())
		}, true},
		"it took effect while the next one waited": {func(s script) {
			a, w := s.acked(), s.write()
			s.h.EndWrite(w, true)
			next := s.write()
			s.sees(a)
			s.sees(w)
			s.h.EndWrite(next, false)
			s.sees(next)
		}, true},
		"a ghost behind the next one's acknowledgement": {func(s script) {
			w := s.write()
			s.h.EndWrite(w, true)
			s.acked()
			s.sees(w)
		}, false},
		"a ghost between the next one's effect and its acknowledgement": {func(s script) {
			w := s.write()
			s.h.EndWrite(w, true)
			next := s.write()
			s.sees(next)
			s.h.EndWrite(next, false)
			s.sees(w)
		}, false},
		"a write that began before the error closes nothing": {func(s script) {
			w, next := s.write(), s.write()
			s.h.EndWrite(w, true)
			s.h.EndWrite(next, false)
			s.sees(next)
			s.sees(w)
		}, true},
		"without an answer it stays open": {func(s script) {
			w := s.write()
			a := s.acked()
			s.sees(a)
			s.sees(w)
		}, true},
		"without an answer it takes effect once": {func(s script) {
			w := s.write()
			s.sees(w)
			s.sees(s.acked())
			s.sees(w)
		}, false},
		"a read in the middle of a write": {func(s script) {
			a, w := s.acked(), s.write()
			r := s.h.BeginRead(0, 0, 1)
			s.h.EndRead(r, contents(a, w))
			s.h.EndWrite(w, false)
		}, true},
		"torn at rest": {func(s script) {
			a, b := s.acked(), s.acked()
			r := s.h.BeginRead(0, 0, 1)
			s.h.EndRead(r, contents(a, b))
		}, false},
		"a value that nobody wrote": {func(s script) {
			a := s.acked()
			r := s.h.BeginRead(0, 0, 1)
			s.h.EndRead(r, contents(a, &Write{id: 77}))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := script{NewHistory(1), t}
			tt.play(s)
			s.check(tt.right)
		})
	}
}

func TestHTML(t *testing.T) {
	s := script{NewHistory(1), t}
	a := s.acked()
	s.sees(s.acked())
	s.sees(a)
	v := s.h.Check(10 * time.Second)
	name := filepath.Join(t.TempDir(), "history.html")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(v.WriteHTML(f), f.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil || !bytes.Contains(b, []byte("read saw write 1")) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}
