// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbdclients

import (
	"bufio"
	"bytes"
	"testing"
	"time"
)

// during has a script begin, does something when it says that it reads, and gives what it
// says after that.
func (b *bed) during(t *testing.T, script, disk string, do func()) string {
	t.Helper()
	cmd := b.nbdsh(t, script, disk)
	var failed bytes.Buffer
	cmd.Stderr = &failed
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "reading" {
		_ = cmd.Process.Kill() // it may have ended
		t.Fatalf("the client does not read: %v\n%s", cmd.Wait(), failed.String())
	}
	do()
	said := ""
	for lines.Scan() {
		said += lines.Text()
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, failed.String())
	}
	return said
}

// stopped stops the gateway under a client, and gives how that was told.
func (b *bed) stopped(t *testing.T) string {
	t.Helper()
	return b.during(t, "stop/stop.py", "stop", func() {
		_, err := b.Terminate(time.Minute)
		must(t, err)
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestStop: a client that goes on while the gateway stops is told ESHUTDOWN or is closed,
// and sees no other error. That it is told shows in one of the attempts: a client that has
// no time to ask before it is closed cannot be.
func TestStop(t *testing.T) {
	t.Parallel()
	b := newBed(t, "", "stop")
	const attempts = 20
	for n := 1; ; n++ {
		switch how := b.stopped(t); {
		case how == "SHUTDOWN":
			return
		case how != "CLOSED":
			t.Fatalf("the client says %q", how)
		case n == attempts:
			t.Fatalf("in %d stops the client was not told once", n)
		}
		if err := b.Start(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStopClose: with "on-stop: close" nobody is told anything.
func TestStopClose(t *testing.T) {
	t.Parallel()
	b := newBed(t, "on-stop: close", "stop")
	if how := b.stopped(t); how != "CLOSED" {
		t.Errorf("the client says %q", how)
	}
}
