// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbdclients

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
)

func TestMain(m *testing.M) { os.Exit(gate.Main(m)) }

// scriptTimeout is for one script on a machine that has much else to do.
const scriptTimeout = 2 * time.Minute

// bed is a gateway with a disk for each script, and two that all may look at.
type bed struct {
	*gate.Gate
	dir string
}

// newBed makes disks called names.
func newBed(t *testing.T, nbd string, names ...string) *bed {
	t.Helper()
	b := &bed{dir: t.TempDir()}
	if err := os.WriteFile(b.file("ro"), bytes.Repeat([]byte("r"), 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	disks := []string{
		fmt.Sprintf(`{name: ro, file: %q, read-only: true}`, b.file("ro")),
		fmt.Sprintf(`{name: 4k, file: %q, size: 8MiB, block-size: 4096}`, b.file("4k")),
	}
	for _, name := range names {
		disks = append(disks, fmt.Sprintf(`{name: %s, file: %q, size: 64MiB}`, name, b.file(name)))
	}
	b.Gate = gate.New(t, gate.Config{Disks: disks, NBD: nbd})
	// GO waits for a disk that the gateway has yet to open; INFO says that there is none.
	b.WaitDisks(t, time.Minute, func(list []gate.Disk) bool {
		return len(list) == len(disks) && !slices.ContainsFunc(list, func(d gate.Disk) bool { return !d.Available })
	})
	return b
}

func (b *bed) file(name string) string { return filepath.Join(b.dir, name+".img") }

// nbdsh prepares a run of a script of testdata on a disk.
func (b *bed) nbdsh(t *testing.T, script, disk string) *exec.Cmd {
	t.Helper()
	testdata, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), scriptTimeout)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "nbdsh", "-n", "-c", "import runpy; runpy.run_path(\""+filepath.Join(testdata, script)+"\")")
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(os.Environ(),
		"PATH=/usr/bin:/bin", // nbdsh runs the first python3 there is, and only the system's has libnbd
		"PYTHONPATH="+filepath.Join(testdata, "lib"), "PYTHONDONTWRITEBYTECODE=1",
		"SOCKET="+b.Path("nbd.sock"), "EXPORT=vm1/"+disk, "FILE="+b.file(disk))
	return cmd
}

// scripts are those of testdata, by name.
func scripts(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.py")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".py")
	}
	return files
}

// diskOf is the name of a script's disk.
func diskOf(script string) string { return strings.ReplaceAll(script, "_", "-") }

// TestScripts runs each script on a disk of its own.
func TestScripts(t *testing.T) {
	t.Parallel()
	list := scripts(t)
	disks := make([]string, len(list))
	for i, s := range list {
		disks[i] = diskOf(s)
	}
	b := newBed(t, "", disks...)
	t.Run("each", func(t *testing.T) {
		for _, s := range list {
			t.Run(s, func(t *testing.T) {
				t.Parallel()
				if out, err := b.nbdsh(t, s+".py", diskOf(s)).CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, tail(string(out)))
				}
			})
		}
	})
	if !b.Running() {
		t.Error("the gateway has ended")
	}
	if n := strings.Count(b.Log(), "panic"); n > 0 {
		t.Errorf("%d panics", n)
	}
}

// tail is the end of what a script has said.
func tail(s string) string {
	if len(s) > 4<<10 {
		return "...\n" + s[len(s)-4<<10:]
	}
	return s
}
