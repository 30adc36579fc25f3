// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLimits(t *testing.T) {
	const mib = 1 << 20
	for name, tt := range map[string]struct {
		text   string
		memory int64
		want   LimitsConfig
	}{
		"little memory": {"state: /s", 256 * mib, LimitsConfig{256 * mib, 32 * mib, 128, 128, 512, 256, 65534}},
		"none":          {"state: /s", 0, LimitsConfig{64 * mib, 8 * mib, 32, 32, 512, 256, 65534}},
		"much memory":   {"state: /s", 64 << 30, LimitsConfig{64 << 30, 8 << 30, 1024, 1024, 512, 256, 65534}},
		"all is said": {
			"limits: {memory: 1GiB, vm-memory: 64MiB, connections: 400, connections-per-address: 40, logins: 90, logins-per-address: 9, sessions-per-vm: 4}",
			64 << 30,
			LimitsConfig{1 << 30, 64 * mib, 400, 40, 90, 9, 4},
		},
		"few logins": {"limits: {logins: 20}", 4 << 30, LimitsConfig{4 << 30, 512 * mib, 1024, 1024, 20, 20, 65534}},
	} {
		t.Run(name, func(t *testing.T) {
			h := testHost(nil)
			h.memory = tt.memory
			c, err := parseConfig("t.yaml", []byte(tt.text+"\n"), h, false)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, c.Limits); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLimitsFaults(t *testing.T) {
	for text, want := range map[string][]string{
		"limits: {memory: 63MiB}":                                  {"1 limits.memory"},
		"limits: {memory: 2TiB}":                                   {"1 limits.memory"},
		"limits: {memory: 1GiB, vm-memory: 257MiB}":                {"1 limits.vm-memory"},
		"limits:\n  vm-memory: 1MiB":                               {"2 limits.vm-memory"},
		"limits: {connections: 0, logins: 65535}":                  {"1 limits.connections", "1 limits.logins"},
		"limits: {connections: 10, connections-per-address: 11}":   {"1 limits.connections-per-address"},
		"limits: {logins: 5, logins-per-address: 6}":               {"1 limits.logins-per-address"},
		"limits: {sessions-per-vm: -1, memory: lots, sessions: 1}": {"1 limits.sessions-per-vm", "1 limits.memory", "1 limits.sessions"},
	} {
		h := testHost(nil)
		h.memory = 4 << 30
		_, err := parseConfig("t.yaml", []byte(text+"\n"), h, false)
		if diff := cmp.Diff(want, faultKeys(t, err)); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

func TestMemoryOfHost(t *testing.T) {
	if got := memTotal("MemFree: 1 kB\nMemTotal:       24684084 kB\n"); got != 24684084<<10 {
		t.Errorf("got %d", got)
	}
	if got := memTotal("nothing"); got != math.MaxInt64 {
		t.Errorf("got %d of nothing", got)
	}
	if got := memoryOfHost(); got < 1<<20 || got == math.MaxInt64 {
		t.Errorf("this host has %d", got)
	}
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1 << 40))
	if got := memoryOfHost(); got != 1<<40 {
		t.Errorf("got %d, want GOMEMLIMIT", got)
	}
}

// A VM with as many clients as it may have lets in no more, over NBD and iSCSI together,
// and others are not concerned.
func TestSessionsPerVM(t *testing.T) {
	dir := t.TempDir()
	writeDisk(t, dir+"/a")
	writeDisk(t, dir+"/b")
	b := newTargetBed(t, dir, `
state: DIR/state
limits: {sessions-per-vm: 2}
iscsi: {listen: [127.0.0.1]}
vms:
  - {name: vm1, disks: [{name: a, file: DIR/a}]}
  - {name: vm2, disks: [{name: a, file: DIR/b}]}
`)
	b.attachMissing()
	var clients []*iscsiClient
	for i := range 3 {
		c := b.initiator(t, "a", nil)
		c.isid = byte(i)
		l := c.login(b, "vm1")
		if (l == nil) != (i < 2) {
			t.Fatalf("login %d: %+v", i, l)
		}
		if l != nil && !strings.Contains(l.Err.Error(), "0302") && !strings.Contains(l.Err.Error(), "resources") {
			t.Errorf("refused with %v", l.Err)
		}
		clients = append(clients, c)
	}
	other := b.initiator(t, "b", nil)
	if l := other.login(b, "vm2"); l != nil {
		t.Errorf("another VM: %+v", l)
	}
	clients[0].logout()
	late := b.initiator(t, "a", nil)
	late.isid = 9
	for l := late.login(b, "vm1"); l != nil; l = late.login(b, "vm1") { // the logout is answered before the session is closed
		late.logout()
	}
}

// The page on limits tells of every key, with its default as it is on a machine with
// much memory.
func TestLimitsDocument(t *testing.T) {
	page := string(must[[]byte](t)(os.ReadFile("../docs/limits.md")))
	_, text, _ := strings.Cut(page, "```yaml\n")
	text, _, _ = strings.Cut(text, "```")
	said := mustParse(t, text)
	h := testHost(nil)
	h.memory = 2 << 30
	defaults := must[*Config](t)(parseConfig("t.yaml", []byte("state: /s\n"), h, false))
	if diff := cmp.Diff(defaults.Limits, said.Limits); diff != "" {
		t.Error(diff)
	}
	_, err := Parse("t.yaml", []byte("limits: {no: 1}\n"))
	_, keys, ok := strings.Cut(fmt.Sprint(err), "(one of ")
	keys, _, ok2 := strings.Cut(keys, ")")
	if !ok || !ok2 {
		t.Fatal(err)
	}
	for key := range strings.SplitSeq(keys, ", ") {
		if !strings.Contains(text, "\n  "+key+": ") {
			t.Errorf("limits.%s is not told", key)
		}
	}
}
