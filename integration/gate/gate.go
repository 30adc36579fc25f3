// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"pathgate/integration/nbdclient"
)

// startTimeout bounds how long a start may take until the control socket answers.
const startTimeout = 20 * time.Second

// Gate is one gateway: a directory with its configuration, state and sockets, and
// the process that runs on it, if one does. Safe for concurrent use but for
// Start, Kill, Terminate and Goroutines.
type Gate struct {
	// Events is what the gateway has told so far.
	Events Events

	binary string
	dir    string
	env    []string
	mu     sync.Mutex
	run    *process // the running one, or the last
}

// process is one run.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when err is set
	err    error
	follow sync.WaitGroup
	stop   context.CancelFunc
}

// New starts a gateway for a test and waits until it answers. It is killed when
// the test ends.
func New(t testing.TB, c Config) *Gate {
	t.Helper()
	g := Make(t, c)
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	return g
}

// Make is New without the start.
func Make(t testing.TB, c Config) *Gate {
	t.Helper()
	g := &Gate{binary: Binary(t)}
	if c.Unfenced {
		g.binary = Unfenced(t)
	}
	// Not t.TempDir: its name is longer than that of a unix socket may be.
	dir, err := os.MkdirTemp("", "gate-")
	if err != nil {
		t.Fatal(err)
	}
	g.dir = dir
	t.Cleanup(func() {
		g.Kill()
		if t.Failed() {
			t.Logf("gateway's log:\n%s", tail(g.Log(), 32<<10))
		}
		os.RemoveAll(dir)
	})
	g.Configure(t, c)
	return g
}

// Configure writes the configuration that the next start uses.
func (g *Gate) Configure(t testing.TB, c Config) {
	t.Helper()
	g.env = c.Env
	if err := os.WriteFile(g.Path("config.yaml"), []byte(c.yaml(g.dir)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Path is a file in the gateway's directory.
func (g *Gate) Path(name string) string { return filepath.Join(g.dir, name) }

// NBD is the address of the NBD server, "unix:PATH".
func (g *Gate) NBD() string { return "unix:" + g.Path("nbd.sock") }

// URI names an export for libnbd and QEMU.
func (g *Gate) URI(export string) string {
	return "nbd+unix:///" + export + "?socket=" + g.Path("nbd.sock")
}

// Connect opens an export; the connection is closed when the test ends.
func (g *Gate) Connect(t testing.TB, export string) *nbdclient.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := nbdclient.Connect(ctx, nbdclient.Config{Addr: g.NBD(), Export: export})
	if err != nil {
		t.Fatalf("open %s: %v", export, err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Start starts the process on what the runs before have left, and waits until the
// control socket answers.
func (g *Gate) Start() error {
	log, err := os.OpenFile(g.Path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(g.binary, "serve", "-c", g.Path("config.yaml"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "GOTRACEBACK=all", "GORACE=halt_on_error=1")
	cmd.Env = append(cmd.Env, g.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	p := &process{cmd: cmd, exited: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	g.mu.Lock()
	g.run = p
	g.mu.Unlock()
	if !Poll(startTimeout, func() bool { return p.ended() || g.answers() }) || p.ended() {
		return fmt.Errorf("pathgate serve does not answer: %s", tail(g.Log(), 4<<10))
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	p.follow.Go(func() {
		// It ends with the process; a broken stream shows as an event that is missing.
		if err := g.Events.follow(ctx, g.client()); err != nil && ctx.Err() == nil && !p.ended() {
			g.Events.add(Event{Time: time.Now(), Kind: "stream-broken", Message: err.Error()})
		}
	})
	return nil
}

func (g *Gate) answers() bool {
	_, err := get[map[string]any](g, "/v1/version")
	return err == nil
}

func (p *process) ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

func (g *Gate) process() *process {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.run
}

// Pid is the process id of the running gateway.
func (g *Gate) Pid() int { return g.process().cmd.Process.Pid }

// Running tells whether the process lives.
func (g *Gate) Running() bool { p := g.process(); return p != nil && !p.ended() }

// Kill ends the process with SIGKILL and waits for it. Killing a dead one does nothing.
func (g *Gate) Kill() {
	if p := g.process(); p != nil {
		_ = p.cmd.Process.Kill() // it may have ended
		p.wait()
	}
}

// Terminate sends SIGTERM and waits for the end. It returns how long that took,
// and an error if the exit status was not 0 or limit was not kept; the process is
// killed then.
func (g *Gate) Terminate(limit time.Duration) (time.Duration, error) {
	p := g.process()
	begin := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	select {
	case <-p.exited:
	case <-time.After(limit):
		g.Kill()
		return time.Since(begin), fmt.Errorf("it did not end within %v of SIGTERM", limit)
	}
	took := time.Since(begin)
	p.wait()
	return took, p.err
}

func (p *process) wait() {
	<-p.exited
	if p.stop != nil {
		p.follow.Wait() // the stream has ended, or will: its peer is gone
		p.stop()
	}
}

// Goroutines ends the process with SIGQUIT, and returns the stacks of all its
// goroutines, as Go prints them.
func (g *Gate) Goroutines() ([]string, error) {
	p := g.process()
	before := len(g.Log())
	if err := p.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		return nil, err
	}
	p.wait()
	var stacks []string
	for _, s := range bytes.Split([]byte(g.Log()[before:]), []byte("\n\n")) {
		if bytes.HasPrefix(bytes.TrimSpace(s), []byte("goroutine ")) {
			stacks = append(stacks, string(s))
		}
	}
	if len(stacks) == 0 {
		return nil, errors.New("SIGQUIT printed no goroutines")
	}
	return stacks, nil
}

// FDs counts the process's open descriptors.
func (g *Gate) FDs() (int, error) {
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.Pid()))
	return len(list), err
}

// Log is what all runs have printed.
func (g *Gate) Log() string {
	b, err := os.ReadFile(g.Path("log"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// tail is the end of s, of at most n bytes.
func tail(s string, n int) string {
	if len(s) > n {
		return "...\n" + s[len(s)-n:]
	}
	return s
}
