// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// built is the binary of this test process.
var built = sync.OnceValues(build)

// unfenced is the binary with the fencing of old writes switched off.
var unfenced = sync.OnceValues(func() (string, error) { return compile("-tags", "pathgate_unfenced") })

// Binary returns the program under test, built on the first call. Clean removes it.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Main is the body of TestMain: it builds the program before the first test, so
// that no test's time has the compiler in it, and removes it after the last.
func Main(m *testing.M) int {
	path, err := built()
	if err != nil {
		fmt.Fprintln(os.Stderr, "gate:", err)
		return 1
	}
	if os.Getenv("PATHGATE_BINARY") == "" {
		defer os.RemoveAll(filepath.Dir(path))
	}
	code := m.Run()
	if usesUnfenced.Load() {
		removeUnfenced()
	}
	return code
}

// Unfenced returns a program whose path manager lets writes overtake the old ones of
// lost paths, for negative controls.
func Unfenced(t testing.TB) string {
	t.Helper()
	usesUnfenced.Store(true)
	path, err := unfenced()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var usesUnfenced atomic.Bool

func removeUnfenced() {
	if path, err := unfenced(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
}

func build() (string, error) {
	if path := os.Getenv("PATHGATE_BINARY"); path != "" {
		return path, nil
	}
	return compile()
}

func compile(flags ...string) (string, error) {
	dir, err := os.MkdirTemp("", "gate-bin-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "pathgate")
	args := append([]string{"build", "-o", path}, flags...)
	if os.Getenv("PATHGATE_E2E_RACE") != "" {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "pathgate/cmd/pathgate")...).CombinedOutput()
	if err != nil {
		os.RemoveAll(dir)
		return "", fmt.Errorf("go %v: %w\n%s", args, err, out)
	}
	return path, nil
}
