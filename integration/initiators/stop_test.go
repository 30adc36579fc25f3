// SPDX-License-Identifier: Apache-2.0

//go:build integration

package initiators

import (
	"bytes"
	"testing"
	"time"

	"pathgate/integration/gate"
)

// TestStopAndStart: a gateway that is stopped while an initiator is logged in asks it to
// leave and ends well, and the initiator finds its disk again when it is back.
func TestStopAndStart(t *testing.T) {
	c := gate.Config{Disks: []string{`{name: root, file: "` + t.TempDir() + `/root", size: 4MiB}`}, Timeouts: map[string]string{"drain": "5s"}}
	g, portals := start(t, c, 1)
	g.WaitDisks(t, startLimit, available(1))
	q := qemu(t, "iscsi://"+portals[0]+"/"+prefix+"vm1/0")
	want := bytes.Repeat([]byte("pathgate"), 1024)
	if _, err := q.WriteAt(want, 64<<10); err != nil {
		t.Fatal(err)
	}
	if err := q.Flush(); err != nil {
		t.Fatal(err)
	}
	mark := g.Events.Mark()
	took, err := g.Terminate(time.Minute)
	if err != nil {
		t.Fatalf("stop: %v", err)
	}
	g.Events.Wait(t, mark, time.Minute, gate.Kind("client-disconnected"))
	read := make(chan error, 1)
	got := make([]byte, len(want))
	go func() {
		_, err := q.ReadAt(got, 64<<10) // waits: the gateway is away
		read <- err
	}()
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil || !bytes.Equal(got, want) {
		t.Errorf("after the start: %v, equal: %v", err, bytes.Equal(got, want))
	}
	t.Logf("measured: stopped with an initiator in %v", took.Round(time.Millisecond))
}
