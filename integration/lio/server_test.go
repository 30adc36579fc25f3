// SPDX-License-Identifier: Apache-2.0

//go:build integration

package lio

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func tryRun(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	return string(out), err
}

func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := tryRun(t, program, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return out
}

func TestDisks(t *testing.T) {
	started := time.Now()
	s := New(t, Options{LUNs: []LUN{
		{SizeBytes: 32 << 20, Serial: "0123456789abcdef", Vendor: "ACME", Product: "ROCKET"},
		{SizeBytes: 8 << 20, BlockSize: 4096, Thin: true},
	}})
	t.Logf("portals listen after %v", time.Since(started))

	run(t, "qemu-io", "-f", "raw", "-c", "write -P 0x5a 1M 256k", "-c", "flush", s.URL(0))
	run(t, "qemu-io", "-r", "-f", "raw", "-c", "read -P 0x5a 1M 256k", s.URL(0))
	if out := run(t, "qemu-img", "info", "-f", "raw", s.URL(0)); !strings.Contains(out, "(33554432 bytes)") {
		t.Errorf("qemu-img info: %s", out)
	}
	out := run(t, "iscsi-inq", s.URL(0))
	for _, want := range []string{"Vendor:ACME", "Product:ROCKET"} {
		if !strings.Contains(out, want) {
			t.Errorf("inquiry %q lacks %q", out, want)
		}
	}
	if out := run(t, "iscsi-inq", "-e", "1", "-c", "128", s.URL(0)); !strings.Contains(out, "0123456789abcdef") {
		t.Errorf("serial number page: %s", out)
	}
	if out := run(t, "iscsi-inq", "-e", "1", "-c", "131", s.URL(0)); !strings.Contains(out, "\x60\x01\x40\x50\x12\x34\x56\x78") {
		t.Errorf("device identification page without the NAA of the serial number: %q", out)
	}
	out = run(t, "iscsi-readcapacity16", s.URL(1))
	for _, want := range []string{"LENGTH IN BYTES:4096", "LBPME:1"} {
		if !strings.Contains(out, want) {
			t.Errorf("capacity %q lacks %q", out, want)
		}
	}
}

// TestCHAPAndDigest: with an access list, CHAP and a header digest that the
// target demands. (libiscsi cannot check a target's CHAP answer in lower-case
// digits, which LIO sends: mutual CHAP is for our own initiator's tests.)
func TestCHAPAndDigest(t *testing.T) {
	const initiator = "iqn.2026-11.test:client"
	s := New(t, Options{
		LUNs: []LUN{{SizeBytes: 1 << 20}},
		User: "alice", Secret: "alicesecret12",
		Initiators: []string{initiator},
		Parameters: map[string]string{"HeaderDigest": "CRC32C"},
	})
	info := func(initiator, secret, digest string) (string, error) {
		return tryRun(t, "qemu-img", "info", "--image-opts", "driver=iscsi,transport=tcp,portal="+s.Portals()[0]+
			",target="+s.Name()+",lun=0,user=alice,initiator-name="+initiator+",password="+secret+",header-digest="+digest)
	}
	if out, err := info(initiator, "alicesecret12", "crc32c"); err != nil {
		t.Errorf("all as it should be: %v: %s", err, out)
	}
	for _, tt := range []struct{ name, initiator, secret, digest string }{
		{"wrong secret", initiator, "wrongsecret12", "crc32c"},
		{"no digest", initiator, "alicesecret12", "none"},
		{"foreign initiator", "iqn.2026-11.test:stranger", "alicesecret12", "crc32c"},
	} {
		if out, err := info(tt.initiator, tt.secret, tt.digest); err == nil {
			t.Errorf("%s was accepted: %s", tt.name, out)
		}
	}
}

// TestALUAGroups: two portal groups, one LUN; the second group is made standby,
// in which LIO refuses reads, and optimized again.
func TestALUAGroups(t *testing.T) {
	s := New(t, Options{LUNs: []LUN{{SizeBytes: 4 << 20}}, Groups: []PortalGroup{{}, {Addresses: []string{"127.0.0.2:0"}}}})
	if p := s.Portals(); len(p) != 2 || !strings.HasPrefix(p[1], "127.0.0.2:") {
		t.Fatalf("got portals %v, want the second on 127.0.0.2", p)
	}
	second := s.opts.url(s.Portals()[1], 0)
	run(t, "qemu-io", "-f", "raw", "-c", "write -P 0x11 0 64k", s.URL(0))
	run(t, "qemu-io", "-r", "-f", "raw", "-c", "read -P 0x11 0 64k", second)
	page := func(url string) string { return run(t, "iscsi-inq", "-e", "1", "-c", "128", url) }
	if a, b := page(s.URL(0)), page(second); a != b {
		t.Errorf("the groups show different units: %s %s", a, b)
	}

	if err := s.SetALUA(t.Context(), 0, 1, Standby); err != nil {
		t.Fatal(err)
	}
	if out, err := s.Exec(t.Context(), "cat "+files+"/disk0/alua/group1/alua_access_state"); err != nil || strings.TrimSpace(out) != "2" {
		t.Errorf("got state %q, %v, want 2", out, err)
	}
	if out, err := tryRun(t, "iscsi-readcapacity16", second); err == nil {
		t.Errorf("a standby group answered READ CAPACITY: %s", out)
	}
	if err := s.SetALUA(t.Context(), 0, 1, ActiveOptimized); err != nil {
		t.Fatal(err)
	}
	run(t, "qemu-io", "-r", "-f", "raw", "-c", "read -P 0x11 0 64k", second)
	if _, err := s.Exec(t.Context(), "exit 4"); err == nil || !strings.Contains(err.Error(), "status 4") {
		t.Errorf("got %v, want status 4", err)
	}
}

func TestStopCont(t *testing.T) {
	s := New(t, Options{LUNs: []LUN{{SizeBytes: 1 << 20}}})
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "iscsi-inq", s.URL(0)).CombinedOutput(); err == nil {
		t.Errorf("a stopped target answered: %s", out)
	}
	if err := s.Cont(); err != nil {
		t.Fatal(err)
	}
	run(t, "iscsi-inq", s.URL(0))
}

func TestBadConfiguration(t *testing.T) {
	_, err := Start(t.Context(), Options{Attributes: map[string]string{"no_such_attribute": "1"}})
	if err == nil || !strings.Contains(err.Error(), "no_such_attribute") {
		t.Errorf("got %v, want an error that names the attribute", err)
	}
}
