// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package qemuguest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"pathgate/integration/gate"
)

// nobody is who libvirt runs as when tests run as root: as root it wants users and
// services that its packages' scripts make.
const nobody = 65534

// domainXML is a domain that boots from its disk.
const domainXML = `<domain type='qemu'>
  <name>vm1</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
%s  </devices>
</domain>
`

// bootSector is a program that the firmware loads from block 0. It writes itself to
// block 2, and halts.
func bootSector() []byte {
	s := make([]byte, 512)
	copy(s, []byte{
		0x31, 0xc0, // xor ax, ax
		0x8e, 0xd8, // mov ds, ax
		0xbe, 0x20, 0x7c, // mov si, 0x7c20: what to write
		0xb8, 0x00, 0x43, // mov ax, 0x4300: extended write, of the drive in dl
		0xcd, 0x13, // int 0x13
		0xf4, 0xeb, 0xfd, // hlt, and again
	})
	copy(s[0x20:], []byte{16, 0, 1, 0, 0x00, 0x7c, 0, 0, 2}) // one block, at 0:7c00, to 2
	s[510], s[511] = 0x55, 0xaa
	return s
}

// libvirt is a daemon of this test alone. It shows a user's own connection.
type libvirt struct {
	dir string
	env []string
	as  *syscall.SysProcAttr
}

// newLibvirt starts the daemon.
func newLibvirt(t *testing.T) *libvirt {
	t.Helper()
	v := &libvirt{dir: shortDir(t), as: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}}
	for name, key := range map[string]string{"home": "HOME", "run": "XDG_RUNTIME_DIR", "config": "XDG_CONFIG_HOME", "cache": "XDG_CACHE_HOME", "data": "XDG_DATA_HOME"} {
		if err := os.Mkdir(filepath.Join(v.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		v.env = append(v.env, key+"="+filepath.Join(v.dir, name))
	}
	v.env = append(v.env, "PATH="+os.Getenv("PATH"), "VIRSH_DEFAULT_CONNECT_URI=qemu:///session")
	v.write(t, "config/libvirt/qemu.conf", "stdio_handler = \"file\"\n") // else it starts a daemon that stays
	if os.Geteuid() == 0 {
		v.as.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		v.give(t)
	}
	var out bytes.Buffer
	cmd := v.command("libvirtd")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // its words say more
		close(ended)
	}()
	t.Cleanup(func() {
		_ = v.command("virsh", "destroy", "vm1").Run() // of a test that failed: it would outlive the daemon
		_ = cmd.Process.Signal(syscall.SIGTERM)        // it may have ended
		<-ended
		if t.Failed() {
			t.Logf("libvirtd: %s", out.String())
		}
	})
	if !gate.Poll(limit, func() bool { return v.command("virsh", "version").Run() == nil }) {
		t.Fatal("libvirtd does not answer")
	}
	return v
}

// command is a command that talks to the daemon.
func (v *libvirt) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = v.dir, v.env, v.as
	return cmd
}

// sh runs a line of a shell, which has to succeed.
func (v *libvirt) sh(t *testing.T, line string) {
	t.Helper()
	out, err := v.command("sh", "-ec", line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

// write writes a file for the daemon and its tools.
func (v *libvirt) write(t *testing.T, name, content string) {
	t.Helper()
	path := filepath.Join(v.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if v.as.Credential != nil {
		v.give(t)
	}
}

// give makes the daemon's user the owner of all that is there now.
func (v *libvirt) give(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(v.dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, nobody, nobody)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// virshLines are the commands of the documentation that begin with virsh.
func virshLines(t *testing.T) (lines []string) {
	t.Helper()
	doc, err := os.ReadFile("../../docs/iscsi.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^virsh .*$`).FindAllString(string(doc), -1) {
		line, _, _ := strings.Cut(m, "#")
		lines = append(lines, strings.TrimSpace(line))
	}
	if len(lines) < 3 {
		t.Fatalf("the documentation shows %q", lines)
	}
	return lines
}

// secretXML is the secret that the documentation shows.
func secretXML(t *testing.T) string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/iscsi.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?s)<secret .*?</secret>\n`).FindString(string(doc))
	if found == "" {
		t.Fatal("the documentation shows no secret")
	}
	return found
}

// TestLongLibvirt: libvirt takes what `attach --libvirt` prints by its schema, with the
// secret as the documentation has it made, and a domain boots from the disk and writes
// to it.
func TestLongLibvirt(t *testing.T) {
	v := newLibvirt(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "root")
	tcp := freeAddress(t)
	b := newBed(t, options{Config: gate.Config{TCP: strconv.Quote(tcp), Disks: []string{`{name: root, file: "` + file + `", size: 1MiB}`}}})
	v.write(t, "secret", secret)
	v.write(t, "secret.xml", secretXML(t))
	v.sh(t, "virt-xml-validate secret.xml secret")
	for _, over := range []string{"iscsi", "nbd"} {
		t.Run(over, func(t *testing.T) {
			disk := b.g.MustCLI(t, "attach", "vm1", "--libvirt", "--over", over)
			if over == "nbd" { // its unix socket is not this user's
				disk = b.overTCP(t, disk, tcp)
			}
			v.write(t, "vm1.xml", fmt.Sprintf(domainXML, disk))
			if over == "nbd" && !knowsReconnect(t) {
				t.Log("this libvirt's schema has no reconnect element for NBD")
				v.write(t, "vm1.xml", fmt.Sprintf(domainXML, strings.Replace(disk, `<reconnect delay="300"></reconnect>`, "", 1)))
			}
			v.sh(t, "virt-xml-validate vm1.xml domain")
			f, err := os.OpenFile(file, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			blank := make([]byte, 4096)
			copy(blank, bootSector())
			if _, err := f.WriteAt(blank, 0); err != nil {
				t.Fatal(err)
			}
			for _, line := range virshLines(t) {
				if over == "nbd" && strings.Contains(line, "secret") {
					continue
				}
				v.sh(t, strings.ReplaceAll(line, "SECRET-FILE", "secret"))
			}
			got := make([]byte, 512)
			if !gate.Poll(limit, func() bool {
				_, err := f.ReadAt(got, 1024)
				return err == nil && bytes.Equal(got, bootSector())
			}) {
				t.Errorf("the domain did not write: %x", got[:32])
			}
			if over == "iscsi" {
				b.wantSession(t, nil)
			}
			v.sh(t, "virsh destroy vm1 && virsh undefine vm1")
		})
	}
}

// knowsReconnect tells whether libvirt's schema has the element that came after
// version 9.0.
func knowsReconnect(t *testing.T) bool {
	t.Helper()
	schema, err := os.ReadFile("/usr/share/libvirt/schemas/domaincommon.rng")
	if err != nil {
		t.Fatal(err)
	}
	_, nbd, ok := strings.Cut(string(schema), `<define name="diskSourceNetworkProtocolNBD">`)
	if !ok {
		t.Fatal("the schema does not describe NBD disks")
	}
	nbd, _, _ = strings.Cut(nbd, "</define>")
	return strings.Contains(strings.ToLower(nbd), "reconnect")
}

// overTCP gives a disk element with the NBD server's TCP address in place of its socket.
func (b *bed) overTCP(t *testing.T, disk, tcp string) string {
	t.Helper()
	host, port, _ := strings.Cut(tcp, ":")
	unix := fmt.Sprintf(`<host transport="unix" socket=%q>`, b.g.Path("nbd.sock"))
	if !strings.Contains(disk, unix) {
		t.Fatalf("%s is not in %s", unix, disk)
	}
	return strings.Replace(disk, unix, fmt.Sprintf(`<host name=%q port=%q>`, host, port), 1)
}
