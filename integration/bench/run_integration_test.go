// SPDX-License-Identifier: Apache-2.0

//go:build integration

package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// programs gives the gateway as make builds it, and the bench command.
func programs(t *testing.T) (pathgate, bench string) {
	t.Helper()
	pathgate, err := filepath.Abs("../../bin/pathgate")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(pathgate); err != nil {
		t.Fatalf("%v; make build makes it", err)
	}
	bench = filepath.Join(t.TempDir(), "bench")
	if out, err := exec.Command("go", "build", "-o", bench, "../cmd/bench").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return pathgate, bench
}

// TestShort measures every contender with every client, briefly.
func TestShort(t *testing.T) {
	pathgate, bench := programs(t)
	out := filepath.Join(t.TempDir(), "docs", "bench.md")
	text, err := exec.CommandContext(t.Context(), bench, "--pathgate", pathgate, "--rounds", "1", "--seconds", "0.1",
		"--only", "write, depth 32", "--skip", "iscsi,memory", "--idle", "20", out).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	report, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"pathgate, 2 paths |", "qemu-nbd |", "target alone |", "| 1.00: ", "; 1.10: ", "with 20 idle NBD connections",
		"| scheduler on / scheduler off |", "| 0.97: ", "| 0.95: ", "had to wait in the scheduler", "8 VMs over 4 paths",
	} {
		if !strings.Contains(string(report), want) {
			t.Errorf("the report lacks %q:\n%s", want, report)
		}
	}
}

// TestShortFrontEnd measures every NBD server on memory with every client, briefly.
func TestShortFrontEnd(t *testing.T) {
	pathgate, bench := programs(t)
	text, err := exec.CommandContext(t.Context(), bench, "--pathgate", pathgate, "--rounds", "1", "--seconds", "0.05",
		"--only", "random read, depth 32", "--skip", "target,iscsi,scheduler,paths", "--idle", "0", "-").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, want := range []string{
		"| job | pathgate NBD | qemu-nbd, file | go-nbd | nbdkit memory |", "### Rate, fio", "### Rate, qemu-img bench",
		"| 4k random read, depth 32, 4 connections, fio, go-nbd |", "| 4k random read, depth 32, qemu-img bench, nbdkit memory |",
		"| 4k random read, depth 32, structured replies, nbdkit memory |", "| 4k random read, depth 32, simple replies, pathgate NBD |",
		"| 4k random read, depth 32, extended headers, pathgate NBD |", "| 1.00: ",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
}

// TestShortISCSI measures every iSCSI target with every client, briefly.
func TestShortISCSI(t *testing.T) {
	pathgate, bench := programs(t)
	text, err := exec.CommandContext(t.Context(), bench, "--pathgate", pathgate, "--rounds", "1", "--seconds", "0.1",
		"--only", "depth 32", "--skip", "target,memory,scheduler,paths", "--idle", "0", "-").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, want := range []string{
		"| job | pathgate | gotgt | tgtd |", "### Rate, qemu-img bench", "### Rate, iscsi-perf",
		"| 4k random write, depth 32, qemu-img bench, gotgt |", "| 4k random read, depth 32, iscsi-perf, tgtd |",
		"| 4k random read, depth 32, iscsi-perf, pathgate iSCSI, 2 paths |", "target of pathgate iSCSI, 2 paths |", "| 1.50: ",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
}

// TestFigureThatCannotBeMeasured: a gateway that dies is an error and no report.
func TestFigureThatCannotBeMeasured(t *testing.T) {
	_, bench := programs(t)
	dir := t.TempDir()
	out, broken := filepath.Join(dir, "bench.md"), filepath.Join(dir, "broken")
	script := "#!/bin/sh\n[ \"$1\" != version ] || exec echo broken\necho no gateway; exit 4\n"
	if err := os.WriteFile(broken, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	text, err := exec.CommandContext(t.Context(), bench, "--pathgate", broken, "--rounds", "1",
		"--seconds", "0.1", out).CombinedOutput()
	if err == nil || !strings.Contains(string(text), "no gateway") {
		t.Errorf("got %v, want a failure that tells what the gateway said:\n%s", err, text)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a report was written")
	}
}
