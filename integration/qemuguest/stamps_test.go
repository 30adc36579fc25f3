// SPDX-License-Identifier: Apache-2.0

//go:build integration

package qemuguest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pathgate/integration/guest"
	"pathgate/integration/proxy"
)

// stampScript writes stamps past the guest's page cache until it is told to stop, and
// checks what it has read meanwhile, and the whole disk at the end.
const stampScript = `
disk=$(ls /dev/vda /dev/sda 2>/dev/null)
stamp run --file "$disk" --direct --size 8388608 --writers 2 --depth 4 --max-io 65536 --seconds 100000 --journal /tmp/journal >/tmp/report 2>&1 &
echo "writing"
read go
kill -TERM $!
wait $!
echo "report $?"
cat /tmp/report
blockdev --flushbufs "$disk"
stamp check --journal /tmp/journal "$disk"
echo "check $?"
dmesg | grep -iE 'I/O error|abort' && exit 6
exit 0
`

// stampProgram builds the stamp checker, without libraries.
func stampProgram(t *testing.T) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "stamp")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", to, "pathgate/integration/cmd/stamp")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	return to
}

// stamps is a guest that writes stamps through a proxy in front of the gateway.
type stamps struct {
	*bed
	vm *guest.Guest
}

// newStamps starts the guest, with its disk on a LUN over two paths.
func newStamps(t *testing.T, o options, words func(*bed) []string) *stamps {
	t.Helper()
	o.front, o.lun, o.Timeouts = true, aLUN(32*mib), map[string]string{"drain": "5s"}
	s := &stamps{bed: newBed(t, o)}
	s.vm = boot(t, stampScript, words(s.bed), func(o *guest.Options) {
		o.Programs = []string{stampProgram(t)}
	})
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := s.vm.WaitOutput(ctx, "writing"); err != nil {
		t.Fatal(err)
	}
	s.flow(t)
	return s
}

// flow waits until the guest has had some more of its requests answered.
func (s *stamps) flow(t *testing.T) {
	t.Helper()
	c := s.front.Counters()
	up, down := c.ToTarget.Bytes, c.ToClient.Bytes
	if err := s.front.Wait(func(c proxy.Counters) bool {
		return c.ToTarget.Bytes > up+mib && c.ToClient.Bytes > down+256<<10
	}, limit); err != nil {
		t.Fatalf("no load: %v", err)
	}
}

// end stops the guest and has it tell what it has found.
func (s *stamps) end(t *testing.T) {
	t.Helper()
	s.flow(t)
	if err := s.vm.Send("stop"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	r, err := s.vm.Wait(ctx)
	if err != nil || r.ExitCode != 0 {
		t.Errorf("guest: %v, status %d", err, r.ExitCode)
	}
	demand(t, r.Output, "report 0", "check 0", "\n0 violations")
	t.Logf("the guest's report:\n%s", strings.TrimSpace(r.Output))
}

// TestGuestUnderCutsAndRestarts: the connection of QEMU is reset, the gateway is stopped
// and started, and killed and started, while the guest writes. libiscsi logs in again and
// sends again what was not answered; nothing old lands over what is newer.
func TestGuestUnderCutsAndRestarts(t *testing.T) {
	s := newStamps(t, options{}, func(b *bed) []string { return onSCSI(b.attach(t, "iscsi"), "scsi-hd") })
	s.front.MustSet(proxy.Fault{Kind: proxy.Reset})
	s.flow(t)
	s.restart(t, func() {
		if _, err := s.g.Terminate(time.Minute); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	s.restart(t, s.g.Kill)
	s.end(t)
}

// restart ends the gateway while the guest writes, and starts it again.
func (s *stamps) restart(t *testing.T, end func()) {
	t.Helper()
	end()
	if err := s.g.Start(); err != nil {
		t.Fatal(err)
	}
	s.settle(t)
	s.flow(t)
}
