// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pathgate/integration/internal/port"
)

var (
	errKilled = errors.New("guest: killed")
	errEnded  = errors.New("guest: QEMU ended before the script did")
)

// Guest is a running virtual machine. Safe for concurrent use.
type Guest struct {
	dir      string
	forwards []string
	stays    bool // interactive: it does not power off by itself
	cmd      *exec.Cmd
	stdin    io.WriteCloser
	stderr   *strings.Builder // QEMU's own words; read after done
	channel  *channel
	timer    *time.Timer   // Options.Timeout
	done     chan struct{} // closed when QEMU has ended

	mu   sync.Mutex // guards below and writes to stdin
	next int        // number of the next Exec
}

// New starts a guest for a test and closes it when the test ends, showing the
// kernel's console if the test failed.
func New(t testing.TB, o Options) *Guest {
	t.Helper()
	g, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("guest console:\n%s\nguest output:\n%s", g.Console(), g.Output())
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// Run starts a guest, waits for its script and closes it.
func Run(ctx context.Context, o Options) (Result, error) {
	g, err := Start(ctx, o)
	if err != nil {
		return Result{}, err
	}
	r, err := g.Wait(ctx)
	return r, errors.Join(err, g.Close())
}

// Start starts a guest and returns when its first process runs, before modules
// are loaded. ctx limits the start alone, not the life of the guest.
func Start(ctx context.Context, o Options) (*Guest, error) {
	o.setDefaults()
	k, err := openKernel(o.Cache)
	if err != nil {
		return nil, err
	}
	for range 5 {
		var g *Guest
		if g, err = start(ctx, k, &o); err == nil {
			return g, nil
		}
		// Somebody else may have taken a port between its choice and QEMU's bind.
		if !strings.Contains(err.Error(), "Could not set up host forwarding rule") {
			return nil, err
		}
	}
	return nil, err
}

func start(ctx context.Context, k *kernel, o *Options) (*Guest, error) {
	dir, err := os.MkdirTemp("", "guest-")
	if err != nil {
		return nil, fmt.Errorf("guest: %w", err)
	}
	g := &Guest{dir: dir, stays: o.Interactive, stderr: &strings.Builder{}, done: make(chan struct{})}
	if err := g.launch(k, o); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := g.wait(ctx, func(c *channel) bool { return c.boot > 0 }); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

func (g *Guest) launch(k *kernel, o *Options) error {
	word := rand.Text()[:8]
	image, err := initramfs(k, o, word)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(g.dir, "initramfs"), image, 0o600); err != nil {
		return fmt.Errorf("guest: %w", err)
	}
	var hosts []netip.AddrPort
	for _, f := range o.Forwards {
		ap, err := port.Resolve(f.Host)
		if err != nil {
			return fmt.Errorf("guest: forward %q: %w", f.Host, err)
		}
		hosts = append(hosts, ap)
		g.forwards = append(g.forwards, ap.String())
	}

	g.cmd = exec.Command(o.QEMU, o.args(k, g.dir, hosts)...)
	g.cmd.Stderr = g.stderr
	// Nothing of a test that was killed itself may stay behind.
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := g.cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("guest: %w", err)
	}
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("guest: %w", err)
	}
	g.stdin = in
	g.channel = newChannel(word, 1+o.Reboots, in, o.Output)
	if err := g.cmd.Start(); err != nil {
		return fmt.Errorf("guest: %w", err)
	}
	g.timer = time.AfterFunc(o.Timeout, func() {
		g.channel.end(fmt.Errorf("guest: the script did not end within %v", o.Timeout))
		_ = g.cmd.Process.Kill()
	})
	go func() {
		g.channel.read(out)
		_ = g.cmd.Wait() // its own words say more than its status
		g.timer.Stop()
		g.channel.end(errEnded)
		close(g.done)
	}()
	return nil
}

// wait blocks until ok, called with the channel locked, holds. The end of the
// guest is an error if it comes before that.
func (g *Guest) wait(ctx context.Context, ok func(*channel) bool) error {
	c := g.channel
	for {
		c.mu.Lock()
		held, err, changed := ok(c), c.err, c.changed
		c.mu.Unlock()
		switch {
		case held:
			return nil
		case err != nil:
			return g.explain(err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return g.explain(fmt.Errorf("guest: %w", ctx.Err()))
		}
	}
}

// explain adds to err what QEMU and the kernel said last.
func (g *Guest) explain(err error) error {
	said := ""
	select {
	case <-g.done:
		said = strings.TrimSpace(g.stderr.String())
	case <-time.After(time.Second): // alive: its words are not ours to read yet
	}
	return fmt.Errorf("%w\nqemu: %s\nconsole: %s\noutput: %s", err, said, tail(g.Console()), tail(g.Output()))
}

func tail(s string) string {
	const limit = 2000
	s = strings.TrimSpace(s)
	if len(s) > limit {
		s = "..." + s[len(s)-limit:]
	}
	return s
}

// Wait waits for the script's end. If the guest is not interactive it waits for
// QEMU's end too, by which the guest has synced its disks.
func (g *Guest) Wait(ctx context.Context) (Result, error) {
	err := g.wait(ctx, func(c *channel) bool { return c.exit != nil })
	c := g.channel
	c.mu.Lock()
	r := Result{Output: c.output.String(), Boots: c.boot}
	if c.exit != nil {
		r.ExitCode = *c.exit
	}
	c.mu.Unlock()
	if err != nil {
		return r, err
	}
	g.timer.Stop()
	if g.stays {
		return r, nil
	}
	return r, g.WaitPowerOff(ctx)
}

// WaitOutput waits until the script's output contains text.
func (g *Guest) WaitOutput(ctx context.Context, text string) error {
	return g.wait(ctx, func(c *channel) bool { return strings.Contains(c.output.String(), text) })
}

// WaitPowerOff waits until QEMU has ended by itself.
func (g *Guest) WaitPowerOff(ctx context.Context) error {
	select {
	case <-g.done:
		return nil
	case <-ctx.Done():
		return g.explain(fmt.Errorf("guest: power off: %w", ctx.Err()))
	}
}

// Send gives the script a line on its standard input.
func (g *Guest) Send(line string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, err := io.WriteString(g.stdin, line+"\n"); err != nil {
		return fmt.Errorf("guest: %w", err)
	}
	return nil
}

// Exec runs a command in an interactive guest whose script has ended. Commands
// run one after the other; a status that is not 0 is no error.
func (g *Guest) Exec(ctx context.Context, command string) (Result, error) {
	g.mu.Lock()
	g.next++
	id := g.next
	_, err := fmt.Fprintf(g.stdin, "%d %s\n", id, base64.StdEncoding.EncodeToString([]byte(command)))
	g.mu.Unlock()
	if err != nil {
		return Result{}, g.explain(fmt.Errorf("guest: %w", err))
	}
	var r Result
	err = g.wait(ctx, func(c *channel) bool {
		var ok bool
		r, ok = c.results[id]
		return ok
	})
	return r, err
}

// Forward is the host's address of Options.Forwards[i].
func (g *Guest) Forward(i int) string { return g.forwards[i] }

// Pid is QEMU's process id.
func (g *Guest) Pid() int { return g.cmd.Process.Pid }

// Console is what the kernel has printed.
func (g *Guest) Console() string {
	b, _ := os.ReadFile(filepath.Join(g.dir, "console")) // no file: nothing printed
	return string(b)
}

// State tells whether QEMU runs, or how it ended and what it said.
func (g *Guest) State() string {
	select {
	case <-g.done:
		return fmt.Sprintf("qemu ended: %v %s", g.cmd.ProcessState, strings.TrimSpace(g.stderr.String()))
	default:
		return "qemu runs"
	}
}

// Output is what the script has printed so far.
func (g *Guest) Output() string {
	g.channel.mu.Lock()
	defer g.channel.mu.Unlock()
	return g.channel.output.String()
}

// Kill pulls the plug: the guest's caches are lost, and what it has not flushed.
func (g *Guest) Kill() error {
	g.channel.end(errKilled)
	if err := g.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("guest: %w", err)
	}
	<-g.done
	return nil
}

// Close kills the guest if it still runs and removes its files; Console is
// empty then. Calling it again is safe.
func (g *Guest) Close() error {
	return errors.Join(g.Kill(), os.RemoveAll(g.dir))
}
