// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package initiators

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/backends/iscsi"
	"pathgate/integration/gate"
	"pathgate/internal/scsi"
)

// upHandler counts logins.
type upHandler struct {
	handler
	up chan struct{}
}

func (h upHandler) Up(*backends.Batch, backends.Nexus, backends.Login) {
	select {
	case h.up <- struct{}{}:
	default:
	}
}

// session logs in with an ISID of its own, and gives what it has logged in with.
func session(t *testing.T, portal string, number uint32) (backends.Nexus, error) {
	isid := [6]byte{0x80}
	binary.BigEndian.PutUint32(isid[2:], number)
	k, err := iscsi.New(iscsi.Config{
		InitiatorName: "iqn.2026-11.test:many", Adapter: "test",
		Timeouts: iscsi.Timeouts{
			NOPInterval: time.Minute, NOPTimeout: time.Minute,
			Login: 30 * time.Second, FenceLogin: 30 * time.Second, Command: time.Minute,
		},
		ISID: func(string, uint16, string) ([6]byte, error) { return isid, nil },
	})
	if err != nil {
		return nil, err
	}
	h := upHandler{up: make(chan struct{}, 1)}
	n := k.Connect(backends.TargetPortal{Target: prefix + "vm1", Portal: portal}, h)
	select {
	case <-h.up:
		return n, nil
	case <-time.After(2 * time.Minute):
		_ = n.Close(t.Context())
		return nil, fmt.Errorf("session %d is not let in", number)
	}
}

// resident is the memory of the gateway's process in bytes.
func resident(t *testing.T, g *gate.Gate) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", g.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// TestLongManySessions: 200 sessions at once all work, and 10,000 that come and go leave
// no goroutine, descriptor or memory behind.
func TestLongManySessions(t *testing.T) {
	g, portals := start(t, gate.Config{Disks: []string{`{name: root, file: "` + t.TempDir() + `/root", size: 1MiB}`}}, 1)
	g.WaitDisks(t, startLimit, available(1))
	quiet := func() int {
		t.Helper()
		var n, last int
		if !gate.Poll(time.Minute, func() bool {
			var err error
			if n, err = g.FDs(); err != nil {
				t.Fatal(err)
			}
			settled := n == last && g.MustCLI(t, "session", "list", "-o", "json") == "[]\n"
			last = n
			return settled
		}) {
			t.Fatalf("sessions stay:\n%s", g.MustCLI(t, "session", "list"))
		}
		return n
	}
	before := quiet()

	var all []backends.Nexus
	for i := range uint32(200) {
		n, err := session(t, portals[0], i)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	for _, n := range all {
		in := &initiator{n.Session(0)}
		in.exec(t, scsi.ReadWrite{Blocks: 0}, nil)
	}
	if got := strings.Count(g.MustCLI(t, "session", "list"), "iscsi "); got != len(all) {
		t.Errorf("%d sessions are shown", got)
	}
	for _, n := range all {
		if err := n.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
	if n := quiet(); n > before {
		t.Errorf("%d descriptors, %d before", n, before)
	}

	cycle := func(count int64) {
		t.Helper()
		var next atomic.Int64
		var workers sync.WaitGroup
		for range 4 {
			workers.Go(func() {
				for i := next.Add(1); i <= count && !t.Failed(); i = next.Add(1) {
					n, err := session(t, portals[0], uint32(i))
					if err == nil {
						err = n.Close(context.Background())
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		workers.Wait()
	}
	cycle(2000)
	warm := resident(t, g)
	cycle(8000)
	if n := quiet(); n > before {
		t.Errorf("%d descriptors, %d before", n, before)
	}
	if grown := resident(t, g) - warm; grown > 64*mib {
		t.Errorf("%d bytes more memory after 8000 sessions", grown)
	}
	stacks, err := g.Goroutines()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stacks {
		if strings.Contains(s, "gateway/iscsi.(*conn)") || strings.Contains(s, "gateway/iscsi.(*session)") {
			t.Errorf("left over:\n%s", s)
		}
	}
	t.Logf("measured: %d descriptors, %d goroutines, %d KiB after 10,200 sessions", before, len(stacks), warm>>10)
}
