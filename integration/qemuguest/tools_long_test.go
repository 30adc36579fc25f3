// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package qemuguest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"pathgate/integration/gate"
)

// sparse writes a file of size bytes, with data in every other MiB.
func sparse(t *testing.T, size int64) string {
	t.Helper()
	path := memFile(t, "sparse")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	block := make([]byte, mib)
	rng := rand.NewChaCha8([32]byte{1})
	for off := int64(0); off < size; off += 2 * mib {
		_, _ = rng.Read(block) // never fails
		if _, err := f.WriteAt(block, off); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// same compares two files.
func same(t *testing.T, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	if y, err := os.ReadFile(b); err != nil || !bytes.Equal(x, y) {
		t.Errorf("%s is not %s: %v", b, a, err)
	}
}

// TestLongQEMUTools: QEMU's tools copy, compare, map and measure disks by iSCSI URLs, on
// a file, on one that may not be written, and on a LUN with blocks of 4096 bytes.
func TestLongQEMUTools(t *testing.T) {
	const size = 16 * mib
	src := sparse(t, size)
	read := memFile(t, "ro")
	data, err := os.ReadFile(src)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(read, data, 0o600); err != nil {
		t.Fatal(err)
	}
	l := aLUN(size)
	l.BlockSize, l.Thin = 4096, true
	b := newBed(t, options{lun: l, Config: gate.Config{
		VM: "{chap: {user: " + user + ", secret-file: " + secretFile(t) + "}}",
		Disks: []string{
			`{name: large, lun: "vmhba0:0:1"}`,
			fmt.Sprintf(`{name: file, file: %q, size: 16MiB}`, filepath.Join(t.TempDir(), "file")),
			fmt.Sprintf(`{name: ro, file: %q, read-only: true}`, read),
		},
	}})
	url := func(lun int) string {
		return fmt.Sprintf("iscsi://%s%%%s@%s/%svm1/%d", user, secret, b.portal, prefix, lun)
	}
	for lun, name := range []string{"large", "file"} {
		t.Run(name, func(t *testing.T) { copies(t, src, url(lun)) })
	}
	t.Run("read-only", func(t *testing.T) {
		demand(t, run(t, "qemu-img", "info", url(2)), "virtual size: 16 MiB")
		run(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", src, url(2))
		out := memFile(t, "out")
		run(t, "qemu-img", "dd", "-f", "raw", "-O", "raw", "bs=1M", "if="+url(2), "of="+out)
		same(t, src, out)
		if out, err := try(t, "qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", src, url(2)); err == nil {
			t.Errorf("it was written: %s", out)
		}
		same(t, src, read)
	})
}

// copies has qemu-img copy src to a URL and back.
func copies(t *testing.T, src, url string) {
	demand(t, run(t, "qemu-img", "info", url), "virtual size: 16 MiB", "file format: raw")
	run(t, "qemu-img", "bench", "-f", "raw", "-t", "none", "-w", "-c", "200", "-d", "16", "-s", "64k", url)
	run(t, "qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", "-W", "-t", "none", src, url)
	demand(t, run(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", src, url), "Images are identical.")
	out := memFile(t, "out")
	run(t, "qemu-img", "convert", "-f", "raw", "-O", "raw", url, out)
	same(t, src, out)
	var parts []struct {
		Start, Length int64
		Data, Zero    bool
	}
	text := run(t, "qemu-img", "map", "-f", "raw", "--output=json", url)
	if err := json.Unmarshal([]byte(text), &parts); err != nil {
		t.Fatal(err)
	}
	var data, sum int64
	for _, p := range parts {
		sum += p.Length
		if p.Data {
			data += p.Length
		}
	}
	if sum != 16*mib || data < 8*mib {
		t.Errorf("map: %d bytes, %d of them data: %s", sum, data, text)
	}
	t.Logf("measured: %d of %d bytes are data in the map", data, sum)
	run(t, "qemu-img", "bench", "-f", "raw", "-t", "none", "-c", "200", "-d", "16", url)
	demand(t, run(t, "qemu-io", "-f", "raw", "-t", "none", "-c", "write -P 7 0 64k", "-c", "discard 0 1M", "-c", "write -z 1M 64k", "-c", "read -P 0 1M 64k", url), "read 65536/65536")
}
