// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const resizable = `
adapters: [{name: vmhba0, address: 127.0.0.1}]
targets: [{portals: [127.0.0.1]}]
vms:
  - name: vm1
    disks:
      - {name: a, file: /a, size: 1GiB, max-size: 2GiB, client-resize: grow}
      - {name: b, file: /b, max-size: 1MiB}
      - {name: c, file: /c, client-resize: off}
      - {name: d, lun: gold, offset: 0}
      - {name: e, extents: [{lun: silver}]}
`

// TestResizeConfig: a disk has a bound, and clients who may use it, if it says so.
func TestResizeConfig(t *testing.T) {
	want := []DiskConfig{
		{MaxSize: 2 << 30, ClientResize: ClientResizeGrow},
		{MaxSize: 1 << 20, ClientResize: ClientResizeOff},
		{ClientResize: ClientResizeOff},
		{ClientResize: ClientResizeOff},
		{ClientResize: ClientResizeOff},
	}
	for i, d := range mustParse(t, resizable).VMs[0].Disks {
		if d.MaxSize != want[i].MaxSize || d.ClientResize != want[i].ClientResize {
			t.Errorf("disk %s: %v, %s", d.Name, d.MaxSize, d.ClientResize)
		}
	}
}

// TestResizeMistakes: each is told with its place and with what would be right.
func TestResizeMistakes(t *testing.T) {
	for _, tt := range []struct{ from, to, want string }{
		{"client-resize: grow", "client-resize: shrink", `7:72: vms[0].disks[0].client-resize: "shrink" is not known (one of off, grow)`},
		{"max-size: 2GiB, ", "", `7:56: vms[0].disks[0].client-resize: "grow" has no bound (max-size says how far`},
		{"max-size: 2GiB", "max-size: 512MiB", `7:51: vms[0].disks[0].max-size: "512MiB" is less than size (at least 1GiB)`},
		{"max-size: 2GiB", "max-size: 2GB", `7:51: vms[0].disks[0].max-size: `},
		{"max-size: 2GiB", "max-size: 0", `7:51: vms[0].disks[0].max-size: `},
		{"max-size: 2GiB", "max-size: 2GiB, read-only: true", `7:51: vms[0].disks[0].max-size: "2GiB" is not used here (a disk with read-only: true does not grow)`},
		{"max-size: 2GiB", "max-size: 2GiB, read-only: true", `disks[0].client-resize: "grow" is not used here (a disk with read-only: true does not grow)`},
		{"max-size: 1MiB", "max-size: 1049088, block-size: 4096", `8:39: vms[0].disks[1].max-size: "1049088" does not fit (a multiple of the block size, 4096 bytes)`},
		{"lun: gold,", "lun: gold, max-size: 1GiB,", `10:40: vms[0].disks[3].max-size: "1GiB" is not used here (belongs to file: the size of a disk on LUNs is that of its extents, or of the LUN, which its target makes grow)`},
		{"lun: gold,", "lun: gold, client-resize: grow,", `10:45: vms[0].disks[3].client-resize: "grow" is not used here (belongs to file`},
		{"{name: e,", "{name: e, max-size: 1GiB,", `11:29: vms[0].disks[4].max-size: "1GiB" is not used here (belongs to file`},
	} {
		t.Run(tt.to, func(t *testing.T) {
			_, err := Parse("t.yaml", []byte(strings.Replace(resizable, tt.from, tt.to, 1)))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// statted is a file of a kind.
type statted struct {
	os.FileInfo
	mode os.FileMode
}

func (s statted) Mode() os.FileMode { return s.mode }

// TestResizeOfBlockDevice: a block device that is to grow is told where the files can be
// seen, and with max-size only.
func TestResizeOfBlockDevice(t *testing.T) {
	c := mustParse(t, resizable)
	v := &validator{c: c, src: &c.src}
	v.growingFiles(func(path string) (os.FileInfo, error) {
		switch path {
		case "/a":
			return statted{mode: os.ModeDevice | 0o660}, nil
		case "/b":
			return nil, os.ErrNotExist
		}
		t.Errorf("%s was looked at", path)
		return statted{}, nil
	})
	if len(v.faults) != 1 || !strings.Contains(v.faults[0].Error(), `t.yaml:7:51: vms[0].disks[0].max-size: "2GiB" is not used here (/a is a block device`) {
		t.Errorf("%v", v.faults)
	}
	path := filepath.Join(t.TempDir(), "c.yaml")
	text := "vms: [{name: vm1, disks: [{name: a, file: " + path + ", max-size: 1MiB}]}]\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err != nil {
		t.Errorf("a regular file: %v", err)
	}
}
