// SPDX-License-Identifier: Apache-2.0

//go:build integration

package gotgt

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

func start(t *testing.T, o Options) *Target {
	t.Helper()
	o.Dir = t.TempDir()
	if o.LUNs == nil {
		o.LUNs = []LUN{{File: "disk1", Size: 8 << 20}, {File: "disk2", Size: 4 << 20}}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	target, err := Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := target.Close(); err != nil {
			t.Error(err)
		}
	})
	return target
}

// identity reads what tells the LUN from others.
func (p *path) identity() scsi.Identity {
	p.t.Helper()
	q, err := scsi.DecodeStandardInquiry(p.exec(255, 0x12, 0, 0, 0, 255))
	if err != nil {
		p.t.Fatal(err)
	}
	list, err := scsi.DecodeDesignators(nil, p.exec(255, 0x12, 1, 0x83, 0, 255))
	if err != nil {
		p.t.Fatal(err)
	}
	serial, err := scsi.DecodeSerialNumber(p.exec(255, 0x12, 1, 0x80, 0, 255))
	if err != nil {
		p.t.Fatal(err)
	}
	id, err := scsi.SelectIdentity(list, q, serial)
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

// TestTwoPortals writes over one portal and reads over the other, for portals
// of one process and of two.
func TestTwoPortals(t *testing.T) {
	ports := make(map[uint16]int)
	var fixed []string
	for range 2 {
		p, err := freePort(ports)
		if err != nil {
			t.Fatal(err)
		}
		ports[p] = 0
		fixed = append(fixed, net.JoinHostPort("127.0.0.1", strconv.Itoa(int(p))))
	}
	tests := []struct {
		name    string
		portals []string
		procs   int
	}{
		{"one process", nil, 1},
		{"two processes", fixed, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			target := start(t, Options{Portals: tt.portals})
			portals := target.Portals()
			if len(portals) != 2 || len(target.Processes()) != tt.procs {
				t.Fatalf("portals %v of %d processes", portals, len(target.Processes()))
			}
			a, b := connect(t, DefaultTarget, portals[0], 1), connect(t, DefaultTarget, portals[1], 1)
			other := connect(t, DefaultTarget, portals[0], 2)
			data := bytes.Repeat([]byte("pathgate"), 64<<10/8)
			a.write(1<<20, data)
			if !bytes.Equal(b.read(1<<20, uint64(len(data))), data) {
				t.Error("what was written over one portal is not read over the other")
			}
			b.write(1<<20, data[:512])
			b.write(4<<20, bytes.Repeat([]byte{7}, 256<<10))
			if res, _ := b.do(backends.Flush, 0, 0, nil); !res.OK() {
				t.Errorf("flush: %v", res.Err())
			}
			if !bytes.Equal(a.read(4<<20, 256<<10), bytes.Repeat([]byte{7}, 256<<10)) {
				t.Error("a large write is not read over the other portal")
			}
			if other.read(1<<20, 512)[0] != 0 {
				t.Error("LUN 2 has what was written to LUN 1")
			}
			ia, ib, io := a.identity(), b.identity(), other.identity()
			if ia != ib || ia == io || !ia.Weak {
				t.Errorf("identities %+v and %+v over two portals, %+v of the other LUN", ia, ib, io)
			}
			t.Logf("identity %s", ia.ID)
		})
	}
}

// TestIdentityStays: the same name and number give the same identity after a
// new start, another target's name another one.
func TestIdentityStays(t *testing.T) {
	var ids []scsi.Identity
	for _, name := range []string{"iqn.2026-11.test:a", "iqn.2026-11.test:a", "iqn.2026-11.test:b"} {
		target := start(t, Options{Target: name})
		ids = append(ids, connect(t, name, target.Portals()[0], 1).identity())
	}
	if ids[0] != ids[1] || ids[0].ID == ids[2].ID {
		t.Errorf("identities %v", ids)
	}
}

func TestKilledProcessComesBack(t *testing.T) {
	exits := make(chan error, 10)
	target := start(t, Options{Exited: func(err error) { exits <- err }})
	p := connect(t, DefaultTarget, target.Portals()[1], 1)
	p.write(0, bytes.Repeat([]byte{9}, 4096))
	pid := target.Pid()
	if err := target.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-exits; !strings.Contains(err.Error(), "killed") {
		t.Errorf("exit told as %v", err)
	}
	p.awaitDown()
	p.awaitUp()
	if target.Restarts() != 1 || target.Pid() == pid || target.Pid() == 0 {
		t.Errorf("%d restarts, process %d after %d", target.Restarts(), target.Pid(), pid)
	}
	if p.read(0, 4096)[4095] != 9 {
		t.Error("what was written before is lost")
	}
}

// TestPanicIsToldAndHealed sends what gotgt panics on: a PDU of the full
// feature phase before any login.
func TestPanicIsToldAndHealed(t *testing.T) {
	exits := make(chan error, 10)
	target := start(t, Options{Exited: func(err error) {
		select {
		case exits <- err:
		default:
		}
	}})
	c, err := net.Dial("tcp", target.Portals()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	pdu := make([]byte, 48)
	pdu[0], pdu[1] = 0x43, 0x87 // login, TSIH of no session
	pdu[14] = 7
	text := []byte("InitiatorName=iqn.2026-11.test:x\x00TargetName=" + DefaultTarget + "\x00SessionType=Normal\x00")
	pdu[7] = byte(len(text))
	for len(text)%4 != 0 {
		text = append(text, 0)
	}
	if _, err := c.Write(append(pdu, text...)); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-exits:
		if !strings.Contains(err.Error(), "panic") {
			t.Errorf("exit told as %v", err)
		}
	case <-time.After(patience):
		t.Fatal("gotgt has survived: find another way to make it panic")
	}
	connect(t, DefaultTarget, target.Portals()[0], 1).read(0, 512)
	if target.Restarts() == 0 {
		t.Error("no restart was counted")
	}
}

func TestStopAndCont(t *testing.T) {
	target := start(t, Options{})
	p := connect(t, DefaultTarget, target.Portals()[0], 1)
	if err := target.Stop(); err != nil {
		t.Fatal(err)
	}
	if l := p.awaitDown(); l.Class != backends.LossSilent {
		t.Errorf("a stopped target is a loss of class %v", l.Class)
	}
	if err := target.Cont(); err != nil {
		t.Fatal(err)
	}
	p.awaitUp()
	p.read(0, 512)
}

// TestOnlyLoopback: gotgt listens on all addresses; only those of the loopback
// interface answer.
func TestOnlyLoopback(t *testing.T) {
	if out, err := exec.Command("ip", "netns", "add", "pggotgt").CombinedOutput(); err != nil {
		t.Fatalf("no network of our own: %v: %s", err, out)
	}
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
	t.Cleanup(func() { run("netns", "del", "pggotgt") })
	run("link", "add", "pggot0", "type", "veth", "peer", "name", "pggot1", "netns", "pggotgt")
	run("addr", "add", "198.18.77.1/30", "dev", "pggot0")
	run("link", "set", "pggot0", "up")
	run("-n", "pggotgt", "addr", "add", "198.18.77.2/30", "dev", "pggot1")
	run("-n", "pggotgt", "link", "set", "pggot1", "up")
	target := start(t, Options{})
	_, port, err := net.SplitHostPort(target.Portals()[0])
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "198.18.77.1:0") // control: this one answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, open, _ := net.SplitHostPort(l.Addr().String())
	dial := func(port string) error {
		return exec.Command("ip", "netns", "exec", "pggotgt", "timeout", "2",
			"bash", "-c", "exec 3<>/dev/tcp/198.18.77.1/"+port).Run()
	}
	if err := dial(open); err != nil {
		t.Fatalf("the test network does not work: %v", err)
	}
	if err := dial(port); err == nil {
		t.Error("the target answers on a network")
	}
}

// TestOtherInitiators has tools that are not ours read what we wrote.
func TestOtherInitiators(t *testing.T) {
	target := start(t, Options{})
	data := bytes.Repeat([]byte("0123456789abcdef"), 256)
	connect(t, DefaultTarget, target.Portals()[0], 1).write(0, data)
	for _, portal := range target.Portals() {
		out, err := exec.Command("iscsi-inq", "iscsi://"+portal+"/"+DefaultTarget+"/1").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "Vendor:GOSTOR") {
			t.Errorf("iscsi-inq: %v: %s", err, out)
		}
		copied := filepath.Join(t.TempDir(), "copy")
		out, err = exec.Command("qemu-img", "dd", "bs=4096", "count=1", "-O", "raw",
			"if=iscsi://"+portal+"/"+DefaultTarget+"/1", "of="+copied).CombinedOutput()
		if err != nil {
			t.Errorf("qemu-img: %v: %s", err, out)
			continue
		}
		if got, err := os.ReadFile(copied); err != nil || !bytes.Equal(got, data) {
			t.Errorf("qemu-img read something else: %v", err)
		}
	}
}

func TestOptionsErrors(t *testing.T) {
	lun := []LUN{{File: "a", Size: 512}}
	tests := []struct {
		name string
		o    Options
		want string
	}{
		{"no LUNs", Options{}, "0 LUNs"},
		{"not loopback", Options{LUNs: lun, Portals: []string{"192.0.2.1"}}, "not a loopback address"},
		{"no address", Options{LUNs: lun, Portals: []string{"localhost:3260"}}, "not an IP address"},
		{"size", Options{LUNs: []LUN{{File: "a", Size: 513}}}, "multiples of 512"},
		{"one file twice", Options{LUNs: append(lun, lun...)}, "not used twice"},
		{"no directory", Options{LUNs: []LUN{{File: "no/where", Size: 512}}}, "no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Dir = t.TempDir()
			target, err := Start(context.Background(), tt.o)
			if err == nil {
				t.Fatal("started", target.Close())
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q, want %q", err, tt.want)
			}
		})
	}
}

// TestPortInUse: a start that cannot work ends with an error, not with restarts.
func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	target, err := Start(context.Background(), Options{
		Dir: t.TempDir(), LUNs: []LUN{{File: "a", Size: 512}}, Portals: []string{"127.0.0.1:" + port},
	})
	if err == nil {
		t.Fatal("started", target.Close())
	}
	if !strings.Contains(err.Error(), port) {
		t.Errorf("error %q does not name the port", err)
	}
}

// TestChildEndsWithItsParent closes what the parent would close by dying.
func TestChildEndsWithItsParent(t *testing.T) {
	target := start(t, Options{})
	pid := target.Pid()
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/" + strconv.Itoa(pid)); err == nil {
		t.Error("the process outlived Close")
	}
	if err := target.Kill(); err == nil {
		t.Error("a signal was sent to a process that is no more")
	}
	if err := target.Close(); err != nil {
		t.Error(err)
	}
}
