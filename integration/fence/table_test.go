// SPDX-License-Identifier: Apache-2.0

//go:build integration

package fence

import (
	"encoding/binary"
	"net"
	"os"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/lio"
	"pathgate/integration/tgtd"
)

// peer is a target of the table in HAZARDS section 4 rule 5.
type peer struct {
	addr, name string
	lun        byte
	stop, cont func() error
	slow       string // tgtd: while this file exists, writes of 1 take 3 s
}

func (p *peer) tgtd() bool { return p.slow != "" }

func (p *peer) login(t *testing.T, isid byte) *raw { return login(t, p.addr, p.name, p.lun, isid) }

// TestRule05Tgtd and TestRule05LIO pin what the fencing rests on: another version of
// a target may behave otherwise.
func TestRule05Tgtd(t *testing.T) {
	t.Parallel()
	for i, row := range table() {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			program, flag := slowProgram(t)
			s := tgtd.New(t, tgtd.Options{Program: program, Targets: []tgtd.Target{{Name: iqn, LUNs: []tgtd.LUN{{SizeBytes: 32 * mib}}}}})
			row.run(t, &peer{addr: s.Portals()[0], name: iqn, lun: 1, stop: s.Stop, cont: s.Cont, slow: flag}, uint32(i)*64)
		})
	}
}

// TestRule05LIO is the same for the kernel's target. Its unit is in the guest's memory and
// never slow, so the rows about running tasks are tgtd's: see TestH01SlowWorkerLIO.
func TestRule05LIO(t *testing.T) {
	t.Parallel()
	s := lio.New(t, lio.Options{LUNs: []lio.LUN{{SizeBytes: 32 * mib}}})
	for i, row := range table() {
		if !row.slow {
			t.Run(row.name, func(t *testing.T) {
				row.run(t, &peer{addr: s.Portals()[0], name: s.Name(), stop: s.Stop, cont: s.Cont}, uint32(i)*64)
			})
		}
	}
}

// row is one of the table; slow: it needs a worker that can be slowed down.
type row struct {
	name string
	run  func(t *testing.T, p *peer, lba uint32)
	slow bool
}

func table() []row {
	return []row{
		{"close is no fence", rowClose, false},
		{"a login of another port cuts nothing", rowOtherPort, false},
		{"a login of the same port drops what is unread", rowSamePort, false},
		{"a login of the same port leaves what runs", rowSamePortRunning, true},
		{"ABORT TASK waits for what runs", rowAbort, true},
		{"ABORT TASK while data is owed proves nothing", rowAbortOwed, false},
		{"ABORT TASK of an old tag proves nothing", rowAbortOldTag, false},
		{"LUN RESET does not cover what is unread", rowReset, false},
		{"LUN RESET waits for what runs", rowResetRunning, true},
		{"login and LUN RESET fence", rowFence, false},
		{"login and LUN RESET fence what runs", rowFenceRunning, true},
		{"a second function takes the place of the first", rowSecond, true},
		{"the LUN field is compared whole", rowField, true},
		{"functions that are not there", rowCodes, false},
	}
}

// lands waits until the block at lba is that of the old write, 1.
func lands(t *testing.T, p *peer, lba uint32) {
	t.Helper()
	r := p.login(t, 99).ready()
	defer r.conn.Close()
	if !gate.Poll(15*time.Second, func() bool { return r.first(lba) == 1 }) {
		t.Errorf("the medium has %d, want 1", r.first(lba))
	}
}

// running has a write of 1 at lba run in a worker of the target, for 3 s.
func (p *peer) running(t *testing.T, r *raw, lba uint32) (begun time.Time) {
	t.Helper()
	if err := os.WriteFile(p.slow, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.put(r.write(lba, 1))
	// A command that is answered shows that the write before it was begun.
	if err := r.send(r.command([16]byte{}, 0, 0), nil); err != nil {
		t.Fatal(err)
	}
	r.status(20 * time.Second)
	begun = time.Now()
	t.Cleanup(func() { os.Remove(p.slow) })
	return begun
}

// least is what is left of the 3 s after all that went before, and some more.
const least = 1500 * time.Millisecond

func rowClose(t *testing.T, p *peer, lba uint32) {
	for i, reset := range []bool{false, true} {
		lba := lba + uint32(i)*8
		p.login(t, 1).ready().must(lba, 9)
		r := p.login(t, 2).ready()
		if err := p.stop(); err != nil {
			t.Fatal(err)
		}
		r.put(r.write(lba, 1))
		if reset {
			_ = r.conn.(*net.TCPConn).SetLinger(0)
		}
		r.conn.Close()
		if err := p.cont(); err != nil {
			t.Fatal(err)
		}
		if reset && !p.tgtd() {
			continue // QEMU's user network may have passed the reset on before the data was read
		}
		lands(t, p, lba)
	}
}

// half sends the first half of a write and gives the rest.
func half(r *raw, lba uint32, fill byte) (rest []byte) {
	b := r.write(lba, fill)
	n := 48 + (len(b)-48)/2
	r.put(b[:n])
	return b[n:]
}

func rowOtherPort(t *testing.T, p *peer, lba uint32) {
	r := p.login(t, 1).ready()
	rest := half(r, lba, 1)
	p.login(t, 2).ready()
	r.put(rest)
	if s, sense := r.status(10 * time.Second); s != 0 {
		t.Errorf("status %x, %s", s, sense)
	}
	lands(t, p, lba)
}

func rowSamePort(t *testing.T, p *peer, lba uint32) {
	r := p.login(t, 1).ready()
	r.must(lba, 9)
	rest := half(r, lba, 1)
	n := p.login(t, 1).ready()
	_, _ = r.conn.Write(rest) // into a connection that nobody reads any more
	if !r.closed(15 * time.Second) {
		t.Error("the old connection is still open")
	}
	n.must(lba+8, 3)
	if got := n.first(lba); got != 9 {
		t.Errorf("the medium has %d: what was unread was carried out", got)
	}
}

func rowSamePortRunning(t *testing.T, p *peer, lba uint32) {
	r := p.login(t, 1).ready()
	begun := p.running(t, r, lba)
	n := p.login(t, 1).ready()
	n.must(lba, 2)
	if d := time.Since(begun); d > 2*time.Second {
		t.Logf("login and a write took %v: the machine is too busy to tell them from the worker", d)
	}
	lands(t, p, lba) // over the acknowledged 2
}

func rowAbort(t *testing.T, p *peer, lba uint32) {
	r := p.login(t, 1).ready()
	begun := p.running(t, r, lba)
	r.tmf(abortTask, r.itt-1, r.field())
	code, _, err := r.code(15 * time.Second)
	if err != nil || code != 1 || time.Since(begun) < least {
		t.Errorf("code %d after %v, %v; want 1 when the write is done", code, time.Since(begun), err)
	}
	r.conn.Close()
	lands(t, p, lba)
}

// owed begins a write whose data the target asks for.
func owed(t *testing.T, r *raw, lba uint32) (tag, ttt uint32) {
	t.Helper()
	if err := r.send(r.command(writeCDB(lba, 8), 0x20, blockSize), nil); err != nil {
		t.Fatal(err)
	}
	tag = r.itt
	h, _, err := r.recv(10 * time.Second)
	if err != nil || h[0]&0x3f != opR2T {
		t.Fatalf("no R2T: %v, % x", err, h)
	}
	return tag, binary.BigEndian.Uint32(h[20:])
}

func rowAbortOwed(t *testing.T, p *peer, lba uint32) {
	r := p.login(t, 1).ready()
	r.must(lba, 9)
	tag, ttt := owed(t, r, lba)
	r.tmf(abortTask, tag, r.field())
	code, took, err := r.code(30 * time.Second)
	if !p.tgtd() {
		if err == nil || took < time.Second {
			t.Errorf("code %d, %v after %v; want the connection closed by the timer for data", code, err, took)
		}
		return
	}
	if err != nil || code != 1 {
		t.Fatalf("code %d, %v; want 1", code, err)
	}
	var h [48]byte
	h[0], h[1], h[9] = opDataOut, 0x80, r.lun
	binary.BigEndian.PutUint32(h[16:], tag)
	binary.BigEndian.PutUint32(h[20:], ttt)
	binary.BigEndian.PutUint32(h[28:], r.stat)
	if err := r.send(h, block(1)); err != nil {
		t.Fatal(err)
	}
	if s, sense := r.status(10 * time.Second); s != 0 {
		t.Errorf("status %x %s; the task that was aborted is carried out with GOOD", s, sense)
	}
	lands(t, p, lba)
}

func rowAbortOldTag(t *testing.T, p *peer, lba uint32) {
	r := p.login(t, 1).ready()
	want := byte(0) // LIO, for a tag that it does not know
	if p.tgtd() {
		want = 1
		p.running(t, r, lba)
	}
	n := p.login(t, 1).ready()
	n.tmf(abortTask, r.itt-1, n.field())
	code, _, err := n.code(15 * time.Second)
	if err != nil || code != want {
		t.Errorf("code %d, %v; want %d", code, err, want)
	}
	if p.tgtd() {
		n.must(lba, 2)
		lands(t, p, lba)
	}
}

func rowReset(t *testing.T, p *peer, lba uint32) {
	r, n := p.login(t, 1).ready(), p.login(t, 2).ready()
	n.tmf(lunReset, noTag, n.field())
	if code, _, err := n.code(15 * time.Second); err != nil || code != 0 {
		t.Fatalf("code %d, %v", code, err)
	}
	// What comes on the old connection now is what it had not read.
	r.put(r.write(lba, 1))
	want := "6/29/03"
	if p.tgtd() {
		want = "6/29/00"
	}
	if s, sense := r.status(10 * time.Second); s != 2 || sense != want {
		t.Errorf("the first late write: status %x, %s; want %s", s, sense, want)
	}
	r.put(r.write(lba, 1))
	if s, sense := r.status(10 * time.Second); s != 0 {
		t.Errorf("a late write: status %x, %s", s, sense)
	}
	lands(t, p, lba)
}

func rowResetRunning(t *testing.T, p *peer, lba uint32) {
	r, n := p.login(t, 1).ready(), p.login(t, 2).ready()
	begun := p.running(t, r, lba)
	n.tmf(lunReset, noTag, n.field())
	if code, _, err := n.code(15 * time.Second); err != nil || code != 0 || time.Since(begun) < least {
		t.Errorf("code %d after %v, %v; want 0 when the write is done", code, time.Since(begun), err)
	}
	lands(t, p, lba)
}

func rowFence(t *testing.T, p *peer, lba uint32) {
	for round := range uint32(5) {
		at := lba + round*8
		r := p.login(t, 1).ready()
		r.must(at, 9)
		if err := p.stop(); err != nil {
			t.Fatal(err)
		}
		r.put(r.write(at, 1)) // unread
		if err := p.cont(); err != nil {
			t.Fatal(err)
		}
		n := p.login(t, 1)
		n.tmf(lunReset, noTag, n.field())
		if code, _, err := n.code(15 * time.Second); err != nil || code != 0 {
			t.Fatalf("code %d, %v", code, err)
		}
		n.ready().must(at, 2)
		if got := n.first(at); got != 2 {
			t.Errorf("round %d: the medium has %d", round, got)
		}
	}
	n := p.login(t, 1).ready()
	for round := range uint32(5) {
		if got := n.first(lba + round*8); got != 2 {
			t.Errorf("later, round %d: the medium has %d", round, got)
		}
	}
}

func rowFenceRunning(t *testing.T, p *peer, lba uint32) {
	r := p.login(t, 1).ready()
	begun := p.running(t, r, lba)
	n := p.login(t, 1)
	n.tmf(lunReset, noTag, n.field())
	if code, _, err := n.code(15 * time.Second); err != nil || code != 0 || time.Since(begun) < least {
		t.Errorf("code %d after %v, %v; want 0 when the write is done", code, time.Since(begun), err)
	}
	n.ready().must(lba, 2)
	if gate.Poll(2*time.Second, func() bool { return n.first(lba) != 2 }) {
		t.Error("the write landed after the fence")
	}
}

func rowSecond(t *testing.T, p *peer, lba uint32) {
	r := p.login(t, 1).ready()
	p.running(t, r, lba)
	r.tmf(abortTask, r.itt-1, r.field())
	r.tmf(lunReset, noTag, r.field())
	second := r.itt
	h, _, err := r.recv(15 * time.Second)
	for err == nil && h[0]&0x3f != opTMFResponse {
		h, _, err = r.recv(15 * time.Second)
	}
	if err != nil || binary.BigEndian.Uint32(h[16:]) != second {
		t.Fatalf("answered: %v, % x; want the second function", err, h)
	}
	// What is answered behind it shows that the first one never is.
	if _, _, err := r.code(2 * time.Second); err == nil {
		t.Error("the first function is answered too")
	}
}

func rowField(t *testing.T, p *peer, lba uint32) {
	for try := range attempts {
		r, n := p.login(t, 1).ready(), p.login(t, 2).ready()
		begun := p.running(t, r, lba)
		other := n.field()
		other[0] |= 0x40 // the same LUN in flat addressing
		n.tmf(lunReset, noTag, other)
		code, _, err := n.code(15 * time.Second)
		took := time.Since(begun)
		if err != nil || code != 0 {
			t.Errorf("code %d after %v, %v; want 0", code, took, err)
		}
		lands(t, p, lba)
		if took <= least {
			return
		}
		t.Logf("attempt %d: answered after %v", try+1, took)
	}
	t.Error("never answered at once: it should have found no command")
}

func rowCodes(t *testing.T, p *peer, _ uint32) {
	want := map[byte]byte{abortTaskSet: 5, clearTaskSet: 5, warmReset: 0xff, reassign: 0xff}
	if p.tgtd() {
		want = map[byte]byte{clearTaskSet: 5, warmReset: 5, reassign: 5}
	}
	for f, w := range want {
		r := p.login(t, 1).ready()
		r.tmf(f, noTag, r.field())
		if code, _, err := r.code(15 * time.Second); err != nil || code != w {
			t.Errorf("function %d: code %d, %v; want %d", f, code, err, w)
		}
	}
}
