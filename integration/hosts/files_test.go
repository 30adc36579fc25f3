// SPDX-License-Identifier: Apache-2.0

//go:build integration

package hosts

import (
	_ "embed"
	"strings"
	"testing"

	"pathgate/integration/proxy"
)

//go:embed files.sh
var files string

// load waits until a proxy has carried some of what is written, at n megabytes.
func (h *host) load(t *testing.T, x *proxy.Proxy) {
	t.Helper()
	from := x.Counters().ToTarget.Bytes
	if err := x.Wait(func(c proxy.Counters) bool { return c.ToTarget.Bytes > from+mib/4 }, patience); err != nil {
		t.Fatalf("no load: %v: %s", err, h.run(t, "cat /run/files/log; dmesg | tail -n 30"))
	}
}

// startFiles makes a file system and writes files on it until checkFiles.
func (h *host) startFiles(t *testing.T, device string) {
	t.Helper()
	h.run(t, "sh /files.sh start %s", device)
}

// checkFiles ends the writing, and finds every file as it was written.
func (h *host) checkFiles(t *testing.T, device string) {
	t.Helper()
	out := h.run(t, "sh /files.sh check %s", device)
	if n := strings.Count(out, "right\n"); n < 4 || strings.Contains(out, "wrong") {
		t.Errorf("%d files are right:\n%s", n, out)
	}
	_, n, _ := strings.Cut(strings.TrimSpace(out), "written ")
	t.Logf("measured: %s files of 768 KiB written", n)
}
