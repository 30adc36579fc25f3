// SPDX-License-Identifier: Apache-2.0

package devicetest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pathgate/backends"
	"pathgate/backends/devicetest"
)

// TestBlockDevice runs the suite on loop devices, where they can be made.
func TestBlockDevice(t *testing.T) {
	devicetest.Run(t, func(t *testing.T) (backends.Device, devicetest.Hooks) {
		image := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(image, make([]byte, 6<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("losetup", "--show", "-f", image).CombinedOutput()
		if err != nil {
			t.Skipf("no loop device: %v: %s", err, out)
		}
		path := strings.TrimSpace(string(out))
		t.Cleanup(func() {
			if out, err := exec.Command("losetup", "-d", path).CombinedOutput(); err != nil {
				t.Errorf("losetup -d %s: %v: %s", path, err, out)
			}
		})
		open := func(t *testing.T) backends.Device {
			d, err := backends.OpenFile(path, backends.FileOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		d := open(t)
		if second, err := backends.OpenFile(path, backends.FileOptions{}); err == nil {
			t.Error("a block device was opened twice", second.Close())
		}
		return d, devicetest.Hooks{Reopen: open}
	})
}

func TestReadOnlyFile(t *testing.T) {
	devicetest.Run(t, func(t *testing.T) (backends.Device, devicetest.Hooks) {
		path := filepath.Join(t.TempDir(), "disk")
		if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := backends.OpenFile(path, backends.FileOptions{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		return d, devicetest.Hooks{}
	})
}
