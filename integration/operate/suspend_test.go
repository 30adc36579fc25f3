// SPDX-License-Identifier: Apache-2.0

//go:build integration

package operate

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/nbdclient"
)

// waitQueued waits until so many requests wait in the device.
func (b *bed) waitQueued(n int) {
	b.t.Helper()
	b.g.WaitDevices(b.t, settle, func(list []gate.Device) bool { return len(list) == 1 && list[0].Queued == n })
}

// moved is what has gone to the target and what it has done with it: bytes of writes on
// the wire, commands by the paths' count, and the medium.
func (b *bed) moved() (traffic string, medium []byte) {
	b.t.Helper()
	for _, p := range b.proxies {
		traffic += fmt.Sprintf("%d bytes ", p.Counters().ToTarget.DataBytes)
	}
	for _, p := range b.g.Paths(b.t) {
		traffic += fmt.Sprintf("%s %d reads %d writes %d in flight ", p.Name, p.Reads, p.Writes, p.Inflight)
	}
	medium, err := os.ReadFile(b.lun)
	if err != nil {
		b.t.Fatal(err)
	}
	return traffic, medium
}

// writes begins four writes and gives their ends.
func writes(c *nbdclient.Client) chan error {
	ends := make(chan error, 4)
	for i := range cap(ends) {
		go func() {
			_, err := c.WriteAt(make([]byte, 4096), int64(i)*4096)
			ends <- err
		}()
	}
	return ends
}

// mustEnd waits for as many ends as there is room for, each as it should be.
func mustEnd(t *testing.T, ends chan error, want error) {
	t.Helper()
	for range cap(ends) {
		select {
		case err := <-ends:
			if !errors.Is(err, want) {
				t.Errorf("a request ended with %v, want %v", err, want)
			}
		case <-time.After(settle):
			t.Fatal("a request does not end")
		}
	}
}

// TestPA17Suspend: under load nothing is in flight when suspend has answered, and nothing
// goes to the target until resume; then all ends without an error. Who asked is told. A
// gateway that is stopped meanwhile ends.
func TestPA17Suspend(t *testing.T) {
	b := newBed(t, gate.Config{Timeouts: map[string]string{"drain": "500ms"}}, "name: "+target) // so that no SendTargets moves the counters
	const workers = 8
	c := b.g.Connect(t, "vm1/root")
	load := gate.StartProbe(0, 8*mib, workers, c)
	for round := range 3 {
		before := load.Done()
		if !gate.Poll(settle, func() bool { return load.Done() > before+100 }) {
			t.Fatal("no load")
		}
		mark := b.g.Events.Mark()
		if out := b.g.MustCLI(t, "device", "suspend", "vmhba0:0:1"); !strings.HasPrefix(out, "device vmhba0:0:1: available,suspended;") {
			t.Errorf("suspend printed %q", out)
		}
		traffic, medium := b.moved()
		b.waitQueued(workers) // each has sent one more, and waits for it
		done := load.Done()
		if round > 0 {
			b.g.MustCLI(t, "device", "suspend", "vmhba0:0:1", "--wait", "5s") // once more
		}
		after, then := b.moved()
		if traffic != after || !bytes.Equal(medium, then) || load.Done() != done {
			t.Errorf("round %d: %s; %s; the medium is the same: %v; %d requests ended", round, traffic, after, bytes.Equal(medium, then), load.Done()-done)
		}
		shown := decoded[struct {
			Suspended, Quiet bool
			Held             map[string]int
		}](b, "device", "show", "vmhba0:0:1")
		if !shown.Suspended || !shown.Quiet || shown.Held["suspended"] != workers {
			t.Errorf("shown: %+v", shown)
		}
		b.g.MustCLI(t, "device", "resume", "vmhba0:0:1")
		b.g.Events.Wait(t, mark, settle, gate.Kind("device-suspended"))
		b.g.Events.Wait(t, mark, settle, gate.Kind("device-resumed"))
		e := b.g.Events.Wait(t, mark, settle, func(e gate.Event) bool { return e.Attrs["verb"] == "device suspend" })
		if e.Kind != "operator" || e.Device != "vmhba0:0:1" || e.Attrs["uid"] != fmt.Sprint(os.Getuid()) || e.Attrs["pid"] == "" {
			t.Errorf("told %v", e)
		}
	}
	for _, err := range load.Stop() {
		t.Errorf("under load: %v", err)
	}
	b.g.MustCLI(t, "device", "suspend", "vmhba0:0:1")
	held := writes(c)
	b.waitQueued(4)
	took, err := b.g.Terminate(settle)
	if err != nil {
		t.Error(err)
	}
	for range cap(held) {
		if err := <-held; err == nil {
			t.Error("a write that was held has ended well at the stop")
		}
	}
	t.Logf("measured: the stop with a suspended device took %v", took.Round(time.Millisecond))
}

// TestPA17Queueing: without a path, off ends what waits and what comes, and on none.
func TestPA17Queueing(t *testing.T) {
	b := newBed(t, gate.Config{Disks: []string{
		`{name: root, lun: "vmhba0:0:1", size: 8MiB}`, // the LUN's rule: queue
		`{name: hasty, lun: "vmhba0:0:1", offset: 8MiB, size: 8MiB, all-paths-down: fail}`,
	}})
	c, hasty := b.g.Connect(t, "vm1/root"), b.g.Connect(t, "vm1/hasty")
	mark := b.g.Events.Mark()
	b.cut(0)
	b.cut(1)
	b.g.Events.Wait(t, mark, settle, gate.Kind("all-paths-down"))
	waits := writes(c)
	if !gate.Poll(settle, func() bool { return c.InFlight() == 4 }) {
		t.Fatal("the writes do not go out")
	}
	mustEnd(t, writes(hasty), nbdclient.EIO)
	if n := len(waits); n != 0 {
		t.Fatalf("%d requests ended by themselves: %v", n, <-waits)
	}
	b.g.MustCLI(t, "device", "queueing", "vmhba0:0:1", "off")
	mustEnd(t, waits, nbdclient.EIO)
	mustEnd(t, writes(c), nbdclient.EIO)
	b.g.MustCLI(t, "device", "queueing", "vmhba0:0:1", "on")
	waits, patient := writes(c), writes(hasty)
	if !gate.Poll(settle, func() bool { return c.InFlight() == 4 && hasty.InFlight() == 4 }) {
		t.Fatal("the writes do not go out")
	}
	if out := b.g.MustCLI(t, "device", "show", "vmhba0:0:1"); !strings.Contains(out, "queue, set at run time") {
		t.Errorf("shown: %s", out)
	}
	b.restore()
	mustEnd(t, waits, nil)
	mustEnd(t, patient, nil)
	b.g.MustCLI(t, "device", "queueing", "vmhba0:0:1", "default")
	if n := len(b.g.Events.Since(mark, gate.Kind("queueing-changed"))); n > 3 {
		t.Errorf("%d changes were told", n)
	}
	e := b.g.Events.WaitN(t, mark, 3, settle, gate.Kind("queueing-changed"))[2]
	if !strings.HasPrefix(e.Message, "default, was on;") {
		t.Errorf("told %q", e.Message)
	}
}
