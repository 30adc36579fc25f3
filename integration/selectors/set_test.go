// SPDX-License-Identifier: Apache-2.0

//go:build integration

package selectors

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pathgate/integration/gate"
)

// What is set counts for a load that runs, is told as an event, is shown with where it
// comes from, is kept over a restart, and can be taken back.
func TestSetWhileRunning(t *testing.T) {
	t.Parallel()
	b := newBed(t, "mru", 5)
	c := b.g.Connect(t, "vm5/root")
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if _, err := c.ReadAt(make([]byte, chunk), int64(i%32)*chunk); err != nil {
				done <- err
				return
			}
		}
	}()
	for _, s := range [][]string{
		{"round-robin", "--iops", "2"}, {"queue-length"}, {"latency"}, {"per-vm"}, {"isolate-low"}, {"service-time"}, {"fixed", "--preferred", path(1)},
	} {
		mark := b.g.Events.Mark()
		b.g.MustCLI(t, append([]string{"device", "set", b.device, "--selector"}, s...)...)
		e := b.g.Events.Wait(t, mark, patience, gate.Kind("selector-changed"))
		if e.Device != b.device || !strings.HasPrefix(e.Message, s[0]) {
			t.Errorf("set %v: event %v", s, e)
		}
		o := b.g.Events.Wait(t, mark, patience, gate.Kind("operator"))
		if o.Device != b.device || o.Attrs["verb"] != "device set" || o.Attrs["selector"] != s[0] || o.Attrs["uid"] != strconv.Itoa(os.Getuid()) {
			t.Errorf("set %v: event %v", s, o)
		}
		before := b.carried()
		if !gate.Poll(patience, func() bool {
			return b.carried()[1].commands > before[1].commands+20 || s[0] == "isolate-low" || s[0] == "per-vm"
		}) {
			t.Errorf("%v: path 1 carries nothing: %+v", s, b.carried())
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	only1 := func(when string) {
		t.Helper()
		c := b.g.Connect(t, "vm5/root")
		got := b.during(func() { b.reads(c, 20, 2) })
		b.near(when+": path 1", got[1].read, 20)
		b.near(when+": path 0", got[0].read, 0)
	}
	only1("set")
	if _, err := b.g.Terminate(patience); err != nil {
		t.Fatal(err)
	}
	b.start(1)
	only1("after a restart")
	if out := b.g.MustCLI(t, "device", "show", b.device); !strings.Contains(out, "fixed, set at run time") || !strings.Contains(out, "preferred "+path(1)) {
		t.Errorf("device show:\n%s", out)
	}
	b.g.MustCLI(t, "device", "reset", b.device)
	if out := b.g.MustCLI(t, "device", "show", b.device); !strings.Contains(out, "mru, configured") {
		t.Errorf("device show after the reset:\n%s", out)
	}
	if _, err := b.g.CLI(t.Context(), "device", "set", b.device, "--selector", "mru", "--iops", "4"); err == nil || !strings.Contains(err.Error(), "iops: is not an option of mru (of round-robin)") {
		t.Errorf("an option that mru has not: %v", err)
	}
}

// Each command that docs/selectors.md shows works.
func TestDocument(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/selectors.md")
	if err != nil {
		t.Fatal(err)
	}
	b := newBed(t, "service-time", 5)
	run := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^pathgate (.*)$`).FindAllStringSubmatch(string(text), -1) {
		args := strings.Fields(strings.ReplaceAll(m[1], "'", ""))
		b.g.MustCLI(t, args...)
		if i := slices.Index(args, "--selector"); i >= 0 {
			run[args[i+1]] = true
		}
	}
	for _, name := range []string{"service-time", "round-robin", "queue-length", "latency", "fixed", "mru", "per-vm", "isolate-low"} {
		if !run[name] {
			t.Errorf("%s is not shown", name)
		}
	}
}
