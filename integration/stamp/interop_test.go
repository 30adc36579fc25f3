// SPDX-License-Identifier: Apache-2.0

//go:build integration

package stamp_test

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"pathgate/integration/nbdclient"
	"pathgate/integration/proxy"
	"pathgate/integration/stamp"
)

// qemuNBD serves a file on TCP and returns the address and the file.
func qemuNBD(t *testing.T) (addr, disk string) {
	t.Helper()
	if _, err := exec.LookPath("qemu-nbd"); err != nil {
		t.Skip("qemu-nbd is not installed")
	}
	disk = filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, make([]byte, 16<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = ln.Addr().String()
	ln.Close()
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command("qemu-nbd", "-t", "-e", "8", "-f", "raw", "-b", "127.0.0.1", "-p", port, disk)
	var out bytes.Buffer
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	tick, give := time.NewTicker(10*time.Millisecond), time.After(10*time.Second)
	defer tick.Stop()
	for {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return addr, disk
		}
		select {
		case <-tick.C:
		case <-give:
			t.Fatalf("qemu-nbd does not listen: %s", out.String())
		}
	}
}

func connect(t *testing.T, addr string) *nbdclient.Client {
	t.Helper()
	c, err := nbdclient.Connect(t.Context(), nbdclient.Config{Addr: addr, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// The chain that all fault tests are made of, against a foreign server: delay
// and hold cost time and nothing else; flipped bits are found.
func TestStampThroughProxy(t *testing.T) {
	tests := map[string]struct {
		fault   *proxy.Fault
		corrupt bool
	}{
		"control": {nil, false},
		"delay":   {&proxy.Fault{Kind: proxy.Delay, Delay: 2 * time.Millisecond, Jitter: time.Millisecond}, false},
		"hold":    {&proxy.Fault{Kind: proxy.Hold, Dir: proxy.ToTarget}, false},
		"corrupt": {&proxy.Fault{Kind: proxy.Corrupt, Dir: proxy.ToClient, MeanBytes: 4 << 20}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			addr, disk := qemuNBD(t)
			p := proxy.MustNew(t, proxy.Options{Target: addr, Seed: 3})
			client := connect(t, p.Addr())
			var journal bytes.Buffer
			c, err := stamp.New(stamp.Config{Size: 8 << 20, Ops: 2000, Seed: 3, FUA: 5, Flushes: 1, MaxIO: 64 << 10, Journal: &journal})
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan *stamp.Report, 1)
			go func() {
				rep, err := c.Run(t.Context(), client)
				if err != nil {
					t.Error(err)
				}
				done <- rep
			}()
			if tt.fault != nil {
				if err := p.Wait(func(c proxy.Counters) bool { return c.ToTarget.Bytes > 1<<20 }, 10*time.Second); err != nil {
					t.Fatal(err)
				}
				p.MustSet(*tt.fault)
				if err := p.Wait(func(c proxy.Counters) bool { return c.Fault(tt.fault.Kind).Bytes > 0 }, 10*time.Second); err != nil {
					t.Fatal(err)
				}
				if tt.fault.Kind == proxy.Hold {
					p.Clear()
				}
			}
			rep := <-done
			if tt.corrupt { // a flipped header ends the connection, flipped data are violations
				if rep.Violations+rep.Errors == 0 {
					t.Errorf("%v flipped nothing: %v", p.Counters(), rep)
				}
				return
			}
			if rep.Violations != 0 || rep.Errors != 0 {
				t.Error(rep)
			}
			f, err := os.Open(disk)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if bad, err := stamp.Check(&journal, f); err != nil || len(bad) != 0 {
				t.Errorf("backing file: %v, %v", bad, err)
			}
		})
	}
}
