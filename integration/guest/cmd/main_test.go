// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pathgate/integration/guest"
)

func TestParse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(file, []byte("true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := parse([]string{
		"--script", file, "--module", "ext4", "--module", "nbd", "--program", "mkfs.ext4", "--file", "/etc/x=" + file,
		"--drive", "file=a,if=virtio", "--forward", "127.0.0.1:0=3260", "--reboots", "2", "--memory", "512",
		"--timeout", "9s", "--append", "loglevel=7", "--", "-s", "-S",
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case o.Script != "true\n",
		!slices.Equal(o.Modules, []string{"ext4", "nbd"}),
		!slices.Equal(o.Programs, []string{"mkfs.ext4"}),
		o.Files["/etc/x"] != "true\n",
		!slices.Equal(o.Drives, []string{"file=a,if=virtio"}),
		!slices.Equal(o.Forwards, []guest.Forward{{Host: "127.0.0.1:0", GuestPort: 3260}}),
		o.Reboots != 2, o.MemoryMB != 512, o.Timeout != 9*time.Second, o.Append != "loglevel=7",
		!slices.Equal(o.Args, []string{"-s", "-S"}):
		t.Errorf("got %+v", o)
	}
}

func TestUsageErrors(t *testing.T) {
	tests := []struct {
		name, args, want string
	}{
		{"nothing", "", "usage"},
		{"unknown command", "start", "usage"},
		{"no script", "run", "--script is missing"},
		{"no such script", "run --script /nonexistent", "/nonexistent"},
		{"bad file", "run --script /dev/null --file x", "GUESTPATH=FILE"},
		{"bad forward", "run --script /dev/null --forward 127.0.0.1:1", "IP:PORT=GUESTPORT"},
		{"port too large", "run --script /dev/null --forward 127.0.0.1:1=65536", "IP:PORT=GUESTPORT"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, err := run(t.Context(), strings.Fields(tt.args), io.Discard)
			if code != 2 || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %d, %v, want 2 and an error with %q", code, err, tt.want)
			}
		})
	}
	if _, err := parse([]string{"-h"}, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got %v, want %v", err, flag.ErrHelp)
	}
}
