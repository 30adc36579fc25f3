// SPDX-License-Identifier: Apache-2.0

//go:build integration

package demo

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/internal/port"
)

// patience is how long anything may take.
const patience = 2 * time.Minute

// desk is a directory in which commands run as a page shows them, but for the paths and
// ports that they name.
type desk struct {
	t   *testing.T
	dir string
	env []string
	fix *strings.Replacer
}

// newDesk has other directories and free ports in place of those that a page names.
func newDesk(t *testing.T, ports ...string) *desk {
	t.Helper()
	dir, err := os.MkdirTemp("", "use-") // t.TempDir's name is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(gate.Binary(t), filepath.Join(bin, "pathgate")); err != nil {
		t.Fatal(err)
	}
	pairs := []string{"/var/tmp/", dir + "/", "/var/lib/pathgate", dir + "/lib", "/run/pathgate", dir + "/run", "/etc/pathgate", dir}
	for _, p := range ports {
		free, err := port.Free(netip.MustParseAddr("127.0.0.1"))
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, ":"+p, fmt.Sprintf(":%d", free.Port()))
	}
	return &desk{
		t: t, dir: dir, fix: strings.NewReplacer(pairs...),
		env: append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "PATHGATE_CONTROL=unix:"+dir+"/run/control.sock"),
	}
}

func (d *desk) command(ctx context.Context, line string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-c", "exec "+d.fix.Replace(line))
	cmd.Dir, cmd.Env = d.dir, d.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// run runs a line to its end, which has to be a good one, and gives what it prints.
func (d *desk) run(line string) string {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	out, err := d.command(ctx, line).CombinedOutput()
	if err != nil {
		d.t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// output is what a command has printed. Safe for concurrent use.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// start runs a line until stop, which demands a good end, and waits until it has
// printed what until matches. It tells false, and nothing runs, if a port was taken.
func (d *desk) start(line, until string) (out *output, stop func(), ok bool) {
	d.t.Helper()
	out = &output{}
	cmd := d.command(context.Background(), line)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	want, gone := regexp.MustCompile(until), false
	seen := gate.Poll(patience, func() bool {
		select {
		case err := <-ended:
			gone = true
			ended <- err
		default:
		}
		return gone || want.MatchString(out.String())
	})
	switch {
	case gone && strings.Contains(out.String(), "address already in use"):
		return nil, nil, false
	case gone || !seen:
		_ = cmd.Process.Kill()
		d.t.Fatalf("%s: %v\n%s", line, <-ended, out)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			d.t.Error(err)
		}
		timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		if err := <-ended; err != nil {
			d.t.Errorf("%s: ended: %v\n%s", line, err, out)
		}
	}
	d.t.Cleanup(stop)
	return out, stop, true
}

// section is a part of a page, from the heading to the next of its kind.
func section(t *testing.T, page, heading string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", page))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("%s has no section %q", page, heading)
	}
	text, _, _ := strings.Cut(rest, "\n## ")
	return text
}

var remark = regexp.MustCompile(`\s+# .*$`)

// TestReadmeUse: what README.md shows under "Use it" and "Shares" works in that order on
// a machine that has nothing but the program, with the target that it serves itself.
func TestReadmeUse(t *testing.T) {
	text := section(t, "README.md", "Use it")
	_, yaml, _ := strings.Cut(text, "```yaml\n")
	yaml, after, ok := strings.Cut(yaml, "```\n")
	if !ok {
		t.Fatal("no configuration is shown")
	}
	before, _, _ := strings.Cut(text, "```yaml\n")
	storage := lines(before)
	if len(storage) != 1 {
		t.Fatalf("%q is shown above the configuration, want the target", storage)
	}
	var d *desk
	var served func()
	for range 5 { // another process may take a port first
		d = newDesk(t, "13260", "13261", "10809", "3260")
		if err := os.WriteFile(filepath.Join(d.dir, "pathgate.yaml"), []byte(d.fix.Replace(yaml)), 0o600); err != nil {
			t.Fatal(err)
		}
		_, stop, ok := d.start(storage[0], `(?m)^lun 0 `)
		if !ok {
			continue
		}
		if _, served, ok = d.start("pathgate serve -c pathgate.yaml", "gateway-started"); ok {
			break
		}
		stop()
	}
	if served == nil {
		t.Fatal("no free ports")
	}
	if !gate.Poll(patience, func() bool {
		out := d.run("pathgate device list -o json")
		return strings.Contains(out, `"paths_up": 4`) && strings.Count(d.run("pathgate disk list -o json"), `"available": true`) == 2
	}) {
		t.Fatalf("no disks:\n%s\n%s", d.run("pathgate path list"), d.run("pathgate disk list"))
	}
	n := 0
	for _, line := range append(lines(after), lines(section(t, "README.md", "Shares"))...) {
		switch {
		case strings.HasPrefix(line, "pathgate serve "), strings.Contains(line, "..."): // it runs; no whole command
		case strings.HasSuffix(line, " -f"):
			_, stop, _ := d.start(line, "path-enabled")
			stop()
			n++
		default:
			if out := d.run(line); out == "" && !strings.Contains(line, " path ") && !strings.Contains(line, " set ") && !strings.Contains(line, " reset ") {
				t.Errorf("%s prints nothing", line)
			}
			n++
		}
	}
	if n < 22 {
		t.Errorf("only %d commands were found", n)
	}
}

// lines are the indented lines of a text, without remarks.
func lines(text string) (list []string) {
	for line := range strings.Lines(text) {
		if code, ok := strings.CutPrefix(line, "    "); ok {
			list = append(list, strings.TrimSpace(remark.ReplaceAllString(strings.TrimRight(code, "\n"), "")))
		}
	}
	return list
}

// TestTargetCommands: the commands of docs/iscsi.md that serve files do, and libiscsi's
// tools find what they serve.
func TestTargetCommands(t *testing.T) {
	_, block, _ := strings.Cut(section(t, "docs/iscsi.md", "A target by itself"), "```sh\n")
	block, _, ok := strings.Cut(block, "```")
	if !ok {
		t.Fatal("no commands are shown")
	}
	n := 0
	for line := range strings.Lines(block) {
		line = remark.ReplaceAllString(strings.TrimRight(line, "\n"), "")
		n++
		t.Run(fmt.Sprint(n), func(t *testing.T) { tryTarget(t, line) })
	}
	if n < 4 {
		t.Errorf("only %d commands are shown", n)
	}
}

// tryTarget serves by line, and looks at it from all portals.
func tryTarget(t *testing.T, line string) {
	const secret = "alice-and-the-gateway"
	if !strings.Contains(line, "--listen") { // the default one may be in use
		line += " --listen 127.0.0.1:3260"
	}
	json := strings.Contains(line, "-o json")
	var out *output
	for range 5 { // another process may take a port first
		d := newDesk(t, "3260", "3261")
		for name, content := range map[string]string{"alice": secret, "disk.img": strings.Repeat("x", 1<<20)} {
			if err := os.WriteFile(filepath.Join(d.dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		until := `(?m)^lun 0 .*\n(lun 1 .*\n)?`
		if json {
			until = `}\n`
		}
		var ok bool
		if out, _, ok = d.start(line, until); ok {
			break
		}
	}
	if out == nil {
		t.Fatal("no free ports")
	}
	login := ""
	if strings.Contains(line, "--chap-user alice") {
		login = "alice%" + secret + "@"
	}
	luns := 1 + strings.Count(out.String(), "\nlun 1 ")
	portals := regexp.MustCompile(`127\.0\.0\.1:[1-9]\d*`).FindAllString(out.String(), -1)
	if want := strings.Count(line, "--listen"); len(portals) != want {
		t.Fatalf("%d portals, want %d:\n%s", len(portals), want, out)
	}
	for _, p := range portals {
		list := tool(t, "iscsi-ls", "-s", "iscsi://"+login+p)
		if !strings.Contains(list, "Target:iqn.2026-11.internal.pathgate:target") || strings.Count(list, "Lun:") != luns*len(portals) {
			t.Errorf("iscsi-ls tells at %s:\n%s\nof\n%s", p, list, out)
		}
		for lun := range luns {
			url := fmt.Sprintf("iscsi://%s%s/iqn.2026-11.internal.pathgate:target/%d", login, p, lun)
			if inq := tool(t, "iscsi-inq", url); !strings.Contains(inq, "Vendor:PATHGATE") || !strings.Contains(inq, "Product:FILE") {
				t.Errorf("iscsi-inq %s:\n%s", url, inq)
			}
		}
	}
}

func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
