// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbd

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// extent is one of a map as nbdinfo and qemu-img print it.
type extent struct {
	Offset int    `json:"offset"` // nbdinfo
	Start  int    `json:"start"`  // qemu-img
	Length int    `json:"length"`
	Type   int    `json:"type"` // nbdinfo: the flags
	Zero   bool   `json:"zero"`
	Data   bool   `json:"data"`
	Name   string `json:"description"`
}

func mapOf(t *testing.T, out string) (list []extent) {
	t.Helper()
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return list
}

// The map that foreign clients get of a disk is the pattern that was written.
func TestMapsOfForeignClients(t *testing.T) {
	const m = 1 << 20
	both(t, func(t *testing.T, uri func(string) string) {
		tool(t, "qemu-io", "-f", "raw", "-c", "write -P 7 1M 2M", "-c", "write -P 9 5M 512", uri("vm1/scratch"))
		want := []struct{ at, length, flags int }{{0, m, 3}, {m, 2 * m, 0}, {3 * m, 2 * m, 3}, {5 * m, m, 0}, {6 * m, 2 * m, 3}}
		info := mapOf(t, tool(t, "nbdinfo", "--json", "--map", uri("vm1/scratch")))
		image := mapOf(t, tool(t, "qemu-img", "map", "--output=json", uri("vm1/scratch")))
		if len(info) != len(want) || len(image) != len(want) {
			t.Fatalf("nbdinfo told %v, qemu-img %v", info, image)
		}
		for i, w := range want {
			if e := info[i]; e.Offset != w.at || e.Length != w.length || e.Type != w.flags {
				t.Errorf("nbdinfo: extent %d: %+v, want %v", i, e, w)
			}
			if e := image[i]; e.Start != w.at || e.Length != w.length || e.Zero != (w.flags == 3) || e.Data == (w.flags == 3) {
				t.Errorf("qemu-img: extent %d: %+v, want %v", i, e, w)
			}
		}
		paths := mapOf(t, tool(t, "nbdinfo", "--json", "--map=pathgate:paths", uri("vm1/scratch")))
		if len(paths) != 1 || paths[0].Length != 8*m || paths[0].Type != 0 {
			t.Errorf("paths: %+v", paths)
		}
		list := tool(t, "nbdinfo", "--json", uri("vm1/scratch"))
		for _, c := range []string{"base:allocation", "pathgate:paths", `"structured": true`, `"can_df": true`} {
			if !strings.Contains(list, c) {
				t.Errorf("nbdinfo does not tell of %s: %s", c, list)
			}
		}
	})
}

// A sparse copy out of a disk is as sparse as the disk, and the same.
func TestSparseCopies(t *testing.T) {
	both(t, func(t *testing.T, uri func(string) string) {
		in, dir := random(t), t.TempDir()
		tool(t, "nbdcopy", "--connections=4", in, uri("vm1/root"))
		copied, converted := filepath.Join(dir, "nbdcopy"), filepath.Join(dir, "qemu-img")
		tool(t, "nbdcopy", "--connections=4", "--requests=16", uri("vm1/root"), copied)
		tool(t, "qemu-img", "convert", "-f", "raw", "-O", "raw", "-S", "4k", uri("vm1/root"), converted)
		for _, path := range []string{copied, converted} {
			if sum(t, in) != sum(t, path) {
				t.Errorf("%s differs", filepath.Base(path))
			}
		}
		// Reads of whole holes, and of both, by a client of structured replies.
		out := tool(t, "qemu-io", "-f", "raw", "-c", "read -v 0 512", "-c", "read -P 0 1M 1M", "-c", "read -P 0 1M 2M", "-c", "read 0 16M", uri("vm1/root"))
		if strings.Contains(out, "failed") || strings.Contains(out, "rror") {
			t.Errorf("qemu-io: %s", out)
		}
		// Back again onto zeros, so that only data is written.
		tool(t, "qemu-io", "-f", "raw", "-c", "write -z -u 0 64M", uri("vm1/root"))
		tool(t, "nbdcopy", "--destination-is-zero", copied, uri("vm1/root"))
		tool(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", in, uri("vm1/root"))
		holes := 0
		for _, e := range mapOf(t, tool(t, "nbdinfo", "--json", "--map", uri("vm1/root"))) {
			if e.Type == 3 {
				holes += e.Length
			}
		}
		if holes < diskSize/2 {
			t.Errorf("%d bytes are holes after the copy", holes)
		}
	})
}
