// SPDX-License-Identifier: Apache-2.0

//go:build integration

package demo

import (
	"context"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// TestDemo runs the demo in an empty environment and holds its story to what
// it has to show: the paths, three VMs at work, the cut, the failover, the path
// back, and not one error.
func TestDemo(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	program := filepath.Join(t.TempDir(), "pathgate")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "pathgate/cmd/pathgate").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(ctx, program, "demo")
	cmd.Env = []string{"TMPDIR=" + t.TempDir()} // no PATH: no other program can be run
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("demo: %v\n%s", err, out)
	}
	for _, want := range []string{
		`path +vmhba0:0:1 .* up`,
		`path +vmhba1:1:1 .* up`,
		`disk +vm1/root .* 2 of 2 paths`,
		`disk +vm3/root .* 2 of 2 paths`,
		`\*\*\* path vmhba1 is cut`,
		`path vmhba1:1:1 is lost [0-9.µm]+s after the cut`,
		`path vmhba1:1:1 has been stable and is in use again`,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("the demo does not show %q", want)
		}
	}
	m := regexp.MustCompile(`(\d+) I/Os, (\d+) errors, (\d+) wrong blocks`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("no verdict in\n%s", out)
	}
	ios, _ := strconv.Atoi(string(m[1]))
	if ios < 1000 || string(m[2]) != "0" || string(m[3]) != "0" {
		t.Errorf("verdict %q", m[0])
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}
