// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbdcrash

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pathgate/integration/guest"
)

// client is how a guest gets at the disk.
type client struct {
	device, before, after string // of the work: what the guest's script does
	options               guest.Options
}

// virtio is a disk of QEMU, which is the NBD client.
func (b *bed) virtio(*testing.T) client {
	return client{device: "/dev/vda", options: guest.Options{
		Modules:  []string{"ext4", "crc32c"},
		Programs: []string{"mkfs.ext4"},
		Drives: []string{"file=nbd:" + b.NBD() +
			":exportname=vm1/root,if=virtio,format=raw,cache=none,discard=unmap,detect-zeroes=unmap"},
	}}
}

// run has a guest do the work on the gateway's disk, and gives the record and how long it
// was when there was a file system.
func (b *bed) run(t *testing.T, w *work, p *plan) (l record, made int) {
	t.Helper()
	c := p.client(t)
	c.options.Script = "set -e\nask() { echo \"ask $1.\"; read -r leave; }\n" + c.before + w.script(c.device) + c.after
	c.options.Files = w.content
	c.options.Timeout = patience
	vm := guest.New(t, c.options)
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
		if p.at != nil {
			p.at(i)
		}
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
	if list := w.unearned(l); len(list) > 0 {
		t.Errorf("steps %v were told to be durable, and no flush has reached the disk", list)
	}
	return l, l.lastFlush(made)
}

// plan is a crash test.
type plan struct {
	seed   uint64
	steps  int
	some   int // crashes after each flush, besides the flush itself
	client func(*testing.T) client
	at     func(step int) // called before each step; nil: nothing is
}

// crash runs p on b, mounts what each crash leaves, and finds all wrong images wrong. It
// gives the record.
func (b *bed) crash(t *testing.T, p plan) record {
	t.Helper()
	begin := time.Now()
	w := newWork(p.steps, p.seed)
	l, made := b.run(t, w, &p)
	b.same(t, l)
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
	return l
}

// same finds that the record is what has happened to the disk.
func (b *bed) same(t *testing.T, l record) {
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
		unflushed := slices.Clone(l)
		for at := st.from; at < st.to; at++ {
			if unflushed[at].barrier() {
				unflushed[at] = entry{} // does nothing
			}
		}
		if !slices.Contains(w.unearned(unflushed), i) {
			t.Errorf("step %d: nothing was found wrong without its flushes", i)
		}
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
	b := newBed(t, 1)
	b.crash(t, plan{seed: 1, steps: 12, some: 1, client: b.virtio})
}
