// SPDX-License-Identifier: Apache-2.0

package thrash

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/linear"
	"pathgate/integration/stamp"
)

// Judge is 8 clients that use the disk, and tell whether it was right.
type Judge interface {
	// run uses the disk until ctx ends, and waits for all requests.
	run(ctx context.Context, seed uint64, targets []stamp.Target) error
	// enough tells whether it has seen enough after so many requests.
	enough(requests int64) bool
	// violations judges what was seen, and then file, what is on the disk; it tells t
	// of what was wrong, and gives how much that was.
	violations(t testing.TB, file io.ReaderAt) int64
}

// region is how much of the disk the stamps use: little, so that writes overlap.
const region = 2 * mib

// Stamps gives the judge of package stamp: 8 writers with 2 requests each.
func Stamps() Judge { return &stamps{} }

type stamps struct {
	c   *stamp.Checker
	rep *stamp.Report
}

func (s *stamps) run(ctx context.Context, seed uint64, targets []stamp.Target) (err error) {
	s.c, err = stamp.New(stamp.Config{
		Size: region, Writers: 8, Depth: 2, Seed: seed, MaxIO: 64 << 10, FUA: 5, Flushes: 2,
	})
	if err != nil {
		return err
	}
	s.rep, err = s.c.Run(ctx, targets...)
	return err
}

func (s *stamps) enough(int64) bool { return true }

func (s *stamps) violations(t testing.TB, file io.ReaderAt) int64 {
	t.Helper()
	if s.rep.Violations > 0 {
		t.Logf("stamps: %v", s.rep)
	}
	bad, err := s.c.Verify(file)
	if err != nil {
		t.Error(err)
	}
	for _, v := range bad {
		t.Logf("backing file: %v", v)
	}
	return s.rep.Violations + int64(len(bad))
}

// Linear gives the judge of package linear: 8 clients on 64 registers, at least
// 10,000 requests. A history that is none of a disk is drawn to a file, in
// PATHGATE_ARTIFACTS or a directory that is kept.
func Linear() Judge { return &linearity{} }

const (
	history    = 10_000
	checkLimit = 2 * time.Minute
)

type linearity struct{ h *linear.History }

func (l *linearity) run(ctx context.Context, seed uint64, targets []stamp.Target) (err error) {
	l.h, err = linear.Run(ctx, linear.Config{Seed: seed}, targets...)
	return err
}

func (l *linearity) enough(requests int64) bool { return requests >= history }

func (l *linearity) violations(t testing.TB, file io.ReaderAt) int64 {
	t.Helper()
	if err := l.h.Observe(file); err != nil {
		t.Error(err)
	}
	v := l.h.Check(checkLimit)
	t.Logf("measured: %v", v)
	if v.OK() {
		return 0
	}
	t.Errorf("not linearizable, drawn in %s", draw(t, v))
	return int64(max(1, len(v.Faults)))
}

// draw keeps the picture of a history, and names its file.
func draw(t testing.TB, v *linear.Verdict) string {
	dir := os.Getenv("PATHGATE_ARTIFACTS")
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "linear-"); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("history-%d.html", time.Now().UnixNano())))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := v.WriteHTML(f); err != nil {
		t.Error(err)
	}
	return f.Name()
}

// load is the clients of a round.
type load struct {
	b       *bed
	by      Judge
	meter   *meter
	clients []*client
	stop    context.CancelFunc
	done    chan error
}

// startLoad has the judge use the disk over 4 connections, and waits until it does.
func (b *bed) startLoad(t testing.TB, by Judge) *load {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	l := &load{b: b, by: by, meter: newMeter(b.plan.killsGateway()), stop: stop, done: make(chan error, 1)}
	var targets []stamp.Target
	for range 4 {
		k := &client{g: b.g, m: l.meter}
		l.clients, targets = append(l.clients, k), append(targets, k)
	}
	go func() {
		l.done <- by.run(ctx, b.plan.Seed, targets)
		close(l.done)
	}()
	t.Cleanup(func() {
		stop()
		for _, k := range l.clients {
			k.close() // ends what waits
		}
		<-l.done
	})
	if !gate.Poll(startLimit, func() bool { return l.meter.counts().done > 100 }) {
		t.Fatal("the clients do not get going")
	}
	return l
}

// finish ends the clients and judges all that they saw.
func (l *load) finish(t testing.TB, rep *Report) {
	t.Helper()
	if !gate.Poll(settleLimit, func() bool { return t.Failed() || l.by.enough(l.meter.counts().done) }) {
		t.Errorf("only %d requests", l.meter.counts().done)
	}
	l.stop()
	select {
	case err := <-l.done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(settleLimit):
		t.Fatal("requests do not end")
	}
	n := l.meter.counts()
	rep.Requests, rep.Cut, rep.Errors = n.done, n.cut, n.failed
	f, err := os.Open(l.b.file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rep.Violations = l.by.violations(t, f)
	if rep.Errors != 0 || rep.Violations != 0 && !l.b.plan.Unfenced {
		t.Errorf("%d violations, %d errors that were not foreseen, such as %v", rep.Violations, rep.Errors, n.why)
	}
}
