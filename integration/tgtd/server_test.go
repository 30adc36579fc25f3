// SPDX-License-Identifier: Apache-2.0

//go:build integration

package tgtd

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const name = "iqn.2026-11.test:disk"

func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := tryRun(t, program, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return out
}

func tryRun(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	return string(out), err
}

func TestTwoPortals(t *testing.T) {
	s := New(t, Options{
		Portals: []string{"127.0.0.1:0", "127.0.0.2:0"},
		Targets: []Target{{Name: name, LUNs: []LUN{
			{SizeBytes: 16 << 20, SCSIID: "PATHGATEID0001", SCSISN: "SN0001", Vendor: "ACME", Product: "DISK", Revision: "7"},
			{SizeBytes: 8 << 20, BlockSize: 4096, Thin: true},
		}}},
	})
	if got := len(s.Portals()); got != 2 {
		t.Fatalf("got %d portals, want 2", got)
	}
	for _, p := range s.Portals() {
		out := run(t, "iscsi-ls", "--show-luns", "iscsi://"+p)
		for _, want := range []string{name, "Lun:1", "Lun:2", "(Size:15M)"} {
			if !strings.Contains(strings.ReplaceAll(out, "Lun: ", "Lun:"), want) {
				t.Errorf("portal %s: %q lacks %q", p, out, want)
			}
		}
	}
	out := run(t, "iscsi-inq", s.URL(0, 1))
	for _, want := range []string{"Vendor:ACME", "Product:DISK", "Revision:7"} {
		if !strings.Contains(out, want) {
			t.Errorf("inquiry %q lacks %q", out, want)
		}
	}
	if out := run(t, "iscsi-inq", "-e", "1", "-c", "128", s.URL(0, 1)); !strings.Contains(out, "SN0001") {
		t.Errorf("serial number page %q lacks SN0001", out)
	}
	if out := run(t, "iscsi-readcapacity16", s.URL(0, 2)); !strings.Contains(out, "LENGTH IN BYTES:4096") || !strings.Contains(out, "LBPME:1") {
		t.Errorf("capacity of the thin 4096-byte LUN: %q", out)
	}
}

func TestCHAP(t *testing.T) {
	s := New(t, Options{Targets: []Target{{
		Name: name, LUNs: []LUN{{SizeBytes: 1 << 20}},
		User: "alice", Secret: "alicesecret12", MutualUser: "bob", MutualSecret: "bobsecret1234",
	}}})
	run(t, "iscsi-inq", s.URL(0, 1))
	mutual := s.URL(0, 1) + "?target_user=bob&target_password=bobsecret1234"
	run(t, "iscsi-inq", mutual)
	if out, err := tryRun(t, "iscsi-inq", strings.Replace(s.URL(0, 1), "alicesecret12", "wrongsecret12", 1)); err == nil {
		t.Errorf("a wrong secret was accepted: %s", out)
	}
	if out, err := tryRun(t, "iscsi-inq", strings.Replace(mutual, "bobsecret1234", "wrongsecret12", 1)); err == nil {
		t.Errorf("a target with a wrong secret was accepted: %s", out)
	}
}

// TestWriteThrough reads the caching mode page (SBC, page 08h): byte 2 bit 2 of
// the page is WCE.
func TestWriteThrough(t *testing.T) {
	s := New(t, Options{Targets: []Target{{Name: name, LUNs: []LUN{
		{SizeBytes: 1 << 20}, {SizeBytes: 1 << 20, WriteThrough: true},
	}}}})
	for lun, want := range map[int]byte{1: 4, 2: 0} {
		if got := cachingPage(t, s.Portals()[0], lun)[2] & 4; got != want {
			t.Errorf("LUN %d: got WCE bit %d, want %d", lun, got, want)
		}
	}
}

// cachingPage logs in without authentication (RFC 7143 11.12) and returns the
// page that MODE SENSE(6) of page 8 answers, behind header and block descriptor.
func cachingPage(t *testing.T, portal string, lun int) []byte {
	t.Helper()
	c, err := net.Dial("tcp", portal)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	keys := "InitiatorName=iqn.2026-11.test:init\x00SessionType=Normal\x00TargetName=" + name + "\x00"
	login := make([]byte, 48, 48+len(keys)+3)
	login[0], login[1], login[7] = 0x43, 0x87, byte(len(keys)) // T, CSG operational, NSG full feature
	login[8], login[13] = 0x80, 1                              // tgtd refuses an all-zero ISID
	login = append(login, keys...)
	for len(login)%4 != 0 {
		login = append(login, 0)
	}
	mode := make([]byte, 48)
	mode[0], mode[1], mode[9], mode[19], mode[23] = 0x01, 0xc1, byte(lun), 1, 255 // F, R, simple
	mode[32], mode[34], mode[36] = 0x1a, 8, 255
	var page []byte
	// The first command of a session ends in a unit attention: ask twice.
	for n, pdu := range [][]byte{login, mode, mode} {
		pdu[27] = byte(max(n-1, 0)) // CmdSN: the immediate login does not count
		if _, err := c.Write(pdu); err != nil {
			t.Fatal(err)
		}
		for done := false; !done; {
			var bhs [48]byte
			if _, err := io.ReadFull(c, bhs[:]); err != nil {
				t.Fatal(err)
			}
			data := make([]byte, (int(bhs[6])<<8|int(bhs[7])+3)&^3)
			if _, err := io.ReadFull(c, data); err != nil {
				t.Fatal(err)
			}
			switch bhs[0] & 0x3f {
			case 0x21: // SCSI Response
				done = true
			case 0x23:
				if bhs[36] != 0 {
					t.Fatalf("login status %#x %#x", bhs[36], bhs[37])
				}
				done = true
			case 0x25: // Data-In, with status if S is set
				page, done = data[4+int(data[3]):], bhs[1]&1 != 0
			default:
				t.Fatalf("got opcode %#x", bhs[0])
			}
		}
	}
	return page
}

func TestStopContKillRestart(t *testing.T) {
	s := New(t, Options{Targets: []Target{{Name: name, LUNs: []LUN{{SizeBytes: 4 << 20}}}}})
	url := s.URL(0, 1)
	run(t, "qemu-io", "-f", "raw", "-c", "write -P 0x5a 0 64k", url)

	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := s.Admin(ctx, "--mode", "target", "--op", "show"); err == nil {
		t.Error("a stopped tgtd answered")
	}
	if err := s.Cont(); err != nil {
		t.Fatal(err)
	}
	run(t, "qemu-io", "-r", "-f", "raw", "-c", "read -P 0x5a 0 64k", url)

	pid, portal := s.Pid(), s.Portals()[0]
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if s.Pid() != 0 {
		t.Error("a killed server has a pid")
	}
	if c, err := net.Dial("tcp", portal); err == nil {
		c.Close()
		t.Error("the portal of a killed server accepts connections")
	}
	if err := s.Stop(); !errors.Is(err, errNotRunning) {
		t.Errorf("Stop of a killed server: got %v, want %v", err, errNotRunning)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.Pid() == pid || s.Portals()[0] != portal {
		t.Errorf("after restart: pid %d portal %s, want a new pid and %s", s.Pid(), s.Portals()[0], portal)
	}
	run(t, "qemu-io", "-r", "-f", "raw", "-c", "read -P 0x5a 0 64k", url)
}

// TestRestartWithOpenSession: connections that the killed process had must not
// keep its port from being bound again.
func TestRestartWithOpenSession(t *testing.T) {
	s := New(t, Options{Targets: []Target{{Name: name, LUNs: []LUN{{SizeBytes: 1 << 20}}}}})
	for range 3 {
		c, err := net.Dial("tcp", s.Portals()[0])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTwoProcessesOneFile is the two-controller array: what is written through
// one process is read through the other, which has the same identity.
func TestTwoProcessesOneFile(t *testing.T) {
	file := t.TempDir() + "/disk"
	target := Target{Name: name, LUNs: []LUN{{File: file, SizeBytes: 4 << 20, SCSIID: "PATHGATESHARED1", SCSISN: "SHARED1"}}}
	a := New(t, Options{Targets: []Target{target}})
	b := New(t, Options{Targets: []Target{target}})
	run(t, "qemu-io", "-f", "raw", "-c", "write -P 0x33 1M 64k", a.URL(0, 1))
	run(t, "qemu-io", "-r", "-f", "raw", "-c", "read -P 0x33 1M 64k", b.URL(0, 1))
	page := func(s *Server) string { return run(t, "iscsi-inq", "-e", "1", "-c", "131", s.URL(0, 1)) }
	if pa, pb := page(a), page(b); pa != pb || !strings.Contains(pa, "PATHGATESHARED1") {
		t.Errorf("identities differ or lack the id:\n%s\n%s", pa, pb)
	}
	if err := a.Kill(); err != nil {
		t.Fatal(err)
	}
	run(t, "qemu-io", "-r", "-f", "raw", "-c", "read -P 0x33 1M 64k", b.URL(0, 1))
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("Close removed a file that it did not make: %v", err)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	s, err := Start(t.Context(), Options{Targets: []Target{{Name: name, LUNs: []LUN{{SizeBytes: 1 << 20}}}}})
	if err != nil {
		t.Fatal(err)
	}
	pid := s.Pid()
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", s.dir, err)
	}
	if p, err := os.FindProcess(pid); err == nil && p.Signal(nil) == nil {
		t.Errorf("process %d still runs", pid)
	}
}

func TestStartErrors(t *testing.T) {
	if s, err := Start(t.Context(), Options{Portals: []string{"192.0.2.1:1"}}); err == nil {
		s.Close()
		t.Error("a foreign address was bound")
	}
	other := New(t, Options{})
	if s, err := Start(t.Context(), Options{Portals: other.Portals()}); err == nil {
		s.Close()
		t.Error("a portal of another process was taken for ours")
	}
	if s, err := Start(t.Context(), Options{Program: "/nonexistent/tgtd"}); err == nil {
		s.Close()
		t.Error("a missing program was started")
	}
	if s, err := Start(t.Context(), Options{Targets: []Target{{Name: name, LUNs: []LUN{{SizeBytes: 1, BackingType: "nosuch"}}}}}); err == nil {
		s.Close()
		t.Error("an unknown backing type was taken")
	}
}
