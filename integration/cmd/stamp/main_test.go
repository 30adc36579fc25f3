// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRunAndCheckFile(t *testing.T) {
	dir := t.TempDir()
	disk, journal := filepath.Join(dir, "disk"), filepath.Join(dir, "journal")
	if err := os.WriteFile(disk, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	call := func(want bool, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		good, err := dispatch(t.Context(), args, &out)
		if err != nil || good != want {
			t.Fatalf("%v: good=%v, %v\n%s", args, good, err, out.String())
		}
		return out.String()
	}
	out := call(true, "run", "--file", disk, "--ops", "300", "--seconds", "30", "--max-io", "65536", "--journal", journal)
	if !strings.HasPrefix(out, "0 violations, 0 errors") {
		t.Errorf("report %s", out)
	}
	call(true, "check", "--journal", journal, disk)
	call(true, "check", disk)

	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte("damage"), 10*512+100)
	f.Close()
	if out := call(false, "check", "--journal", journal, disk); !strings.Contains(out, "torn at LBA 10") {
		t.Errorf("damaged disk: %s", out)
	}
	call(false, "check", disk)
}

func TestUsageErrors(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"fly"},
		{"run"},
		{"run", "--file", "/x", "--nbd", "unix:/y"},
		{"run", "--file", "/nonexistent"},
		{"check"},
		{"check", "/nonexistent"},
		{"run", "--nbd", "unix:/nonexistent"},
	} {
		if _, err := dispatch(t.Context(), args, &bytes.Buffer{}); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}
