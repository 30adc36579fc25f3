// SPDX-License-Identifier: Apache-2.0

//go:build integration

package initiators

import (
	"strings"
	"testing"

	"pathgate/integration/gate"
)

// TestAttachQEMU: what `attach --qemu` prints is taken by QEMU as it stands, and leads
// to the same disk over both front-ends.
func TestAttachQEMU(t *testing.T) {
	file := secretFile(t)
	g, _ := start(t, gate.Config{
		VM: `{initiators: ["iqn.2026-11.test:vm1"], chap: {user: alice, secret-file: "` + file + `"}}`,
		Disks: []string{
			`{name: root, file: "` + t.TempDir() + `/root", size: 1MiB}`,
			`{name: data, file: "` + t.TempDir() + `/data", size: 2MiB, lun-id: 5}`,
		},
	}, 1)
	g.WaitDisks(t, startLimit, available(2))
	sizes := map[string]string{"vm1/root": "1 MiB (1048576", "vm1/data": "2 MiB (2097152"}
	disk, seen := "", 0
	for line := range strings.Lines(g.MustCLI(t, "attach", "vm1", "--qemu")) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "# vm1/"); ok {
			disk = "vm1/" + name
		}
		opts, ok := strings.CutPrefix(line, "-blockdev '")
		if !ok {
			continue
		}
		opts, _, ok = strings.Cut(opts, "' -device virtio-blk-pci,drive=pathgate-")
		if !ok {
			t.Fatalf("line %q", line)
		}
		seen++
		out := run(t, true, "qemu-img", "info", "--object", "secret,id=pathgate-chap,file="+file, "json:"+opts)
		demand(t, out, "virtual size: "+sizes[disk])
	}
	if seen != 4 {
		t.Errorf("%d disks", seen)
	}
}
