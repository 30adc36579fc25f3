// SPDX-License-Identifier: Apache-2.0

package devicetest_test

import (
	"path/filepath"
	"testing"

	"pathgate/backends"
	"pathgate/backends/devicetest"
)

func TestMemory(t *testing.T) {
	devicetest.Run(t, func(t *testing.T) (backends.Device, devicetest.Hooks) {
		d, err := backends.NewMemory(3<<20 + 512)
		if err != nil {
			t.Fatal(err)
		}
		return d, devicetest.Hooks{}
	})
}

func TestFile(t *testing.T) {
	for _, block := range []uint32{512, 4096} {
		for name, dir := range map[string]string{"disk": "", "tmpfs": "/dev/shm"} {
			t.Run(name, func(t *testing.T) {
				devicetest.Run(t, func(t *testing.T) (backends.Device, devicetest.Hooks) {
					path := filepath.Join(t.TempDir(), "disk")
					if dir != "" {
						path = filepath.Join(tempDirIn(t, dir), "disk")
					}
					open := func(t *testing.T) backends.Device {
						d, err := backends.OpenFile(path, backends.FileOptions{Size: 5<<20 + uint64(block), BlockSize: block})
						if err != nil {
							t.Fatal(err)
						}
						return d
					}
					return open(t), devicetest.Hooks{Reopen: open}
				})
			})
		}
	}
}
