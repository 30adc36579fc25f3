// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbd

import (
	"crypto/sha256"
	"encoding/json"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tool runs a foreign NBD client and gives its output.
func tool(t *testing.T, prog string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(prog); err != nil {
		t.Skipf("%s is not installed", prog)
	}
	out, err := exec.CommandContext(t.Context(), prog, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", prog, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// both runs f over a unix socket and over TCP. uri ends before the export name.
func both(t *testing.T, f func(t *testing.T, uri func(export string) string)) {
	t.Run("unix", func(t *testing.T) {
		b := serve(t, Config{Exports: twoDisks(t)})
		f(t, func(e string) string { return "nbd+unix:///" + e + "?socket=" + b.path })
	})
	t.Run("tcp", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		b := serveOn(t, Config{Exports: twoDisks(t)}, ln, "")
		f(t, func(e string) string { return "nbd://" + b.addr + "/" + e })
	})
}

func twoDisks(t *testing.T) *source {
	return newSource().add("vm1/root", memory(t, diskSize)).add("vm1/scratch", memory(t, 8<<20))
}

func TestNbdinfo(t *testing.T) {
	both(t, func(t *testing.T, uri func(string) string) {
		if got := strings.TrimSpace(tool(t, "nbdinfo", "--size", uri("vm1/scratch"))); got != "8388608" {
			t.Errorf("size: got %s", got)
		}
		var got struct {
			Exports []struct {
				Name        string `json:"export-name"`
				Size        uint64 `json:"export-size"`
				Description string
				MultiConn   bool `json:"can_multi_conn"`
				Trim        bool `json:"can_trim"`
				Zero        bool `json:"can_zero"`
				FastZero    bool `json:"can_fast_zero"`
				FUA         bool `json:"can_fua"`
				Min         int  `json:"block_size_minimum"`
				Preferred   int  `json:"block_size_preferred"`
				Max         int  `json:"block_size_maximum"`
			}
		}
		if err := json.Unmarshal([]byte(tool(t, "nbdinfo", "--json", "--list", uri(""))), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Exports) != 2 {
			t.Fatalf("got %d exports, want 2", len(got.Exports))
		}
		e := got.Exports[0]
		if e.Name != "vm1/root" || e.Size != diskSize || e.Description != "disk vm1/root" ||
			!e.MultiConn || !e.Trim || !e.Zero || !e.FastZero || !e.FUA ||
			e.Min != 512 || e.Preferred != 4096 || e.Max != 1<<25 {
			t.Errorf("got %+v", e)
		}
	})
}

// random makes a file with data, zeros and small runs.
func random(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	b := make([]byte, diskSize)
	r := rand.NewChaCha8([32]byte{1})
	for off := 0; off < len(b); off += 3 << 20 {
		_, _ = r.Read(b[off:min(off+1<<20, len(b))])
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func sum(t *testing.T, path string) [32]byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(b)
}

func TestNbdcopyBothWays(t *testing.T) {
	both(t, func(t *testing.T, uri func(string) string) {
		in, out := random(t), filepath.Join(t.TempDir(), "out")
		tool(t, "nbdcopy", "--connections=4", "--requests=32", "--flush", in, uri("vm1/root"))
		tool(t, "nbdcopy", "--connections=4", "--requests=32", uri("vm1/root"), out)
		if sum(t, in) != sum(t, out) {
			t.Error("the copy differs")
		}
	})
}

func TestQemuTools(t *testing.T) {
	both(t, func(t *testing.T, uri func(string) string) {
		in := random(t)
		tool(t, "qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", in, uri("vm1/root"))
		tool(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", in, uri("vm1/root"))
		info := tool(t, "qemu-img", "info", "--output=json", uri("vm1/root"))
		if !strings.Contains(info, `"virtual-size": 67108864`) {
			t.Errorf("qemu-img info: %s", info)
		}
		out := tool(t, "qemu-io", "-f", "raw",
			"-c", "write -P 0x5a 4096 65536", "-c", "write -f -P 0xa5 0 512", "-c", "write -z 8192 4096",
			"-c", "write -z -u 16384 4096", "-c", "discard 1048576 1048576", "-c", "flush",
			"-c", "read -P 0x5a 4096 4096", "-c", "read -P 0 8192 4096", "-c", "read -P 0 16384 4096",
			"-c", "read -P 0x5a 20480 49152", "-c", "read -P 0xa5 0 512", uri("vm1/root"))
		if strings.Contains(out, "failed") || strings.Contains(out, "rror") {
			t.Errorf("qemu-io: %s", out)
		}
	})
}

func TestFioVerify(t *testing.T) {
	both(t, func(t *testing.T, uri func(string) string) {
		out := tool(t, "fio", "--name=v", "--ioengine=nbd", "--uri="+uri("vm1/root"), "--rw=randwrite",
			"--bsrange=512-128k", "--size=64M", "--io_size=128M", "--iodepth=32", "--verify=crc32c",
			"--verify_fatal=1", "--verify_state_save=0", "--norandommap=0", "--randseed=7")
		if !strings.Contains(out, "err= 0") {
			t.Errorf("fio: %s", out)
		}
	})
}
