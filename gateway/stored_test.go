// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"pathgate/backends"
	spc "pathgate/internal/scsi"
)

// failDurable has the kernel fail all that this process asks it to make durable with
// EIO, from now on: fdatasync, and pwritev2 with RWF_DSYNC.
func failDurable(t *testing.T) {
	t.Helper()
	const (
		number = 0            // of the system call, in struct seccomp_data
		flags  = 16 + 8*5     // the sixth argument, its low half
		load   = 0x20         // BPF_LD, BPF_W, BPF_ABS
		equal  = 0x15         // BPF_JMP, BPF_JEQ, BPF_K
		anyOf  = 0x45         // BPF_JMP, BPF_JSET, BPF_K
		end    = unix.BPF_RET // BPF_K
	)
	program := []unix.SockFilter{
		{Code: load, K: number},
		{Code: equal, K: unix.SYS_FDATASYNC, Jt: 3},
		{Code: equal, K: unix.SYS_PWRITEV2, Jf: 3},
		{Code: load, K: flags},
		{Code: anyOf, K: unix.RWF_DSYNC, Jf: 1},
		{Code: end, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EIO)},
		{Code: end, K: unix.SECCOMP_RET_ALLOW},
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	f := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if n, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&f))); n != 0 || errno != 0 {
		t.Fatalf("seccomp: %d, %v", n, errno)
	}
}

// storedCommands demand that something is on stable storage, each of a disk of its own.
var storedCommands = []interface{ Encode(*[16]byte) int }{
	spc.ReadWrite{Write: true, Size: 10, Blocks: 1, FUA: true},
	spc.ReadWrite{Write: true, Size: 12, Blocks: 1, FUA: true},
	spc.ReadWrite{Write: true, Size: 16, Blocks: 1, FUA: true},
	spc.SynchronizeCache{Size: 10},
	spc.SynchronizeCache{Size: 16},
}

// TestP02FileDisk: the answer to a command that demands stable storage is the answer
// of the kernel to the system call for it, so it cannot come before that.
func TestP02FileDisk(t *testing.T) {
	if os.Getenv("PATHGATE_TEST_UNSTORED") != "" {
		unstored(t)
		return
	}
	cmd := exec.Command(must[string](t)(os.Executable()), "-test.run=^TestP02FileDisk$", "-test.v")
	cmd.Env = append(os.Environ(), "PATHGATE_TEST_UNSTORED=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestP02FileDisk") {
		t.Errorf("%v\n%s", err, out)
	}
}

// unstored runs in a process of its own, which the kernel refuses to make data durable.
func unstored(t *testing.T) {
	var text strings.Builder
	text.WriteString("state: DIR/state\niscsi: {listen: [\"127.0.0.1:3260\"]}\nvms:\n  - name: vm1\n    disks:\n")
	for i := range len(storedCommands) + 1 {
		fmt.Fprintf(&text, "      - {name: d%d, file: DIR/d%d, size: 1MiB}\n", i, i)
	}
	b := newTargetBed(t, t.TempDir(), text.String())
	b.attachMissing()
	c := b.initiator(t, "a", nil)
	if l := c.login(b, "vm1"); l != nil {
		t.Fatal(l.Err)
	}
	do := func(i int) backends.Result {
		var out []byte
		if w, ok := storedCommands[i].(spc.ReadWrite); ok && w.Write {
			out = make([]byte, 512)
		}
		_, res := c.exec(uint16(i), storedCommands[i], out)
		return res
	}
	for i := range storedCommands {
		c.settle(uint16(i))
		if res := do(i); !res.OK() {
			t.Errorf("%+v: %+v", storedCommands[i], res)
		}
	}
	failDurable(t)
	for i := range storedCommands {
		if _, res := c.exec(uint16(i), spc.ReadWrite{Write: true, Blocks: 1}, make([]byte, 512)); !res.OK() {
			t.Errorf("a write that need not be durable: %+v", res)
		}
		if res := do(i); res.Class != backends.Medium || spc.SenseKey(res.Sense.Key) != spc.MediumError {
			t.Errorf("%+v: %+v", storedCommands[i], res)
		}
	}
	if got := b.outside(t, fmt.Sprintf("vm1/d%d", len(storedCommands)), backends.Flush); got != backends.Medium {
		t.Errorf("a flush over NBD: %v", got)
	}
}
