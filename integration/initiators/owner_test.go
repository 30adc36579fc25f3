// SPDX-License-Identifier: Apache-2.0

//go:build integration

package initiators

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/integration/gate"
	"pathgate/internal/scsi"
)

// shell is a qemu-io that has a disk open.
type shell struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out chan string // what it says to each command, "" when it has ended
}

const prompt = "qemu-io> "

// open has QEMU open an export.
func open(t *testing.T, uri string) *shell {
	t.Helper()
	s := &shell{cmd: exec.Command("qemu-io", "-f", "raw", uri), out: make(chan string)}
	said, err := s.cmd.StdoutPipe()
	if err == nil {
		s.cmd.Stderr = s.cmd.Stdout
		s.in, err = s.cmd.StdinPipe()
	}
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	go func() {
		defer close(s.out)
		var text bytes.Buffer
		for b := make([]byte, 4096); ; {
			n, err := said.Read(b)
			text.Write(b[:n])
			whole := bytes.HasSuffix(text.Bytes(), []byte(prompt))
			if whole || err != nil {
				select {
				case s.out <- strings.TrimSuffix(text.String(), prompt):
				case <-stop:
				}
				text.Reset()
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		_ = s.cmd.Process.Kill() // it may have ended
		_ = s.cmd.Wait()
	})
	if text := s.answer(t); text != "" {
		t.Fatalf("qemu-io %s: %s", uri, text)
	}
	return s
}

// answer is what the shell says until it asks for the next command.
func (s *shell) answer(t *testing.T) string {
	t.Helper()
	select {
	case text := <-s.out:
		return text
	case <-time.After(2 * time.Minute):
		t.Fatal("qemu-io says nothing")
		return ""
	}
}

// do carries a command out.
func (s *shell) do(t *testing.T, command string) string {
	t.Helper()
	if _, err := io.WriteString(s.in, command+"\n"); err != nil {
		t.Fatal(err)
	}
	return s.answer(t)
}

// name is who the gateway takes the shell for.
func (s *shell) name() string { return fmt.Sprintf("process %d (qemu-io)", s.cmd.Process.Pid) }

// quit closes the disk.
func (s *shell) quit(t *testing.T) {
	t.Helper()
	if err := s.in.Close(); err != nil {
		t.Error(err)
	}
	s.answer(t)
}

var one, two = account{name: "iqn.2026-11.test:one"}, account{name: "iqn.2026-11.test:two"}

// startOwned starts a gateway with two disks of vm2 that nothing is said about, and one
// of vm3 that clients take over.
func startOwned(t *testing.T) (*gate.Gate, string) {
	t.Helper()
	dir := t.TempDir()
	g, portals := start(t, gate.Config{
		Disks: []string{`{name: root, file: "` + dir + `/vm1", size: 1MiB}`},
		VMs: []string{
			`{name: vm2, disks: [{name: root, file: "` + dir + `/vm2-root", size: 1MiB}, {name: data, file: "` + dir + `/vm2-data", size: 1MiB}]}`,
			`{name: vm3, clients: takeover, disks: [{name: root, file: "` + dir + `/vm3", size: 1MiB}]}`,
		},
	}, 1)
	g.WaitDisks(t, startLimit, available(4))
	return g, portals[0]
}

// about matches events of a kind of a disk whose message has all of words.
func about(kind, disk string, words ...string) func(gate.Event) bool {
	return func(e gate.Event) bool {
		for _, w := range words {
			if !strings.Contains(e.Message, w) {
				return false
			}
		}
		return e.Kind == kind && e.Disk == disk
	}
}

// keptOut demands that v looks at the disk, and neither reads nor writes it.
func keptOut(t *testing.T, v *visitor) {
	t.Helper()
	if _, class := v.read(t, 0); class != backends.ReservationConflict {
		t.Errorf("a read: %v", class)
	}
	if class := v.write(t, 0, 0xee); class != backends.ReservationConflict {
		t.Errorf("a write: %v", class)
	}
	if _, res := v.do(t, 0, scsi.Inquiry{AllocationLength: 96}, 96, nil); !res.OK() {
		t.Errorf("INQUIRY: %+v", res)
	}
}

// gets waits until v may read the disk, which is filled with a byte.
func gets(t *testing.T, v *visitor, want byte) {
	t.Helper()
	var fill byte
	var class backends.Class
	if !gate.Poll(time.Minute, func() bool {
		fill, class = v.read(t, 0)
		return class != backends.ReservationConflict
	}) || class != backends.OK || fill != want {
		t.Errorf("reads %d, %v, want %d", fill, class, want)
	}
}

// TestOwnedByNBD: what QEMU has open over NBD no initiator uses, and no other process,
// until QEMU has closed it.
func TestOwnedByNBD(t *testing.T) {
	g, portal := startOwned(t)
	q := open(t, g.URI("vm2/root"))
	demand(t, q.do(t, "write -P 1 0 4096"), "wrote 4096/4096")
	mark := g.Events.Mark()
	host := one.mustVisit(t, portal, vm2, 1) // there is another disk
	keptOut(t, host)
	g.Events.Wait(t, mark, time.Minute, about("disk-owned-elsewhere", "vm2/root", "in use by "+q.name()))
	demand(t, g.MustCLI(t, "disk", "list", "-o", "wide"), q.name())

	mark = g.Events.Mark()
	demand(t, run(t, false, "qemu-io", "-f", "raw", "-c", "read 0 512", g.URI("vm2/root")), "vm2/root is in use by "+q.name())
	demand(t, run(t, false, "nbdcopy", g.URI("vm2/root"), "null:"), "server policy")
	g.Events.WaitN(t, mark, 2, time.Minute, about("disk-owned-elsewhere", "vm2/root", "in use by "+q.name()))

	other := open(t, g.URI("vm2/data"))
	if _, loss := two.visit(t, portal, vm2, 1); loss == nil || loss.Class != backends.LossRefused {
		t.Errorf("a login that would find nothing: %+v", loss)
	}
	demand(t, q.do(t, "read -P 1 0 4096"), "read 4096/4096")
	other.quit(t)
	q.quit(t)
	gets(t, host, 1)
	if class := host.write(t, 0, 2); class != backends.OK {
		t.Error(class)
	}
}

// TestOwnedByInitiator: what an initiator uses nobody else does, over NBD neither, until
// its last session has gone or an administrator releases the disk.
func TestOwnedByInitiator(t *testing.T) {
	g, portal := startOwned(t)
	host, again := one.mustVisit(t, portal, vm2, 1), one.mustVisit(t, portal, vm2, 2)
	stranger := two.mustVisit(t, portal, vm2, 1)
	if class := host.write(t, 0, 5); class != backends.OK {
		t.Fatal(class)
	}
	gets(t, again, 5) // another session of the same
	keptOut(t, stranger)
	refused := func(who string) {
		t.Helper()
		demand(t, run(t, false, "qemu-io", "-f", "raw", "-c", "read 0 512", g.URI("vm2/root")), "vm2/root is in use by initiator "+who)
	}
	refused(one.name)
	demand(t, run(t, true, "nbdinfo", "--list", "nbd+unix:///?socket="+g.Path("nbd.sock")), `export="vm2/root"`)
	host.leave()
	if class := again.write(t, 0, 6); class != backends.OK {
		t.Errorf("when one of two sessions has gone: %v", class)
	}
	refused(one.name)
	again.leave()
	gets(t, stranger, 6)

	mark := g.Events.Mark()
	demand(t, g.MustCLI(t, "disk", "release", "vm2/root"), "initiator "+two.name)
	g.Events.Wait(t, mark, time.Minute, about("disk-released", "vm2/root"))
	q := open(t, g.URI("vm2/root"))
	demand(t, q.do(t, "read -P 6 0 512"), "read 512/512")
	keptOut(t, stranger)
	demand(t, q.do(t, "write -P 7 0 512"), "wrote 512/512")
	q.quit(t)
}

// TestOwnerChanges: where clients take a disk over, the one that had it writes nothing more.
func TestOwnerChanges(t *testing.T) {
	g, portal := startOwned(t)
	q := open(t, g.URI("vm3/root"))
	demand(t, q.do(t, "write -P 1 0 4096"), "wrote 4096/4096")
	host := one.mustVisit(t, portal, prefix+"vm3", 1)
	mark := g.Events.Mark()
	if class := host.write(t, 0, 2); class != backends.OK {
		t.Fatalf("the second client: %v", class)
	}
	g.Events.Wait(t, mark, time.Minute, about("disk-taken-over", "vm3/root", "initiator "+one.name+" takes the disk over from "+q.name()))
	demand(t, q.do(t, "write -P 3 0 4096"), "write failed")
	gets(t, host, 2)

	mark = g.Events.Mark()
	next := open(t, g.URI("vm3/root"))
	demand(t, next.do(t, "read -P 2 0 512"), "read 512/512")
	g.Events.Wait(t, mark, time.Minute, about("disk-taken-over", "vm3/root", next.name(), "takes the disk over from initiator "+one.name))
	keptOut(t, host)
	demand(t, next.do(t, "write -P 4 0 512"), "wrote 512/512")
	next.quit(t)
	gets(t, host, 4)
}
