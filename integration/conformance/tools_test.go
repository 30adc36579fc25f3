// SPDX-License-Identifier: Apache-2.0

//go:build integration

package conformance

import (
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pathgate/gateway/iscsi"
)

// runTool runs a command and gives what it prints. ok tells whether it has to succeed.
func runTool(t *testing.T, ok bool, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if (err == nil) != ok {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func demand(t *testing.T, out string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(out, w) {
			t.Errorf("%q is missing in:\n%s", w, out)
		}
	}
}

func TestDiscovery(t *testing.T) {
	portal := serve(t, iscsi.Config{})
	out := runTool(t, true, "iscsi-ls", "-s", "iscsi://"+portal)
	demand(t, out, "Target:"+prefix+"one Portal:"+portal+",1", "Target:"+prefix+"two Portal:"+portal+",1", "Lun:0    Type:DIRECT_ACCESS (Size:63M)")
}

func TestInquiry(t *testing.T) {
	url := "iscsi://" + serve(t, iscsi.Config{}) + "/" + prefix + "one/0"
	demand(t, runTool(t, true, "iscsi-inq", url), "Peripheral Device Type:DIRECT_ACCESS", "Removable:0")
	demand(t, runTool(t, true, "iscsi-inq", "-e", "1", "-c", "131", url), "Designator")
	demand(t, runTool(t, true, "iscsi-readcapacity16", url), "Total size:67108864")
	demand(t, runTool(t, true, "iscsi-inq", url+"?header_digest=crc32c"), "Peripheral Device Type:DIRECT_ACCESS")
	demand(t, runTool(t, false, "iscsi-inq", strings.Replace(url, prefix, "iqn.2000-01.nobody:", 1)), "not found")
}

func TestCHAP(t *testing.T) {
	portal := serve(t, iscsi.Config{})
	url := func(user, secret, more string) string {
		return "iscsi://" + user + "%" + secret + "@" + portal + "/" + prefix + "one-chap/0" + more
	}
	demand(t, runTool(t, true, "iscsi-inq", url(user, secret, "")), "DIRECT_ACCESS")
	demand(t, runTool(t, true, "iscsi-inq", url(user, secret, "?target_user="+ourUser+"&target_password="+ourSecret)), "DIRECT_ACCESS")
	runTool(t, false, "iscsi-inq", url(user, secret+"x", ""))
	runTool(t, false, "iscsi-inq", url("bob", secret, ""))
	runTool(t, false, "iscsi-inq", "iscsi://"+portal+"/"+prefix+"one-chap/0")
	runTool(t, false, "iscsi-inq", url(user, secret, "?target_user="+ourUser+"&target_password=another-secret-of-it"))
}

// QEMU's driver copies an image there and finds it again.
func TestQEMU(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  iscsi.Config
	}{
		{"defaults", iscsi.Config{}},
		{"small bursts, all solicited", iscsi.Config{MaxBurstLength: 4096, FirstBurstLength: 512, InitialR2T: true, NoImmediateData: true, MaxRecvDataSegmentLength: 1024}},
		{"short queue", iscsi.Config{QueueDepth: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := "iscsi://" + serve(t, tt.cfg) + "/" + prefix + "one/0"
			file := filepath.Join(t.TempDir(), "image")
			data := make([]byte, diskBytes)
			_, _ = rand.Read(data[:8<<20])
			_, _ = rand.Read(data[20<<20 : 21<<20])
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
			demand(t, runTool(t, true, "qemu-img", "info", url), "virtual size: 64 MiB")
			runTool(t, true, "qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", file, url)
			demand(t, runTool(t, true, "qemu-img", "compare", "-f", "raw", "-F", "raw", file, url), "identical")
			out := runTool(t, true, "qemu-io", "-f", "raw",
				"-c", "write -P 7 0 1M", "-c", "read -P 7 0 1M", "-c", "write -f -P 8 512 512", "-c", "flush",
				"-c", "write -z 0 64k", "-c", "read -P 0 0 64k", "-c", "discard 1M 1M", "-c", "aio_write -P 9 3M 1M", "-c", "aio_flush", "-c", "read -P 9 3M 1M", url)
			if strings.Contains(out, "failed") || strings.Contains(out, "error") {
				t.Error(out)
			}
		})
	}
}
