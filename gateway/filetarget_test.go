// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pathgate/backends"
	"pathgate/backends/iscsi"
	wire "pathgate/internal/iscsi"
	"pathgate/internal/scsi"
)

// fileBed is a FileTarget that runs.
type fileBed struct {
	*FileTarget
	portals []string
	stop    func() // twice is safe
}

func newFileBed(t *testing.T, o FileTargetOptions) *fileBed {
	t.Helper()
	if o.Listen == nil {
		o.Listen = []string{"127.0.0.1:0"}
	}
	b := &fileBed{FileTarget: must[*FileTarget](t)(OpenFileTarget(o))}
	for _, p := range b.Portals() {
		b.portals = append(b.portals, p.Address)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	stopped := false
	b.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(b.stop)
	return b
}

// client is an initiator of our own at a portal; chap may be nil.
func (b *fileBed) client(t *testing.T, name, portal string, chap *iscsi.CHAP) (*iscsiClient, *backends.Loss) {
	t.Helper()
	c := newISCSIClient(t, name, chap)
	loss := c.loginTo(b.Name(), portal)
	if loss == nil {
		for _, l := range b.LUNs() {
			c.settle(uint16(l.LUN))
		}
	}
	return c, loss
}

// TestFileTarget serves two files over three portals in two groups: what is written over
// one is read over another, and in the file.
func TestFileTarget(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	b := newFileBed(t, FileTargetOptions{
		Files: []string{first, second}, Size: 1 << 20,
		Listen: []string{"127.0.0.1:0,127.0.0.2:0", "127.0.0.3:0"},
	})
	var groups []uint16
	for _, p := range b.Portals() {
		groups = append(groups, p.Group)
	}
	luns := b.LUNs()
	if want := []uint16{1, 1, 2}; !slices.Equal(groups, want) || len(luns) != 2 || luns[1] != (FileLUN{LUN: 1, File: second, Size: 1 << 20, BlockSize: 512}) {
		t.Fatalf("groups %v, want %v; LUNs %+v", groups, want, luns)
	}
	var ids []string
	var clients []*iscsiClient
	for i, portal := range b.portals {
		c, loss := b.client(t, "host"+string(rune('a'+i)), portal, nil)
		if loss != nil {
			t.Fatal(loss.Err)
		}
		c.block(1, uint64(i), slices.Repeat([]byte{byte(i + 1)}, 512))
		clients = append(clients, c)
		for j := range i + 1 {
			if got := c.block(1, uint64(j), nil); len(got) != 512 || got[0] != byte(j+1) {
				t.Errorf("over %s block %d begins with %v", portal, j, got[:1])
			}
		}
		naa, serial := c.identity(0)
		if otherNAA, otherSerial := c.identity(1); naa == otherNAA || serial == otherSerial {
			t.Errorf("both LUNs have NAA %x or serial number %s", naa, serial)
		}
		ids = append(ids, naa+serial)
	}
	if ids[0] != ids[1] || ids[0] != ids[2] {
		t.Errorf("one LUN has the identities %q", ids)
	}
	for _, c := range clients {
		c.logout()
	}
	b.stop()
	data := must[[]byte](t)(os.ReadFile(second))
	if len(data) != 1<<20 || data[0] != 1 || data[512] != 2 || data[1024] != 3 || data[1536] != 0 {
		t.Error("the file has not what was written")
	}
	// The same file is the same LUN at the next start, under any of its names.
	if err := os.Symlink(first, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	again := newFileBed(t, FileTargetOptions{Files: []string{filepath.Join(dir, "link")}})
	c, loss := again.client(t, "host", again.portals[0], nil)
	if loss != nil {
		t.Fatal(loss.Err)
	}
	if naa, serial := c.identity(0); naa+serial != ids[0] {
		t.Errorf("identity %q at the next start, was %q", naa+serial, ids[0])
	}
}

// TestFileTargetReadOnly: nothing is changed.
func TestFileTargetReadOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	writeDisk(t, path)
	b := newFileBed(t, FileTargetOptions{Files: []string{path}, ReadOnly: true})
	c, loss := b.client(t, "host", b.portals[0], nil)
	if loss != nil {
		t.Fatal(loss.Err)
	}
	c.block(0, 0, nil)
	if _, res := c.exec(0, scsi.ReadWrite{Write: true, Blocks: 1, Size: 10}, make([]byte, 512)); res.OK() || !b.LUNs()[0].ReadOnly {
		t.Errorf("a write ends with %v", res)
	}
}

// TestFileTargetAccess: names, networks and CHAP keep others out, and out of discovery.
func TestFileTargetAccess(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "disk")
	writeDisk(t, path)
	const secret, ours = "alice-and-the-target", "the-target-and-alice"
	for name, text := range map[string]string{"alice": secret, "ours": ours} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := newFileBed(t, FileTargetOptions{
		Files: []string{path}, Initiators: []string{"iqn.2026-11.test:alice", "127.0.0.1"},
		User: "alice", SecretFile: filepath.Join(dir, "alice"), MutualUser: "target", MutualSecretFile: filepath.Join(dir, "ours"),
	})
	good := &iscsi.CHAP{User: "alice", Secret: wire.NewSecret([]byte(secret)), MutualUser: "target", MutualSecret: wire.NewSecret([]byte(ours))}
	for _, tt := range []struct {
		name, host string
		chap       *iscsi.CHAP
		in         bool
	}{
		{"as it should be", "alice", good, true},
		{"another host", "bob", good, false},
		{"no secret", "alice", nil, false},
		{"another user", "alice", &iscsi.CHAP{User: "bob", Secret: wire.NewSecret([]byte(secret))}, false},
		{"another secret", "alice", &iscsi.CHAP{User: "alice", Secret: wire.NewSecret([]byte(ours))}, false},
		{"another target", "alice", &iscsi.CHAP{User: "alice", Secret: wire.NewSecret([]byte(secret)), MutualUser: "target", MutualSecret: wire.NewSecret([]byte("not the target"))}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, loss := b.client(t, tt.host, b.portals[0], tt.chap)
			if (loss == nil) != tt.in {
				t.Errorf("login: %v", loss)
			}
			found, err := c.k.Discover(t.Context(), b.portals[0])
			if seen := err == nil && len(found) == 1 && found[0].Target == b.Name(); seen != tt.in {
				t.Errorf("discovery: %v, %v", found, err)
			}
		})
	}
	// A secret file that is gone refuses, and says so to nobody but the log.
	if err := os.Remove(filepath.Join(dir, "alice")); err != nil {
		t.Fatal(err)
	}
	if _, loss := b.client(t, "alice", b.portals[0], good); loss == nil {
		t.Error("let in without a secret file")
	}
}

// block writes a block, or reads it when data is nil.
func (c *iscsiClient) block(lun uint16, lba uint64, data []byte) []byte {
	c.t.Helper()
	got, res := c.exec(lun, scsi.ReadWrite{Write: data != nil, LBA: lba, Blocks: 1, Size: 10}, data)
	if !res.OK() {
		c.t.Fatalf("block %d of LUN %d: %+v", lba, lun, res)
	}
	return got
}

// TestFileTargetRefuses: every mistake is told, with what to do, and leaves nothing open.
func TestFileTargetRefuses(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	writeDisk(t, path("disk"))
	for name, mode := range map[string]os.FileMode{"good": 0o600, "open": 0o644} {
		if err := os.WriteFile(path(name), []byte("twelve-bytes-or-more"), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path("short"), []byte("eleven-byte"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, make := range map[string]func(string) error{
		"empty": func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"dir":   func(p string) error { return os.Mkdir(p, 0o700) },
		"link":  func(p string) error { return os.Symlink("disk", p) },
	} {
		if err := make(path(name)); err != nil {
			t.Fatal(err)
		}
	}
	busy := newFileBed(t, FileTargetOptions{Files: []string{path("busy")}, Size: 1 << 20})
	files := []string{path("disk")}
	chap := func(user, secret, mutual, ours string) FileTargetOptions {
		return FileTargetOptions{Files: files, User: user, SecretFile: secret, MutualUser: mutual, MutualSecretFile: ours}
	}
	for _, tt := range []struct {
		name string
		o    FileTargetOptions
		want []string
	}{
		{"no file", FileTargetOptions{}, []string{"0 files"}},
		{"a file that is not there", FileTargetOptions{Files: []string{path("no")}}, []string{"LUN 0", path("no"), "no such file"}},
		{"a directory that is not there", FileTargetOptions{Files: []string{path("no/disk")}, Size: 512}, []string{path("no/disk"), "no such file"}},
		{"a directory", FileTargetOptions{Files: []string{path("dir")}}, []string{"neither a regular file nor a block device"}},
		{"an empty file", FileTargetOptions{Files: []string{path("empty")}}, []string{"give it a size"}},
		{"one file twice", FileTargetOptions{Files: []string{path("disk"), path("link")}}, []string{path("link"), "twice", path("disk")}},
		{"a file in use", FileTargetOptions{Files: []string{path("disk"), path("busy")}}, []string{"LUN 1", "in use"}},
		{"size", FileTargetOptions{Files: files, Size: 1000}, []string{"1000", "multiple of the block size 512"}},
		{"block size", FileTargetOptions{Files: files, BlockSize: 1024}, []string{"1024", "neither 512 nor 4096"}},
		{"port in use", FileTargetOptions{Files: files, Listen: busy.portals}, []string{busy.portals[0], "address already in use"}},
		{"no address", FileTargetOptions{Files: files, Listen: []string{"127.0.0.1:0,localhost"}}, []string{`"localhost"`, "not a listen address", "ip:port"}},
		{"not loopback", FileTargetOptions{Files: files, Listen: []string{"192.0.2.1"}}, []string{"192.0.2.1", "without encryption", "plaintext-remote"}},
		{"all addresses", FileTargetOptions{Files: files, Listen: []string{":3260"}}, []string{"without encryption"}},
		{"name in upper case", FileTargetOptions{Files: files, Name: "iqn.2026-11.test:Disk"}, []string{"iqn.2026-11.test:Disk", "lower case"}},
		{"initiator", FileTargetOptions{Files: files, Initiators: []string{"iqn.*"}}, []string{`"iqn.*"`, "is a pattern", "10.1.0.0/16"}},
		{"two at once", FileTargetOptions{Files: files, Name: "x", Initiators: []string{"y"}}, []string{`"x"`, `"y"`}},
		{"user alone", chap("alice", "", "", ""), []string{"a user and a secret file"}},
		{"mutual alone", chap("", "", "us", path("good")), []string{"too"}},
		{"half of mutual", chap("alice", path("good"), "us", ""), []string{"mutual CHAP needs"}},
		{"user with a control character", chap("ali\nce", path("good"), "", ""), []string{"not a CHAP name"}},
		{"no secret file", chap("alice", path("no"), "", ""), []string{path("no"), "no such file"}},
		{"mode of the secret file", chap("alice", path("open"), "", ""), []string{path("open"), "0644"}},
		{"short secret", chap("alice", path("short"), "", ""), []string{path("short"), "11 bytes", "12 to 255"}},
		{"one secret for both", chap("alice", path("good"), "us", path("good")), []string{"both directions"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if len(tt.o.Listen) == 0 {
				tt.o.Listen = []string{"127.0.0.1:0"}
			}
			f, err := OpenFileTarget(tt.o)
			if err == nil {
				t.Fatal("opened", f.close())
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not tell %q", err, w)
				}
			}
		})
	}
	newFileBed(t, FileTargetOptions{Files: files}) // what was refused has left it free
}
