// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbdcrash

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pathgate/integration/guest"
)

// run has a guest do the work on the gateway's disk, and gives the record. at is called
// before each step.
func (b *bed) run(t *testing.T, w *work, at func(step int)) (l record, made int) {
	t.Helper()
	vm := guest.New(t, guest.Options{
		Script:   w.script("/dev/vda"),
		Modules:  []string{"ext4", "crc32c"},
		Programs: []string{"mkfs.ext4"},
		Files:    w.content,
		Drives: []string{"file=nbd:" + b.NBD() +
			":exportname=vm1/root,if=virtio,format=raw,cache=none,discard=unmap,detect-zeroes=unmap"},
		Timeout: patience,
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	asked := func(what string) int {
		t.Helper()
		if err := vm.WaitOutput(ctx, "ask "+what+"."); err != nil {
			t.Fatal(err)
		}
		return b.disk.length()
	}
	leave := func() {
		t.Helper()
		if err := vm.Send("go"); err != nil {
			t.Fatal(err)
		}
	}
	made = asked("made")
	leave()
	for i, s := range w.steps {
		s.from = asked(fmt.Sprintf("begin%d", i))
		at(i)
		leave()
		s.to = asked(fmt.Sprintf("end%d", i))
		leave()
	}
	asked("done")
	leave()
	if r, err := vm.Wait(ctx); err != nil || r.ExitCode != 0 {
		t.Fatalf("guest: %v, status %d:\n%s", err, r.ExitCode, r.Output)
	}
	l = b.disk.record()
	for _, s := range w.steps {
		s.sealed = l.lastFlush(s.to)
	}
	return l, l.lastFlush(made)
}

// plan is a crash test.
type plan struct {
	seed  uint64
	steps int
	some  int            // crashes after each flush, besides the flush itself
	at    func(step int) // called before each step
}

// crash runs p on b, mounts what each crash leaves, and finds all wrong images wrong.
func (b *bed) crash(t *testing.T, p plan) {
	t.Helper()
	begin := time.Now()
	w := newWork(p.steps, p.seed)
	l, made := b.run(t, w, p.at)
	b.sameAsDisk(t, l)
	worked := time.Since(begin)

	s := newShelf(t)
	prefixes(l, diskSize, made, p.some, p.seed, func(m image) { s.put(t, m) })
	good := len(s.list)
	s.controls(t, w, l)
	built := time.Since(begin) - worked

	replayed := 0
	for i, f := range s.inspect(t) {
		m := &s.list[i]
		faults := s.judge(t, w, i, &f)
		switch {
		case m.wrong && len(faults) == 0:
			t.Errorf("nothing was found wrong with %s", m.what)
		case !m.wrong && len(faults) > 0:
			t.Errorf("seed %d, %s, wrong: %q", p.seed, m.what, faults)
		}
		if f.replayed && !m.wrong {
			replayed++
		}
	}
	if replayed == 0 {
		t.Error("no image had a journal to replay: nothing was tried")
	}
	writes, zeroes, flushes, fua := l.count()
	t.Logf("measured: seed %d: %d steps, record of %d writes, %d zeroes and unmaps, %d flushes, %d with FUA; %d images of crashes "+
		"all right, %d with a journal replayed, %d wrong ones found; work %v, building %v, checking %v", p.seed, p.steps, writes, zeroes,
		flushes, fua, good, replayed, len(s.list)-good, worked, built, time.Since(begin)-worked-built)
}

// sameAsDisk finds that the record is what has happened to the disk.
func (b *bed) sameAsDisk(t *testing.T, l record) {
	t.Helper()
	if !bytes.Equal(l.without(diskSize, len(l), func(int) bool { return false }), b.disk.content(t)) {
		t.Fatal("the record is not what is on the disk")
	}
}

// newShelf makes an empty shelf in memory.
func newShelf(t *testing.T) *shelf {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "nbdcrash-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	f, err := os.Create(filepath.Join(dir, "images"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &shelf{f: f, size: diskSize}
}

// controls adds images that are wrong: one for each way in which a gateway could have
// answered a flush that it has not earned, at two steps that make a content durable.
func (s *shelf) controls(t *testing.T, w *work, l record) {
	t.Helper()
	n := 0
	for i, st := range w.steps {
		if st.writes == "" || n == 2 {
			continue
		}
		n++
		lost := l.find(st.from, st.sealed, []byte(w.content[st.writes][:page]))
		if len(lost) == 0 {
			t.Fatalf("step %d: no write of its content is in the record", i)
		}
		for what, leave := range map[string]func(int) bool{
			"a write that was lost":       func(at int) bool { return at >= lost[0] && at <= lost[len(lost)-1] },
			"a flush that was never done": func(at int) bool { return at >= st.from },
		} {
			s.put(t, image{
				what:    fmt.Sprintf("step %d with %s", i, what),
				flushed: st.sealed, ended: st.sealed, disk: l.without(diskSize, st.sealed, leave), wrong: true,
			})
		}
	}
	if n < 2 {
		t.Fatal("too few steps for the controls")
	}
}

// TestP1CrashReplay: whatever a crash of the storage leaves, the file system of a guest
// is right, and what the guest was told is durable is there.
func TestP1CrashReplay(t *testing.T) {
	newBed(t, 1).crash(t, plan{seed: 1, steps: 14, some: 1, at: func(int) {}})
}
