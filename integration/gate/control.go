// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The objects of the control API, with the fields that tests look at. The names
// are written down here once more, so that a renamed field is a failed test.
type (
	// Path is an element of /v1/paths and of `path list -o json`.
	Path struct {
		Name, Device, Adapter, Target, Portal string
		LUN                                   int
		Health, Access, Reason, Group         string
		Preferred                             bool
		Priority                              int
		Disabled, Used                        bool
		Generation                            int
		Inflight                              int
		Reads, Writes, Errors                 int64
		Ghosts                                int
		Fencing                               string
	}
	// Device is an element of /v1/devices and of `device list -o json`.
	Device struct {
		Name, Identity string
		Weak           bool
		Size           int64
		Vendor         string
		PathsUp        int `json:"paths_up"`
		PathsTotal     int `json:"paths_total"`
		State          string
		Fencing        string
		Queued         int
		UsedBy         []string `json:"used_by"`
	}
	// Disk is an element of /v1/disks and of `disk list -o json`.
	Disk struct {
		Name        string
		Size        int64
		Available   bool
		Why         string
		Connections int
		Outstanding int
	}
)

// client speaks HTTP to the control socket; each request has a connection of its own.
func (g *Gate) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", g.dir+"/control.sock")
		},
	}}
}

// get decodes the answer to GET path.
func get[T any](g *Gate, path string) (v T, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://gate"+path, nil)
	if err != nil {
		return v, err
	}
	resp, err := g.client().Do(r)
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(resp.Body)
		return v, fmt.Errorf("GET %s: %s: %s", path, resp.Status, b)
	}
	return v, json.NewDecoder(resp.Body).Decode(&v)
}

// Request sends one request with a JSON body, "" for none, and reads the answer; one
// that is not a success is an error.
func (g *Gate) Request(method, path, body string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://gate"+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := g.client().Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, b)
	}
	return err
}

func mustGet[T any](t testing.TB, g *Gate, path string) T {
	t.Helper()
	v, err := get[T](g, path)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Paths asks for all paths.
func (g *Gate) Paths(t testing.TB) []Path { t.Helper(); return mustGet[[]Path](t, g, "/v1/paths") }

// Devices asks for all devices.
func (g *Gate) Devices(t testing.TB) []Device {
	t.Helper()
	return mustGet[[]Device](t, g, "/v1/devices")
}

// Disks asks for all disks.
func (g *Gate) Disks(t testing.TB) []Disk { t.Helper(); return mustGet[[]Disk](t, g, "/v1/disks") }

// WaitPaths waits until ok says yes to the list of paths, and returns it.
func (g *Gate) WaitPaths(t testing.TB, timeout time.Duration, ok func([]Path) bool) []Path {
	t.Helper()
	return waitList(t, g, "/v1/paths", timeout, ok)
}

// WaitUp waits until n paths are up, used and without ghosts, and no other is there.
func (g *Gate) WaitUp(t testing.TB, n int, timeout time.Duration) []Path {
	t.Helper()
	return g.WaitPaths(t, timeout, func(ps []Path) bool {
		up := 0
		for _, p := range ps {
			if p.Health == "up" && p.Used && p.Ghosts == 0 {
				up++
			}
		}
		return up == n && len(ps) == n
	})
}

// WaitDevices waits until ok says yes to the list of devices, and returns it.
func (g *Gate) WaitDevices(t testing.TB, timeout time.Duration, ok func([]Device) bool) []Device {
	t.Helper()
	return waitList(t, g, "/v1/devices", timeout, ok)
}

// WaitDisks waits until ok says yes to the list of disks, and returns it.
func (g *Gate) WaitDisks(t testing.TB, timeout time.Duration, ok func([]Disk) bool) []Disk {
	t.Helper()
	return waitList(t, g, "/v1/disks", timeout, ok)
}

func waitList[T any](t testing.TB, g *Gate, path string, timeout time.Duration, ok func([]T) bool) []T {
	t.Helper()
	var list []T
	var err error
	if !Poll(timeout, func() bool {
		list, err = get[[]T](g, path)
		return err == nil && ok(list)
	}) {
		t.Fatalf("%s is not as expected after %v: %v %s", path, timeout, err, show(list))
	}
	return list
}

// show prints a list one element on a line.
func show[T any](list []T) string {
	var b strings.Builder
	for _, v := range list {
		fmt.Fprintf(&b, "\n  %+v", v)
	}
	return b.String()
}

// Poll calls ok until it says yes, and reports whether it did before the timeout.
func Poll(timeout time.Duration, ok func() bool) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(timeout); ; <-tick.C {
		if ok() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// CLI runs the program with args and the gateway's control socket, and returns
// its standard output. An exit status other than 0 is an error with its standard
// error.
func (g *Gate) CLI(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, g.binary, args...)
	cmd.Env = append(cmd.Environ(), "PATHGATE_CONTROL=unix:"+g.dir+"/control.sock")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("pathgate %s: %w: %s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}

// MustCLI is CLI for commands that must succeed.
func (g *Gate) MustCLI(t testing.TB, args ...string) string {
	t.Helper()
	out, err := g.CLI(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Stream runs the program with args like CLI, and gives its standard output line by
// line until it ends. The end of ctx kills it.
func (g *Gate) Stream(ctx context.Context, args ...string) (<-chan string, error) {
	cmd := exec.CommandContext(ctx, g.binary, args...)
	cmd.Env = append(cmd.Environ(), "PATHGATE_CONTROL=unix:"+g.dir+"/control.sock")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			select {
			case lines <- sc.Text():
			case <-ctx.Done():
			}
		}
		_ = cmd.Wait() // killed, usually
	}()
	return lines, nil
}
