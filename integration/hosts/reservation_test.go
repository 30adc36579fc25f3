// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package hosts

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"pathgate/integration/gate"
)

// conflict is EBADE, the kernel's error for RESERVATION CONFLICT.
const conflict = "Invalid exchange"

// rivals are two hosts of one disk, and what they do with it as it is documented.
type rivals struct {
	hosts                    [2]*host
	device                   string
	register, reserve, seize string
}

var keys = [2]string{"0xa1", "0xb2"}

func newRivals(t *testing.T, portal string) *rivals {
	t.Helper()
	r := &rivals{}
	var both sync.WaitGroup
	for i := range r.hosts {
		both.Go(func() { r.hosts[i] = boot(t, options{name: fmt.Sprintf("iqn.2026-11.test:host%d", i)}) })
	}
	both.Wait()
	for _, h := range r.hosts {
		if h == nil {
			t.FailNow()
		}
		h.run(t, "iscsiadm -m node -o new -T %s -p %s\niscsiadm -m node -T %s --login", vm1, portal, vm1)
		r.device = h.disk(t, 0)
	}
	steps := strings.Split(documented(t, "Reservations", "/dev/sdX", r.device), "\n\n")
	if len(steps) != 3 {
		t.Fatalf("%d steps", len(steps))
	}
	r.register, r.reserve, r.seize = steps[0], steps[1], steps[2]
	return r
}

// as runs documented commands on a host, with its key for the first, and the other's for
// the second.
func (r *rivals) as(t *testing.T, i int, step string) string {
	t.Helper()
	mine, others := keys[i], keys[1-i]
	if step == r.seize {
		mine, others = others, mine
	}
	return r.hosts[i].run(t, "%s", strings.NewReplacer(keys[0], mine, keys[1], others).Replace(step))
}

// write writes a block of a letter, and checks whether that succeeds.
func (r *rivals) write(t *testing.T, i int, letter string, ok bool) {
	t.Helper()
	out := r.hosts[i].run(t, `yes %s | tr -d '\n' | dd bs=4096 count=1 iflag=fullblock of=%s oflag=direct conv=notrunc 2>&1 || true`, letter, r.device)
	if strings.Contains(out, conflict) == ok || strings.Contains(out, "1+0 records out") != ok {
		t.Fatalf("host %d writes, want %v: %s", i, ok, out)
	}
}

// holds checks what the first block has.
func (r *rivals) holds(t *testing.T, i int, letter string) {
	t.Helper()
	out := r.hosts[i].run(t, "dd bs=4096 count=1 if=%s iflag=direct 2>/dev/null", r.device)
	if out != strings.Repeat(letter, 4096) {
		t.Errorf("host %d reads %.40q, want %s", i, out, letter)
	}
}

// TestLongH06HostsFailOver: two hosts take a disk over from each other by preempting its
// persistent reservation; no write of the one that has lost it lands, also after kill -9
// of the gateway.
func TestLongH06HostsFailOver(t *testing.T) {
	g, portals := start(t, gate.Config{Disks: []string{`{name: root, file: "` + t.TempDir() + `/root", size: 16MiB}`}}, 1)
	available(t, g, 1)
	r := newRivals(t, portals[0])
	a, b := r.hosts[0], r.hosts[1]

	r.as(t, 0, r.register)
	demand(t, r.as(t, 1, r.register), keys[0], keys[1])
	demand(t, r.as(t, 0, r.reserve), keys[0], "Write Exclusive, registrants only")
	r.write(t, 0, "a", true)
	r.write(t, 1, "b", true) // a registrant
	b.run(t, "sg_persist --out --register --param-rk=%s --param-sark=0 %s", keys[1], r.device)
	r.write(t, 1, "b", false)
	r.as(t, 1, r.register)

	// The first writes on and on, and stops when it is refused.
	a.run(t, `cat >/run/on <<END
while yes a | tr -d '\\n' | dd bs=4096 count=1 iflag=fullblock of=%s oflag=direct conv=notrunc 2>/run/on.log; do echo >>/run/on.count; done
touch /run/on.end
END
sh /run/on </dev/null >/dev/null 2>&1 &
again test -s /run/on.count`, r.device)
	status := r.as(t, 1, r.seize)
	demand(t, status, "Key="+keys[1], "Reservation holder", "iqn.2026-11.test:host1")
	if strings.Contains(status, keys[0]) {
		t.Errorf("the first is registered still: %s", status)
	}
	r.write(t, 1, "b", true)
	a.run(t, "again test -e /run/on.end\ngrep -q '%s' /run/on.log", conflict)
	r.write(t, 0, "a", false)
	r.holds(t, 1, "b")
	r.holds(t, 0, "b") // reads are free

	// Both sessions outlive kill -9, and so does what was registered with APTPL.
	g.Kill()
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	if !gate.Poll(patience, func() bool { return strings.Count(g.MustCLI(t, "session", "list"), "iscsi ") == 2 }) {
		t.Fatalf("not logged in again: %s", g.MustCLI(t, "session", "list"))
	}
	r.write(t, 0, "a", false)
	r.write(t, 1, "c", true)
	demand(t, a.run(t, "sg_persist --in --read-reservation %s", r.device), keys[1], "Write Exclusive, registrants only")

	// And back.
	r.as(t, 0, r.register)
	demand(t, r.as(t, 0, r.seize), "Key="+keys[0], "iqn.2026-11.test:host0")
	r.write(t, 1, "b", false)
	r.write(t, 0, "d", true)
	r.holds(t, 1, "d")
	a.run(t, "sg_persist --out --clear --param-rk=%s %s", keys[0], r.device)
	r.write(t, 1, "e", true)
	for _, h := range r.hosts {
		h.run(t, "iscsiadm -m node -T %s --logout", vm1)
	}
	nobody(t, g)
}
