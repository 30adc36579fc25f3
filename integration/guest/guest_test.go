// SPDX-License-Identifier: Apache-2.0

//go:build integration

package guest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// limit is far above what any step takes, so that a slow machine is no failure.
func limit(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestScript(t *testing.T) {
	started := time.Now()
	var live strings.Builder
	r, err := Run(limit(t), Options{
		Script: "uname -s; cat /given; id -u; printf 'a\\r\\nb\\001c'; exit 7",
		Files:  map[string]string{"/given": "file\n"},
		Output: &live,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("start to end: %v", time.Since(started))
	const want = "Linux\nfile\n0\na\r\nb\x01c"
	if r.Output != want || r.ExitCode != 7 || r.Boots != 1 {
		t.Errorf("got %+v, want output %q, status 7, 1 boot", r, want)
	}
	if live.String() != want {
		t.Errorf("got live output %q, want %q", live.String(), want)
	}
}

// TestRebootWithDisk makes a file system, reboots in the same QEMU and finds
// what it wrote.
func TestRebootWithDisk(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(disk, 64<<20); err != nil {
		t.Fatal(err)
	}
	r, err := Run(limit(t), Options{
		Modules:  []string{"ext4"},
		Programs: []string{"mkfs.ext4", "e2fsck"},
		Drives:   []string{"file=" + disk + ",if=virtio,format=raw,cache=writeback"},
		Reboots:  1,
		Script: `set -e
if [ "$PATHGATE_BOOT" = 1 ]; then
	mkfs.ext4 -q /dev/vda
	mount -t ext4 /dev/vda /mnt
	dd if=/dev/urandom of=/mnt/data bs=64k count=64 2>/dev/null
	(cd /mnt && sha256sum data >sum)
	umount /mnt
	reboot -f
fi
e2fsck -fn /dev/vda >/dev/null 2>&1
mount -t ext4 /dev/vda /mnt
cd /mnt && sha256sum -c sum
`,
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.ExitCode != 0 || r.Boots != 2 || !strings.Contains(r.Output, "data: OK") {
		t.Errorf("got %+v, want status 0 after 2 boots and the checksum right", r)
	}
}

func TestInteractive(t *testing.T) {
	ctx := limit(t)
	g := New(t, Options{
		Interactive: true,
		Forwards:    []Forward{{Host: "127.0.0.1:0", GuestPort: 7000}},
		Script:      "echo ready; read -r word; echo \"got $word\"",
	})
	if err := g.WaitOutput(ctx, "ready"); err != nil {
		t.Fatal(err)
	}
	if err := g.Send("token"); err != nil {
		t.Fatal(err)
	}
	r, err := g.Wait(ctx)
	if err != nil || r.Output != "ready\ngot token\n" {
		t.Fatalf("got %+v, %v", r, err)
	}

	for command, want := range map[string]Result{
		"echo one; echo two >&2; exit 3":        {Output: "one\ntwo\n", ExitCode: 3},
		"true":                                  {},
		"cat; printf '%s' \"a  'b'\n$((1+1))\"": {Output: "a  'b'\n2"},
	} {
		got, err := g.Exec(ctx, command)
		if err != nil || got.Output != want.Output || got.ExitCode != want.ExitCode {
			t.Errorf("Exec(%q): got %+v, %v, want %+v", command, got, err, want)
		}
	}

	// The forwarded port, in the direction host to guest.
	if r, err := g.Exec(ctx, "nc -l -p 7000 -e echo through </dev/null >/dev/null 2>&1 & while ! netstat -ltn | grep -q :7000; do :; done"); err != nil || r.ExitCode != 0 {
		t.Fatalf("listener: %+v, %v", r, err)
	}
	c, err := net.Dial("tcp", g.Forward(0))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); err != nil || string(b) != "through\n" {
		t.Errorf("got %q, %v through the forwarded port", b, err)
	}

	pid := g.Pid()
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("QEMU %d after Kill: %v", pid, err)
	}
	if _, err := g.Exec(ctx, "true"); err == nil {
		t.Error("a killed guest ran a command")
	}
}

func TestFailures(t *testing.T) {
	tests := []struct {
		name string
		o    Options
		want string
	}{
		{"panic", Options{Script: "echo c >/proc/sysrq-trigger; sleep 60"}, errEnded.Error()},
		{"power off", Options{Script: "poweroff -f; sleep 60"}, errEnded.Error()},
		{"timeout", Options{Script: "sleep 600", Timeout: 6 * time.Second}, "did not end within 6s"},
		{"module", Options{Modules: []string{"nosuch"}}, "no module nosuch"},
		{"program", Options{Programs: []string{"nosuch"}}, "nosuch"},
		{"drive", Options{Drives: []string{"file=/nonexistent"}}, "/nonexistent"},
		{"reboots", Options{Script: "reboot -f; sleep 60", Reboots: 1}, "boot number 3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Run(limit(t), tt.o)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %+v, %v, want an error with %q", r, err, tt.want)
			}
		})
	}
}

func TestNoKernel(t *testing.T) {
	if _, err := Start(t.Context(), Options{Cache: t.TempDir()}); !errors.Is(err, ErrNoKernel) {
		t.Errorf("got %v, want %v", err, ErrNoKernel)
	}
}
