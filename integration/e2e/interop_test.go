// SPDX-License-Identifier: Apache-2.0

//go:build integration

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/proxy"
)

// tool runs a program to its end and returns what it printed.
func tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String()
}

// randomFile writes size random bytes, with holes, and returns the name and the sum.
func randomFile(t testing.TB, size int) (string, [32]byte) {
	t.Helper()
	data := make([]byte, size)
	r := rand.NewChaCha8([32]byte{1})
	for off := 0; off < size; off += 2 * mib { // every other MiB is zero
		_, _ = r.Read(data[off : off+mib])
	}
	name := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name, sha256.Sum256(data)
}

func sumOf(t testing.TB, name string, limit int64) (sum [32]byte) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, limit)); err != nil {
		t.Fatal(err)
	}
	h.Sum(sum[:0])
	return sum
}

// interop is a bed of which the load is seen on both proxies.
func interop(t *testing.T) (b *bed, carried func()) {
	b = newBed(t, bedOptions{})
	var from []int64
	for _, p := range b.proxies {
		from = append(from, p.Counters().ToTarget.Bytes+p.Counters().ToClient.Bytes)
	}
	return b, func() {
		for i, p := range b.proxies {
			if n := p.Counters().ToTarget.Bytes + p.Counters().ToClient.Bytes - from[i]; n < mib {
				t.Errorf("portal %d carried %d bytes, want its part", i, n)
			}
		}
	}
}

func TestNBDInfo(t *testing.T) {
	b := newBed(t, bedOptions{})
	var info struct {
		Protocol string
		Exports  []struct {
			Name      string `json:"export-name"`
			Size      int64  `json:"export-size"`
			ReadOnly  bool   `json:"is_read_only"`
			Flush     bool   `json:"can_flush"`
			FUA       bool   `json:"can_fua"`
			MultiConn bool   `json:"can_multi_conn"`
			Trim      bool   `json:"can_trim"`
			Zero      bool   `json:"can_zero"`
		}
	}
	if err := json.Unmarshal([]byte(tool(t, "nbdinfo", "--json", b.g.URI("vm1/root"))), &info); err != nil {
		t.Fatal(err)
	}
	if len(info.Exports) != 1 {
		t.Fatalf("got %+v", info)
	}
	e := info.Exports[0]
	if e.Name != "vm1/root" || e.Size != lunSize || e.ReadOnly || !e.Flush || !e.FUA || !e.MultiConn || !e.Zero {
		t.Errorf("got %+v", e)
	}
	if list := tool(t, "nbdinfo", "--list", "--json", b.g.URI("")); !strings.Contains(list, `"vm1/root"`) {
		t.Errorf("list: %s", list)
	}
}

func TestNBDCopy(t *testing.T) {
	b, carried := interop(t)
	image, want := randomFile(t, lunSize)
	begin := time.Now()
	tool(t, "nbdcopy", "--flush", image, b.g.URI("vm1/root"))
	in := time.Since(begin)
	back := filepath.Join(t.TempDir(), "back")
	begin = time.Now()
	tool(t, "nbdcopy", b.g.URI("vm1/root"), back)
	out := time.Since(begin)
	if got := sumOf(t, back, 1<<40); got != want {
		t.Error("what was copied out is not what was copied in")
	}
	if got := sumOf(t, b.file, lunSize); got != want {
		t.Error("the LUN's file is not what was copied in")
	}
	carried()
	t.Logf("measured: nbdcopy of 64 MiB: in %v, out %v", in.Round(time.Millisecond), out.Round(time.Millisecond))
}

func TestQEMUImg(t *testing.T) {
	b, carried := interop(t)
	image, want := randomFile(t, lunSize)
	qcow := filepath.Join(t.TempDir(), "image.qcow2")
	tool(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", image, qcow)
	tool(t, "qemu-img", "convert", "-n", "-f", "qcow2", "-O", "raw", qcow, b.g.URI("vm1/root"))
	tool(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", image, b.g.URI("vm1/root"))
	back := filepath.Join(t.TempDir(), "back")
	tool(t, "qemu-img", "convert", "-f", "raw", "-O", "raw", b.g.URI("vm1/root"), back)
	if got := sumOf(t, back, 1<<40); got != want {
		t.Error("what was converted back is not what was put in")
	}
	carried()
}

func TestQEMUIO(t *testing.T) {
	b := newBed(t, bedOptions{})
	// -c commands end the process with status 1 when a pattern is not what was read.
	tool(t, "qemu-io", "-f", "raw",
		"-c", "write -P 0x5a 0 1M", "-c", "write -P 0xa5 512k 4k", "-c", "write -f -P 0x11 1M 64k",
		"-c", "read -P 0x5a 0 512k", "-c", "read -P 0xa5 512k 4k", "-c", "read -P 0x5a 516k 508k", "-c", "read -P 0x11 1M 64k",
		"-c", "write -z 0 64k", "-c", "read -P 0 0 64k", "-c", "read -P 0x5a 64k 64k",
		"-c", "write -P 0x77 4096512 1536", "-c", "read -P 0x77 4096512 1536",
		"-c", "discard 2M 1M", "-c", "flush", b.g.URI("vm1/root"))
	if out := tool(t, "qemu-io", "-f", "raw", "-c", "aio_write -P 0x33 8M 4M", "-c", "aio_write -P 0x34 16M 4M",
		"-c", "aio_flush", "-c", "read -P 0x33 8M 4M", "-c", "read -P 0x34 16M 4M", b.g.URI("vm1/root")); strings.Contains(out, "Pattern verification failed") {
		t.Error(out)
	}
}

// TestFIO: random overwrites with checksums, verified, while one portal after the
// other is cut.
func TestFIO(t *testing.T) {
	for name, cut := range map[string]bool{"control": false, "cuts": true} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, bedOptions{})
			mark := b.g.Events.Mark()
			done := make(chan string, 1)
			cmd := exec.CommandContext(t.Context(), "fio", "--name=verify", "--ioengine=nbd", "--uri="+b.g.URI("vm1/root"),
				"--rw=randwrite", "--norandommap=1", "--randrepeat=0", "--serialize_overlap=1", "--bsrange=512-64k", "--blockalign=512",
				"--iodepth=16", "--size=16m", "--io_size=768m", "--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0", "--do_verify=1", "--output-format=json")
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var failed error
			go func() {
				failed = cmd.Wait()
				done <- out.String()
			}()
			load := b.proxies[0].Counters().ToTarget.Bytes
			if err := b.proxies[0].Wait(func(c proxy.Counters) bool { return c.ToTarget.Bytes > load+mib }, 20*time.Second); err != nil {
				t.Fatal(err)
			}
			cuts := 0
			for cut && len(done) == 0 {
				b.cutOne(t, cuts%2)
				cuts++
			}
			text := <-done
			if failed != nil {
				t.Fatalf("fio: %v\n%s", failed, text)
			}
			var rep struct {
				Jobs []struct {
					Error int
					Write struct {
						Bytes int64 `json:"io_bytes"`
					}
					Read struct {
						Bytes int64 `json:"io_bytes"`
					}
				}
			}
			if err := json.Unmarshal([]byte(text[strings.Index(text, "{"):]), &rep); err != nil || len(rep.Jobs) != 1 {
				t.Fatalf("fio: %v\n%s", err, text)
			}
			j := rep.Jobs[0]
			if j.Error != 0 || j.Write.Bytes < 760*mib || j.Read.Bytes < 4*mib {
				t.Errorf("fio: %+v", j)
			}
			if !cut {
				b.quiet(t, mark)
			} else if n := len(b.g.Events.Since(mark, gate.Kind("failover"))); cuts < 2 || n == 0 {
				t.Errorf("%d cuts, %d failovers", cuts, n)
			}
			t.Logf("measured: fio --verify=crc32c, %d cuts: %d MiB written over 16 MiB, %d MiB verified, 0 errors", cuts, j.Write.Bytes/mib, j.Read.Bytes/mib)
		})
	}
}

// cutOne cuts portal i, waits until the gateway has noticed, and restores it.
func (b *bed) cutOne(t testing.TB, i int) {
	t.Helper()
	paths, mark := b.behind(t, i), b.g.Events.Mark()
	b.proxies[i].MustSet(proxy.Fault{Kind: proxy.Refuse})
	if b.proxies[i].ResetConns() == 0 {
		t.Errorf("portal %d had no connection", i)
	}
	b.lost(t, mark, paths, 5*time.Second)
	b.proxies[i].Clear()
	b.g.Events.WaitN(t, mark, len(paths), 20*time.Second, onPath("path-up", paths))
	b.settle(t)
}
