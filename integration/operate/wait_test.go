// SPDX-License-Identifier: Apache-2.0

//go:build integration

package operate

import (
	"errors"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/nbdclient"
	"pathgate/integration/proxy"
)

// TestPA12DisksWaitEachItsTime: two disks of one LUN have different times without a
// path. What the first asks for fails at its time, also what a scheduler had queued;
// the other's waits on, and completes when a path is back.
func TestPA12DisksWaitEachItsTime(t *testing.T) {
	b := newBed(t, gate.Config{Disks: []string{
		`{name: hasty, lun: "vmhba0:0:1", size: 8MiB, all-paths-down: 2s}`,
		`{name: patient, lun: "vmhba0:0:1", offset: 8MiB, size: 8MiB}`, // the LUN's rule: queue
	}})
	hasty, patient := b.g.Connect(t, "vm1/hasty"), b.g.Connect(t, "vm1/patient")
	mark := b.g.Events.Mark()
	b.cut(0)
	b.cut(1)
	e := b.g.Events.Wait(t, mark, settle, gate.Kind("all-paths-down"))
	if e.Message != "requests wait for 2s to queue, each for its disk's time" {
		t.Errorf("told %q", e.Message)
	}
	type end struct {
		err error
		at  time.Time
	}
	run := func(c *nbdclient.Client, n int) chan end {
		ends := make(chan end, n)
		for i := range n {
			go func() {
				_, err := c.WriteAt(make([]byte, 4096), int64(i)*4096)
				ends <- end{err, time.Now()}
			}()
		}
		return ends
	}
	fails, waits := run(hasty, 8), run(patient, 8)
	for range cap(fails) {
		select {
		case got := <-fails:
			if !errors.Is(got.err, nbdclient.EIO) || got.at.Sub(e.Time) < 2*time.Second {
				t.Errorf("of the disk that waits 2 s: %v, %v after the loss", got.err, got.at.Sub(e.Time))
			}
		case <-time.After(settle):
			t.Fatal("a request of the disk that waits 2 s waits on")
		}
	}
	begin := time.Now()
	if _, err := hasty.ReadAt(make([]byte, 4096), 0); !errors.Is(err, nbdclient.EIO) {
		t.Errorf("one that comes later: %v after %v", err, time.Since(begin))
	}
	if n := len(waits); n != 0 {
		t.Errorf("%d requests of the other disk have ended too: %v", n, (<-waits).err)
	}
	b.restore()
	for range cap(waits) {
		select {
		case got := <-waits:
			if got.err != nil {
				t.Errorf("of the other disk, with a path again: %v", got.err)
			}
		case <-time.After(settle):
			t.Fatal("a request of the other disk does not end")
		}
	}
	if _, err := hasty.WriteAt(make([]byte, 4096), 0); err != nil {
		t.Errorf("of the first disk, with a path again: %v", err)
	}
}

// TestPA9VerbsAnswerWithoutPaths: with all paths black-holed each verb answers in 100 ms.
func TestPA9VerbsAnswerWithoutPaths(t *testing.T) {
	b := newBed(t, gate.Config{})
	c := b.g.Connect(t, "vm1/root")
	for _, p := range b.proxies {
		p.MustSet(proxy.Fault{Kind: proxy.BlackHole})
	}
	done := make(chan error, 1)
	go func() {
		_, err := c.WriteAt(make([]byte, 4096), 0)
		done <- err
	}()
	name := b.g.Paths(t)[0].Name
	for _, r := range []struct{ method, path, body string }{
		{"GET", "/v1/topology", ""},
		{"GET", "/v1/simulate?without=vmhba0", ""},
		{"GET", "/v1/paths/" + name, ""},
		{"POST", "/v1/paths/" + name + "/fail", `{"hold":true,"force":true}`},
		{"POST", "/v1/paths/" + name + "/reinstate", ""},
		{"POST", "/v1/rescan", ""},
		{"GET", "/v1/rescan", ""},
		{"GET", "/v1/devices", ""},
	} {
		least := time.Hour // a machine that is busy is late once, a verb that waits is late each time
		for try := 0; try < 20 && least > 100*time.Millisecond; try++ {
			begin := time.Now()
			if err := b.g.Request(r.method, r.path, r.body); err != nil {
				t.Fatalf("%s %s: %v", r.method, r.path, err)
			}
			least = min(least, time.Since(begin))
		}
		if least > 100*time.Millisecond {
			t.Errorf("%s %s answers after %v at best", r.method, r.path, least)
		}
	}
	b.restore()
	b.g.MustCLI(t, "path", "reinstate", name, "--wait", "0")
	if err := <-done; err != nil {
		t.Errorf("the write: %v", err)
	}
}
