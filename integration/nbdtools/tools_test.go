// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbdtools

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pathgate/integration/gate"
	"pathgate/integration/proxy"
)

// extent is a part of a map, as nbdinfo (offset, type) and qemu-img (start, zero, data)
// print it.
type extent struct {
	Offset, Start, Length int64
	Type                  int
	Zero, Data, Present   bool
}

// runs are the extents of a map that are data, "start+length" in units of 64 KiB, joined;
// the rest reads as zeros.
func runs(list []extent, data func(extent) bool, start func(extent) int64) string {
	const unit = 64 << 10
	var s []string
	from, to := int64(-1), int64(-1)
	put := func() {
		if from >= 0 {
			s = append(s, fmt.Sprintf("%d+%d", from/unit, (to-from)/unit))
		}
	}
	for _, e := range list {
		if !data(e) {
			continue
		}
		if start(e) != to {
			put()
			from = start(e)
		}
		to = start(e) + e.Length
	}
	put()
	return strings.Join(s, " ")
}

// allocation is a disk's map by nbdinfo and by qemu-img, which have to agree.
func (b *bed) allocation(t *testing.T, disk string) string {
	t.Helper()
	info := decoded[[]extent](t, "nbdinfo", "--json", "--map", b.URI(disk))
	image := decoded[[]extent](t, "qemu-img", "map", "--output=json", "-f", "raw", b.URI(disk))
	one := runs(info, func(e extent) bool { return e.Type&2 == 0 }, func(e extent) int64 { return e.Offset })
	other := runs(image, func(e extent) bool { return e.Data && !e.Zero }, func(e extent) int64 { return e.Start })
	if one != other {
		t.Errorf("%s: nbdinfo's map is %s, qemu-img's is %s", disk, one, other)
	}
	for name, end := range map[string]int64{
		"nbdinfo": info[len(info)-1].Offset + info[len(info)-1].Length, "qemu-img": image[len(image)-1].Start + image[len(image)-1].Length,
	} {
		if end != diskSize {
			t.Errorf("%s: %s's map ends at %d", disk, name, end)
		}
	}
	return one
}

// onDisks runs f on both kinds of disk; the one on the LUN has to use both paths.
func onDisks(t *testing.T, f func(t *testing.T, b *bed, disk string)) {
	t.Helper()
	b := newBed(t)
	for _, disk := range []string{"vm1/root", "vm1/file"} {
		t.Run(disk, func(t *testing.T) {
			before := []proxy.Counters{b.proxies[0].Counters(), b.proxies[1].Counters()}
			f(t, b, disk)
			for i, p := range b.proxies {
				n := p.Counters().PDUs(proxy.SCSICommand) - before[i].PDUs(proxy.SCSICommand)
				if disk == "vm1/root" && n < 8 {
					t.Errorf("path %d carried %d commands", i, n)
				}
			}
		})
	}
}

// TestInfo: what nbdinfo tells of the disks, and of the paths.
func TestInfo(t *testing.T) {
	b := newBed(t)
	type info struct {
		Protocol   string
		Structured bool
		Exports    []struct {
			Name      string   `json:"export-name"`
			Size      int64    `json:"export-size"`
			Contexts  []string `json:"contexts"`
			ReadOnly  bool     `json:"is_read_only"`
			Cache     bool     `json:"can_cache"`
			DF        bool     `json:"can_df"`
			FastZero  bool     `json:"can_fast_zero"`
			Flush     bool     `json:"can_flush"`
			FUA       bool     `json:"can_fua"`
			MultiConn bool     `json:"can_multi_conn"`
			Trim      bool     `json:"can_trim"`
			Zero      bool     `json:"can_zero"`
			Min       int64    `json:"block_size_minimum"`
			Preferred int64    `json:"block_size_preferred"`
			Max       int64    `json:"block_size_maximum"`
		}
	}
	for _, disk := range []string{"vm1/root", "vm1/file"} {
		v := decoded[info](t, "nbdinfo", "--json", b.URI(disk))
		if len(v.Exports) != 1 || v.Protocol != "newstyle-fixed" || !v.Structured {
			t.Fatalf("%s: %+v", disk, v)
		}
		e := v.Exports[0]
		if e.Name != disk || e.Size != diskSize || e.ReadOnly || !e.Cache || !e.DF || !e.Flush || !e.FUA || !e.MultiConn || !e.Trim || !e.Zero ||
			e.Min != 512 || e.Preferred < 4096 || e.Max != 32*mib ||
			!slices.Contains(e.Contexts, "base:allocation") || !slices.Contains(e.Contexts, "pathgate:paths") {
			t.Errorf("%s: %+v", disk, e)
		}
	}
	if v := decoded[info](t, "nbdinfo", "--json", "--list", b.URI("")); len(v.Exports) != 2 {
		t.Errorf("list: %+v", v)
	}
	for degraded := range 2 {
		if degraded == 1 {
			b.proxies[0].MustSet(proxy.Fault{Kind: proxy.Refuse})
			b.proxies[0].ResetConns()
		}
		var list []extent
		if !gate.Poll(limit, func() bool {
			list = decoded[[]extent](t, "nbdinfo", "--json", "--map=pathgate:paths", b.URI("vm1/root"))
			return len(list) == 1 && list[0].Length == diskSize && list[0].Type == degraded
		}) {
			t.Errorf("pathgate:paths with %d paths cut: %+v", degraded, list)
		}
	}
	if list := decoded[[]extent](t, "nbdinfo", "--json", "--map=pathgate:paths", b.URI("vm1/file")); len(list) != 1 || list[0].Type != 0 {
		t.Errorf("pathgate:paths of a file: %+v", list)
	}
}

// TestPattern: what qemu-io writes, zeroes and discards is what it reads and what the
// maps tell.
func TestPattern(t *testing.T) {
	onDisks(t, func(t *testing.T, b *bed, disk string) {
		if got := b.allocation(t, disk); got != "" {
			t.Errorf("a new disk has data: %s", got)
		}
		io := func(cmds ...string) string {
			t.Helper()
			args := []string{"-f", "raw"}
			for _, c := range cmds {
				args = append(args, "-c", c)
			}
			out := tool(t, "qemu-io", append(args, b.URI(disk))...)
			if strings.Contains(out, "rror") || strings.Contains(out, "failed") {
				t.Errorf("qemu-io: %s", out)
			}
			return out
		}
		io("write -P 0x11 0 1M", "write -P 0x22 4M 2M", "write -f -P 0x33 16M 256k", "write -P 0x44 32M 8M", "write -P 0x55 63M 1M", "flush")
		if got, want := b.allocation(t, disk), "0+16 64+32 256+4 512+128 1008+16"; got != want {
			t.Errorf("written: got %s, want %s", got, want)
		}
		io("discard 5M 512k", "write -z -u 34M 1M", "discard 36M 2M", "flush",
			"read -P 0x22 4M 1M", "read -P 0x22 5632k 512k", "read -P 0 34M 1M", "read -P 0 36M 2M",
			"read -P 0x44 32M 2M", "read -P 0x44 35M 1M", "read -P 0x44 38M 2M", "read -P 0x55 63M 1M", "read -P 0 8M 8M")
		if got, want := b.allocation(t, disk), "0+16 64+16 88+8 256+4 512+32 560+16 608+32 1008+16"; got != want {
			t.Errorf("discarded: got %s, want %s", got, want)
		}
		// Zeros that are not to be holes read as zeros, and leave what is beside them.
		io("write -z 512k 256k", "write -P 0x66 1049088 1536", "write -z 1050112 512", "flush",
			"read -P 0x11 0 512k", "read -P 0 512k 256k", "read -P 0x11 768k 256k", "read -P 0 1M 512",
			"read -P 0x66 1049088 1024", "read -P 0 1050112 512", "read -P 0 1050624 1M")
		// A disk has no backing file, so to qemu-io all of it is allocated.
		if out := io("map"); !strings.HasPrefix(out, "64 MiB (0x4000000) bytes     allocated at offset 0 bytes") {
			t.Errorf("qemu-io map: %s", out)
		}
		if out := io("aio_write -P 0x77 40M 4M", "aio_write -z -u 32M 1M", "aio_flush", "read -P 0x77 40M 4M", "read -P 0 32M 1M"); !strings.Contains(out, "wrote 4194304") {
			t.Errorf("qemu-io: %s", out)
		}
		// A pattern that is not there is told.
		if out, err := try(t, "qemu-io", "-f", "raw", "-c", "read -P 0x12 0 4k", b.URI(disk)); err == nil {
			t.Errorf("qemu-io finds a pattern that is not there: %s", out)
		}
	})
}

// sparse makes an image with data in the even 2 MiB of it, and gives its sum and its map.
func sparse(t *testing.T, seed uint64) (path string, sum [32]byte, data string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "image")
	b, r := make([]byte, diskSize), rand.NewChaCha8([32]byte{byte(seed), 1})
	var list []string
	for off := 0; off < len(b); off += 4 * mib {
		_, _ = r.Read(b[off : off+2*mib])
		list = append(list, fmt.Sprintf("%d+32", off/(64<<10)))
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, sha256.Sum256(b), strings.Join(list, " ")
}

func sumOf(t *testing.T, path string) [32]byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(b)
}

// isSparse fails the test if a copy takes much more room than its data.
func isSparse(t *testing.T, path string) {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	if got := st.Blocks * 512; got > diskSize*3/4 {
		t.Errorf("%s takes %d bytes", filepath.Base(path), got)
	}
}

// TestCopy: nbdcopy with several connections keeps the bytes and the holes, in, out and
// from disk to disk.
func TestCopy(t *testing.T) {
	onDisks(t, func(t *testing.T, b *bed, disk string) {
		image, sum, data := sparse(t, 1)
		tool(t, "qemu-io", "-f", "raw", "-c", "write -P 0xff 0 64M", "-c", "flush", b.URI(disk)) // holes have to be made
		tool(t, "nbdcopy", "--connections=4", "--requests=16", "--flush", image, b.URI(disk))
		if got := b.allocation(t, disk); got != data {
			t.Errorf("in: got %s, want %s", got, data)
		}
		for _, args := range [][]string{{"--connections=4", "--requests=16"}, {"--connections=1"}, {"--synchronous"}} {
			back := filepath.Join(t.TempDir(), "back")
			tool(t, "nbdcopy", append(args, b.URI(disk), back)...)
			if sumOf(t, back) != sum {
				t.Errorf("%v: what comes out is not what went in", args)
			}
			isSparse(t, back)
		}
		other := map[string]string{"vm1/root": "vm1/file", "vm1/file": "vm1/root"}[disk]
		tool(t, "qemu-io", "-f", "raw", "-c", "write -P 0xee 1M 8M", "-c", "flush", b.URI(other))
		tool(t, "nbdcopy", "--connections=4", "--flush", b.URI(disk), b.URI(other))
		tool(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", b.URI(disk), b.URI(other))
		if got := b.allocation(t, other); got != data {
			t.Errorf("from disk to disk: got %s, want %s", got, data)
		}
		// Onto a disk that is zero, so that only data is written.
		tool(t, "qemu-io", "-f", "raw", "-c", "discard 0 64M", "-c", "flush", b.URI(disk))
		if got := b.allocation(t, disk); got != "" {
			t.Errorf("after a discard of all: %s", got)
		}
		tool(t, "nbdcopy", "--destination-is-zero", "--connections=4", image, b.URI(disk))
		if got := b.allocation(t, disk); got != data {
			t.Errorf("onto zeros: got %s, want %s", got, data)
		}
		if disk == "vm1/root" && sumOf(t, b.lun) != sum {
			t.Error("the LUN's file is not what was copied in")
		}
	})
}

// TestConvert: qemu-img convert keeps the bytes and the holes, both ways, and compare
// sees a byte that differs.
func TestConvert(t *testing.T) {
	onDisks(t, func(t *testing.T, b *bed, disk string) {
		image, sum, data := sparse(t, 2)
		dir := t.TempDir()
		qcow, back := filepath.Join(dir, "qcow2"), filepath.Join(dir, "back")
		compare := func(format, path string) {
			t.Helper()
			tool(t, "qemu-img", "compare", "-f", format, "-F", "raw", path, b.URI(disk))
		}
		tool(t, "qemu-io", "-f", "raw", "-c", "write -P 0xff 0 64M", "-c", "flush", b.URI(disk))
		tool(t, "qemu-img", "convert", "-n", "-m", "8", "-W", "-f", "raw", "-O", "raw", image, b.URI(disk))
		compare("raw", image)
		if got := b.allocation(t, disk); got != data {
			t.Errorf("raw: got %s, want %s", got, data)
		}
		tool(t, "qemu-img", "convert", "-m", "8", "-f", "raw", "-O", "qcow2", b.URI(disk), qcow)
		compare("qcow2", qcow)
		isSparse(t, qcow)
		tool(t, "qemu-io", "-f", "raw", "-c", "discard 0 64M", "-c", "flush", b.URI(disk))
		tool(t, "qemu-img", "convert", "-n", "--target-is-zero", "-f", "qcow2", "-O", "raw", qcow, b.URI(disk))
		compare("raw", image)
		if got := b.allocation(t, disk); got != data {
			t.Errorf("qcow2: got %s, want %s", got, data)
		}
		tool(t, "qemu-img", "convert", "-f", "raw", "-O", "raw", b.URI(disk), back)
		if sumOf(t, back) != sum {
			t.Error("what comes out is not what went in")
		}
		isSparse(t, back)
		tool(t, "qemu-io", "-f", "raw", "-c", "write -P 1 3M 512", b.URI(disk))
		if _, err := try(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", image, b.URI(disk)); err == nil || !strings.Contains(err.Error(), "offset 3145728") {
			t.Errorf("qemu-img compare sees no difference: %v", err)
		}
	})
}
