// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// entry is one file of an archive, read back by the letter of the format.
type entry struct {
	name    string
	mode    int
	content string
}

func unpack(t *testing.T, b []byte) []entry {
	t.Helper()
	var out []entry
	field := func(h []byte, i int) int {
		n, err := strconv.ParseUint(string(h[6+8*i:14+8*i]), 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		return int(n)
	}
	for off := 0; ; {
		h := b[off : off+110]
		if string(h[:6]) != "070701" {
			t.Fatalf("magic %q at %d", h[:6], off)
		}
		mode, size, nameSize := field(h, 1), field(h, 6), field(h, 11)
		name := string(b[off+110 : off+110+nameSize-1])
		off = (off + 110 + nameSize + 3) &^ 3
		if name == trailer {
			return out
		}
		out = append(out, entry{name, mode, string(b[off : off+size])})
		off = (off + size + 3) &^ 3
	}
}

func TestArchive(t *testing.T) {
	a := &archive{}
	a.file("/a/b/odd", []byte("xyz"))
	a.link("/a/l", "b/odd")
	a.file("top", nil)
	a.dir("/a/b")
	want := []entry{
		{"a", modeDir, ""},
		{"a/b", modeDir, ""},
		{"a/b/odd", modeFile, "xyz"},
		{"a/l", modeLink, "b/odd"},
		{"top", modeFile, ""},
	}
	if got := unpack(t, a.bytes()); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTree(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(
		os.MkdirAll(filepath.Join(dir, "etc/empty"), 0o700),
		os.WriteFile(filepath.Join(dir, "etc/f"), []byte("xyz"), 0o600),
		os.Symlink("/etc/f", filepath.Join(dir, "etc/l")),
	); err != nil {
		t.Fatal(err)
	}
	a := &archive{}
	if err := addTree(a, dir); err != nil {
		t.Fatal(err)
	}
	want := []entry{
		{"etc", modeDir, ""},
		{"etc/empty", modeDir, ""},
		{"etc/f", modeFile, "xyz"},
		{"etc/l", modeLink, "/etc/f"},
	}
	if got := unpack(t, a.bytes()); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if err := addTree(a, filepath.Join(dir, "nosuch")); err == nil {
		t.Error("a tree that is not there was added")
	}
}

func TestInitiator(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATHGATE_GUEST_CACHE", filepath.Join(dir, "guest"))
	if _, _, err := Initiator(); !errors.Is(err, ErrNoInitiator) {
		t.Errorf("got %v, want %v", err, ErrNoInitiator)
	}
	if err := errors.Join(
		os.Mkdir(filepath.Join(dir, "initiator"), 0o700),
		os.WriteFile(filepath.Join(dir, "initiator", "ready"), []byte("a b\na_1_amd64\nb_2_amd64\n"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	tree, packages, err := Initiator()
	if err != nil || tree != filepath.Join(dir, "initiator", "root") || !slices.Equal(packages, []string{"a_1_amd64", "b_2_amd64"}) {
		t.Errorf("got %q, %q, %v", tree, packages, err)
	}
}

func testIndex(t *testing.T) moduleIndex {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"modules.dep": "kernel/a.ko: kernel/b-x.ko kernel/c.ko\nkernel/b-x.ko: kernel/c.ko\nkernel/c.ko:\n" +
			"kernel/crc_generic.ko:\nkernel/crc-intel.ko:\n",
		"modules.softdep": "# comment\nsoftdep a pre: crc nosuch post: zzz\n",
		"modules.alias":   "alias crc crc_intel\nalias crc crc_generic\nalias pci:v*d* a\nalias other c\n",
		"modules.builtin": "kernel/built-in.ko\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ix, err := readIndex(dir)
	if err != nil {
		t.Fatal(err)
	}
	return ix
}

func TestClosure(t *testing.T) {
	ix := testIndex(t)
	tests := []struct {
		names string
		want  string // "error" for an error
	}{
		{"", ""},
		{"c", "c.ko"},
		{"b-x", "c.ko b-x.ko"},
		{"b_x", "c.ko b-x.ko"},
		{"a", "crc_generic.ko c.ko b-x.ko a.ko"},
		{"c a c", "c.ko crc_generic.ko b-x.ko a.ko"},
		{"other", "c.ko"},
		{"crc", "crc_generic.ko"},
		{"built_in", ""},
		{"nosuch", "error"},
		{"pci:v*d*", "error"},
	}
	for _, tt := range tests {
		t.Run(tt.names, func(t *testing.T) {
			files, err := ix.closure(strings.Fields(tt.names))
			got := strings.ReplaceAll(strings.Join(files, " "), "kernel/", "")
			if err != nil {
				got = "error"
			}
			if got != tt.want {
				t.Errorf("got %q, want %q (%v)", got, tt.want, err)
			}
		})
	}
}

func TestLibraries(t *testing.T) {
	const ldd = "\tlinux-vdso.so.1 (0x00007ffc)\n" +
		"\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f5c)\n" +
		"\t/lib64/ld-linux-x86-64.so.2 (0x00007f5c)\n"
	want := []string{"/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"}
	if got := libraries(ldd); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := libraries("\tnot a dynamic executable\n"); got != nil {
		t.Errorf("got %v of a static program, want none", got)
	}
}

func TestArgs(t *testing.T) {
	k := &kernel{root: "/k", release: "6.1"}
	o := Options{Drives: []string{"file=x,if=virtio"}, Args: []string{"-s"}, Forwards: []Forward{{"127.0.0.1:0", 3260}}}
	o.setDefaults()
	got := strings.Join(o.args(k, "/d", []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:7")}), " ")
	for _, want := range []string{
		"-accel tcg", "-m 256", "-kernel /k/boot/vmlinuz-6.1", "-initrd /d/initramfs", "-no-reboot",
		"hostfwd=tcp:127.0.0.1:7-:3260", "-drive file=x,if=virtio",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	if !strings.HasSuffix(got, " -s") {
		t.Errorf("%q does not end in the caller's arguments", got)
	}
	o.Reboots = 1
	o.Forwards = nil
	if got := strings.Join(o.args(k, "/d", nil), " "); strings.Contains(got, "-no-reboot") {
		t.Errorf("%q with reboots has -no-reboot", got)
	}
	if got, want := o.modules(), []string{"virtio_pci", "virtio_net", "virtio_pci", "virtio_blk"}; !slices.Equal(got, want) {
		t.Errorf("got modules %v, want %v", got, want)
	}
}

// FuzzChannel: whatever a guest prints, the host neither panics nor hangs, and
// output without a protocol line comes out as it went in.
func FuzzChannel(f *testing.F) {
	for _, s := range []string{
		"plain\n", "no newline", "\n@@W boot\nx\n@@W exit 0\n", "\n@@W begin 1\nout\n@@W end 1 0\n",
		"\n@@W end\n", "@@W exit\n", "@@W end x y\n", "@@W \n", "\n\n@@W exit 999999999999999999999\n", "@@X exit 0\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		c := newChannel("W", 1, discard{}, nil)
		c.read(strings.NewReader(string(in)))
		if !strings.Contains(string(in), "@@W ") && c.output.String() != string(in) {
			t.Errorf("got %q, want %q", c.output.String(), in)
		}
	})
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

func TestChannel(t *testing.T) {
	tests := []struct {
		name, in string
		want     string // boots, output, exit, results, answers, error
	}{
		{"script", "\n@@W boot\nhello\n\n@@W exit 3\n", `1 "hello\n" 3 0 "1\n" <nil>`},
		{"no newline", "\n@@W boot\nhello\n@@W exit 0\n", `1 "hello" 0 0 "1\n" <nil>`},
		{"nothing printed", "\n@@W boot\n\n@@W exit 0\n", `1 "" 0 0 "1\n" <nil>`},
		{"foreign word", "\n@@W boot\n@@V exit 0\n\n@@W exit 0\n", `1 "@@V exit 0\n" 0 0 "1\n" <nil>`},
		{"command", "\n@@W exit 0\n\n@@W begin 4\nout\n@@W end 4 9\n", `0 "" 0 1 "" <nil>`},
		{"two boots", "\n@@W boot\na\n\n@@W boot\nb\n\n@@W exit 0\n", `2 "a\nb\n" 0 0 "1\n2\n" <nil>`},
		{"a boot too many", "\n@@W boot\n\n@@W boot\n\n@@W boot\n", `3 "" none 0 "1\n2\n" guest: boot number 3, and only 2 were expected`},
		{"insmod", "\n@@W fail insmod x.ko\n", `0 "" none 0 "" guest: insmod x.ko failed in the guest`},
		{"no status", "\n@@W exit\n", `0 "" -1 0 "" guest: short protocol line ["exit"]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var answers strings.Builder
			c := newChannel("W", 2, &answers, nil)
			c.read(strings.NewReader(tt.in))
			exit := "none"
			if c.exit != nil {
				exit = strconv.Itoa(*c.exit)
			}
			got := fmt.Sprintf("%d %q %s %d %q %v", c.boot, c.output.String(), exit, len(c.results), answers.String(), c.err)
			if got != tt.want {
				t.Errorf("got %s\nwant %s", got, tt.want)
			}
			if r := c.results[4]; len(c.results) > 0 && (r.Output != "out" || r.ExitCode != 9) {
				t.Errorf("got result %+v, want output %q and status 9", r, "out")
			}
		})
	}
}

// TestOutputBound: no more than a bound is kept of an endless output.
func TestOutputBound(t *testing.T) {
	c := newChannel("W", 1, discard{}, nil)
	line := strings.Repeat("x", 1<<20) + "\n"
	for range maxOutput/len(line) + 2 {
		c.read(strings.NewReader(line))
	}
	if c.err != errTooMuch || c.output.Len() > maxOutput {
		t.Errorf("got %d bytes, error %v, want at most %d, %v", c.output.Len(), c.err, maxOutput, errTooMuch)
	}
}

// The header's size field is 32 bits wide: a file of 4 GiB cannot be asked for,
// since an initramfs must fit the guest's memory; this pins the arithmetic.
func TestHeaderSize(t *testing.T) {
	a := &archive{}
	a.header("n", modeFile, 0x12345678)
	if got := a.buf.String()[54:62]; got != "12345678" {
		t.Errorf("got size %q, want 12345678", got)
	}
	if a.buf.Len()%4 != 0 || a.buf.Len() != 112 {
		t.Errorf("got length %d, want 112", a.buf.Len())
	}
}
