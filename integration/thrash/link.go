// SPDX-License-Identifier: Apache-2.0

package thrash

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// network is a network namespace for a target, with cables from here. It is held by
// a process, and goes with it, and with this one.
type network struct {
	holder *exec.Cmd
	names  []string // our ends
	near   []string // addresses of our ends
	far    []string // addresses of the target's
}

// newNetwork lays n cables into a new namespace. id keeps networks of one machine
// apart. Needs root.
func newNetwork(t testing.TB, id uint16, n int) *network {
	t.Helper()
	w := &network{holder: exec.Command("sleep", "infinity")}
	w.holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := w.holder.Start(); err != nil {
		t.Fatalf("a network namespace (root only): %v", err)
	}
	t.Cleanup(func() {
		_ = w.holder.Process.Kill() // the kernel takes the cables away
		_ = w.holder.Wait()         // killed
		for _, name := range w.names {
			_ = exec.Command("ip", "link", "delete", name).Run() // it may be gone by now
		}
	})
	w.inside(t, "ip", "link", "set", "lo", "up")
	for i := range n {
		// 198.18.0.0/15 is for tests (RFC 2544); a /30 for each cable.
		base := (uint32(id)<<2 | uint32(i)) << 2 & 0x1ffff
		addr := func(k uint32) string {
			v := base + k
			return fmt.Sprintf("198.%d.%d.%d", 18+v>>16, v>>8&0xff, v&0xff)
		}
		name := fmt.Sprintf("pgt%d.%d", id, i)
		w.names, w.near, w.far = append(w.names, name), append(w.near, addr(1)), append(w.far, addr(2))
		w.outside(t, "ip", "link", "add", name, "type", "veth", "peer", "name", "c"+strconv.Itoa(i), "netns", strconv.Itoa(w.holder.Process.Pid))
		w.outside(t, "ip", "address", "add", addr(1)+"/30", "dev", name)
		w.outside(t, "ip", "link", "set", name, "up")
		w.inside(t, "ip", "address", "add", addr(2)+"/30", "dev", "c"+strconv.Itoa(i))
		w.inside(t, "ip", "link", "set", "c"+strconv.Itoa(i), "up")
	}
	return w
}

func (w *network) outside(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func (w *network) inside(t testing.TB, args ...string) {
	t.Helper()
	w.outside(t, append(w.enter(), args...)...)
}

// enter are the words in front of a command that runs inside.
func (w *network) enter() []string {
	return []string{"nsenter", "--target", strconv.Itoa(w.holder.Process.Pid), "--net"}
}

// set turns our end of cable i, or the other one, up or down.
func (w *network) set(t testing.TB, i int, far, up bool) {
	t.Helper()
	state := "down"
	if up {
		state = "up"
	}
	if far {
		w.inside(t, "ip", "link", "set", "c"+strconv.Itoa(i), state)
	} else {
		w.outside(t, "ip", "link", "set", w.names[i], state)
	}
}
