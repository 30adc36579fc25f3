// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package hosts

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pathgate/integration/gate"
	"pathgate/integration/scripted"
	"pathgate/integration/tgtd"
	"pathgate/internal/scsi"
)

// allocated is how much of a file is in use.
func allocated(t *testing.T, file string) int64 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(file, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// attach runs what pathgate attach prints, and finds the disks where it says.
func attach(t *testing.T, h *host, text string, disks int) {
	t.Helper()
	var list []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "ls -l ") {
			list = append(list, line)
			continue
		}
		h.run(t, "%s", line)
	}
	if len(list) != disks {
		t.Errorf("%d disks: %s", len(list), text)
	}
	for _, line := range list {
		h.run(t, "again %s", line)
	}
}

// TestLongKernelView: what Linux makes of disks is what they are: sizes, discards that
// free what is below, write cache, write protection and names.
func TestLongKernelView(t *testing.T) {
	dir := t.TempDir()
	a := newArray(t, tgtd.LUN{SizeBytes: 64 * mib, Thin: true, BlockSize: 4096})
	file := func(name string, mib int64) string { return fmt.Sprintf(`file: "%s/%s", size: %dMiB`, dir, name, mib) }
	if err := os.WriteFile(filepath.Join(dir, "archive"), make([]byte, 32*mib), 0o600); err != nil {
		t.Fatal(err)
	}
	g, _ := start(t, gate.Config{
		Targets: []gate.Target{a.target},
		Rules:   []string{`{id: "*", all-paths-down: queue, cache: volatile}`},
		Disks: []string{
			`{name: root, ` + file("root", 32) + `}`,
			`{name: archive, ` + file("archive", 32) + `, read-only: true, lun-id: 7}`,
			`{name: big, lun: "vmhba0:0:1"}`,
		},
	}, 1)
	available(t, g, 3)
	h := boot(t, options{programs: []string{"lsblk"}})
	attach(t, h, g.MustCLI(t, "attach", "vm1", "--linux", "--over", "iscsi"), 3)
	const look = `d=$(disk %d) && cd /sys/block/$d
again udevadm settle
lsblk -dbno SIZE,LOG-SEC,PHY-SEC,ROTA,RO /dev/$d | tr -s ' '
echo "discard $(($(cat queue/discard_max_bytes) > 0)) $(cat queue/discard_granularity)"
echo "cache $(cat queue/write_cache), fua $(cat queue/fua), $(cat device/scsi_disk/*/cache_type)"
echo "zero $(($(cat queue/write_zeroes_max_bytes) > 0)) $(cat device/scsi_disk/*/zeroing_mode)"
echo "$(tr -s ' ' <device/vendor)$(tr -s ' ' <device/model) $(cat device/wwid | cut -c 1-5) $(ls /dev/disk/by-id | grep -c "wwn-0x$(cut -c 5- device/wwid)$")"`
	for _, tt := range []struct {
		lun  int
		want string
	}{
		{0, "33554432 512 4096 0 0\ndiscard 1 4096\ncache write back, fua 1, write back\nzero 1 writesame_16_unmap\nPATHGATEVM1/ROOT  naa.6 1\n"},
		{7, "33554432 512 4096 0 1\ndiscard 0 0\ncache write through, fua 0, write through\nzero 1 writesame\nPATHGATEVM1/ARCHIVE  naa.6 1\n"},
		{1, "67108864 4096 4096 0 0\ndiscard 1 4096\ncache write back, fua 1, write back\nzero 1 writesame_16_unmap\nPATHGATEVM1/BIG  naa.6 1\n"},
	} {
		h.disk(t, tt.lun)
		if got := h.run(t, look, tt.lun); got != tt.want {
			t.Errorf("LUN %d: %q, want %q", tt.lun, got, tt.want)
		}
	}

	// A discard frees what is below.
	for _, d := range []struct {
		lun  int
		file string
	}{{0, filepath.Join(dir, "root")}, {1, a.file}} {
		dev := h.disk(t, d.lun)
		h.run(t, "dd if=/dev/urandom of=%s bs=1M count=16 conv=fsync 2>/dev/null", dev)
		full := allocated(t, d.file)
		h.run(t, "blkdiscard -o %d -l %d %s", 4*mib, 8*mib, dev)
		if left := allocated(t, d.file); full < 16*mib || left > full-8*mib+mib/2 {
			t.Errorf("%s: %d bytes, %d before the discard of 8 MiB", d.file, left, full)
		}
		h.run(t, "dd if=%s bs=1M skip=4 count=8 iflag=direct 2>/dev/null | tr -d '\\0' | wc -c | grep -qx 0", dev)
	}
	h.run(t, `d=%s
mkfs.ext4 -q $d
mount -t ext4 -o discard $d /mnt
dd if=/dev/urandom of=/mnt/f bs=1M count=8 2>/dev/null
sync; rm /mnt/f; sync
fstrim /mnt
umount /mnt
e2fsck -fn $d`, h.disk(t, 0))
	if left := allocated(t, filepath.Join(dir, "root")); left > 6*mib {
		t.Errorf("%d bytes are left after fstrim of an empty file system", left)
	}
	h.clean(t)

	// Last, since the kernel tells of it: a disk that is read-only takes no write.
	out := h.run(t, "dd if=/dev/zero of=%s bs=4096 count=1 conv=fsync 2>&1 || true", h.disk(t, 7))
	if !strings.Contains(out, "not permitted") && !strings.Contains(out, "Read-only") {
		t.Errorf("a write of a read-only disk: %s", out)
	}
	h.run(t, "iscsiadm -m node --logout")
	nobody(t, g)
}

// TestLongGrowth: a disk that has grown, and one that has come, are seen after a rescan.
func TestLongGrowth(t *testing.T) {
	units := []*scripted.Unit{scripted.NewUnit(16 * mib), scripted.NewUnit(24 * mib)}
	for i, u := range units {
		u.Designators = []scsi.Designator{scsi.NAARegistered(0x001405, 0xa11, uint64(i))}
	}
	tg := scripted.New(t, scripted.Options{Portals: []scripted.Portal{{}, {}}, Units: map[uint16]*scripted.Unit{1: units[0]}})
	g, portals := start(t, gate.Config{
		Targets: []gate.Target{{Portals: tg.Addresses()}},
		Disks:   []string{`{name: root, lun: "vmhba0:0:1"}`, `{name: data, lun: "vmhba0:0:2"}`},
	}, 1)
	available(t, g, 1)
	h := boot(t, options{programs: []string{"resize2fs", "lsblk"}})
	h.run(t, "udevadm monitor --kernel --property --subsystem-match=scsi >/run/uevents 2>&1 &\niscsiadm -m discovery -t sendtargets -p %s\niscsiadm -m node --login", portals[0])
	dev := h.disk(t, 0)
	h.startFiles(t, dev)
	units[0].Resize(32 * mib)
	if !gate.Poll(patience, func() bool {
		_, _ = g.CLI(t.Context(), "device", "list")
		ds := g.Disks(t)
		return ds[0].Size == 32*mib
	}) {
		t.Fatalf("the disk has not grown: %v", g.Disks(t))
	}
	h.run(t, "again grep -q SDEV_UA=CAPACITY_DATA_HAS_CHANGED /run/uevents") // the next command had it
	tg.Map(2, units[1])
	g.MustCLI(t, "rescan")
	available(t, g, 2)
	h.run(t, "again grep -q SDEV_UA=REPORTED_LUNS_DATA_HAS_CHANGED /run/uevents")
	h.run(t, "%s", documented(t, "Disks that grow or come", "/dev/sdX", dev))
	if out := h.run(t, "lsblk -dbno SIZE %s %s", dev, h.disk(t, 1)); strings.Join(strings.Fields(out), " ") != fmt.Sprint(32*mib, " ", 24*mib) {
		t.Errorf("sizes %s", out)
	}
	if out := h.run(t, "df -k /mnt | tail -n 1 | awk '{print $2}'"); strings.TrimSpace(out) < "24000" || len(strings.TrimSpace(out)) != 5 {
		t.Errorf("the file system has %s KiB", out)
	}
	h.checkFiles(t, dev)
	h.clean(t)
	h.run(t, "umount /mnt 2>/dev/null || true\niscsiadm -m node --logout")
	nobody(t, g)
}
