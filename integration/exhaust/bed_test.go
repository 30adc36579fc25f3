// SPDX-License-Identifier: Apache-2.0

//go:build integration

package exhaust

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/internal/port"
)

// TestMain attacks as it is told, or burns its time, when the environment says so.
func TestMain(m *testing.M) {
	names, hostile := os.LookupEnv("EXHAUST")
	if !hostile {
		os.Exit(gate.Main(m))
	}
	w := where{os.Getenv("EXHAUST_PORTAL"), os.Getenv("EXHAUST_NBD")}
	fmt.Println("begun")
	for name := range strings.SplitSeq(names, ",") {
		if name != "" {
			go launch(context.Background(), name, w, new(atomic.Int64))
			continue
		}
		for range 2 {
			go func() {
				for i := 0; ; i++ {
					runtime.KeepAlive(i)
				}
			}()
		}
	}
	select {}
}

// start starts a gateway with the attacked vm1, the other vm2, and both front-ends.
func start(t *testing.T, c gate.Config) (*gate.Gate, where) {
	t.Helper()
	dir := t.TempDir()
	c.Disks = []string{`{name: root, file: "` + dir + `/vm1", size: 64MiB}`}
	c.VMs = []string{`{name: vm2, disks: [{name: root, file: "` + dir + `/vm2", size: 64MiB}]}`}
	err := errors.New("not tried")
	for range 5 { // another process may take the ports first
		w := where{free(t), free(t)}
		c.TCP, c.ISCSI = `"`+w.NBD+`"`, `{listen: ["`+w.Portal+`"]}`
		g := gate.Make(t, c)
		if err = g.Start(); err == nil {
			g.WaitDisks(t, time.Minute, func(list []gate.Disk) bool {
				for _, d := range list {
					if !d.Available {
						return false
					}
				}
				return len(list) == 2
			})
			return g, w
		}
		if !strings.Contains(err.Error(), "address already in use") {
			break
		}
	}
	t.Fatal(err)
	return nil, where{}
}

func free(t *testing.T) string {
	t.Helper()
	a, err := port.Free(netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	return a.String()
}

// status reads a field of /proc/PID/status, in its unit.
func status(t *testing.T, pid int, field string) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\n"+field+":")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseInt(strings.Fields(line + " 0")[0], 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", field, err)
	}
	return n
}

// resident is what a gateway with GOMEMLIMIT 256 MiB may have resident. The race
// detector, where the program is built with it, needs several times of what it watches.
func resident(t *testing.T) int64 {
	t.Helper()
	info, err := buildinfo.ReadFile(gate.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return 8 * 256 << 20
	}
	return 256 << 20
}
