// SPDX-License-Identifier: Apache-2.0

package gotgt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	restartFirst = 10 * time.Millisecond // pause before a restart, doubled each time
	restartMost  = time.Second
	restartCalm  = 5 * time.Second // a process that ran so long is sound
	startTimeout = 60 * time.Second
	stderrKept   = 4096 // bytes of the end of what the process says
)

// Process is one process of a target. Its methods are safe for concurrent use.
type Process struct {
	job    job
	exited func(error)
	stop   context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	pid      int // 0: none runs
	restarts int
	up       chan struct{} // closed while a process is ready
}

// Portals gives its portals as "address:port".
func (p *Process) Portals() []string { return slices.Clone(p.job.Portals) }

// Pid gives the number of the process that runs now; 0 between two.
func (p *Process) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

// Restarts tells how many times it was started again.
func (p *Process) Restarts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.restarts
}

// Stop halts it (SIGSTOP): its portals stay silent until Cont.
func (p *Process) Stop() error { return p.signal(syscall.SIGSTOP) }

// Cont lets it go on.
func (p *Process) Cont() error { return p.signal(syscall.SIGCONT) }

// Kill kills it. It is started again at once; what it had in hand is lost.
func (p *Process) Kill() error { return p.signal(syscall.SIGKILL) }

func (p *Process) signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pid == 0 {
		return fmt.Errorf("target process at %s: not running", strings.Join(p.job.Portals, ", "))
	}
	return syscall.Kill(p.pid, s) // not yet waited for, so it is still ours
}

// Ready waits until it serves.
func (p *Process) Ready(ctx context.Context) error {
	p.mu.Lock()
	up := p.up
	p.mu.Unlock()
	select {
	case <-up:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("target process at %s: %w", strings.Join(p.job.Portals, ", "), ctx.Err())
	}
}

// startProcess starts it, and keeps it running until close.
func startProcess(ctx context.Context, j job, exited func(error)) (*Process, error) {
	life, stop := context.WithCancel(context.Background())
	p := &Process{job: j, exited: exited, stop: stop, done: make(chan struct{}), up: make(chan struct{})}
	first := make(chan error, 1)
	go func() {
		defer close(p.done)
		p.keep(life, first)
	}()
	select {
	case err := <-first:
		if err == nil {
			return p, nil
		}
		p.close()
		return nil, err
	case <-ctx.Done():
		p.close()
		return nil, fmt.Errorf("start the target at %s: %w", strings.Join(j.Portals, ", "), ctx.Err())
	}
}

// close ends it for good, and waits for that.
func (p *Process) close() {
	p.stop()
	<-p.done
}

// keep runs one process after the other. first is told how the first start
// went; if it failed there is no second.
func (p *Process) keep(ctx context.Context, first chan<- error) {
	pause := restartFirst
	for n := 0; ; n++ {
		began := time.Now()
		served, err := p.run(ctx, func() {
			if n == 0 {
				first <- nil
			}
		})
		if ctx.Err() != nil {
			return
		}
		if n == 0 && !served {
			first <- err
			return
		}
		if p.exited != nil {
			p.exited(err)
		}
		if time.Since(began) > restartCalm {
			pause = restartFirst
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		pause = min(2*pause, restartMost)
		p.mu.Lock()
		p.restarts++
		p.mu.Unlock()
	}
}

// run runs one process until it ends or ctx does. serving is called when it is
// ready; served tells that it was.
func (p *Process) run(ctx context.Context, serving func()) (served bool, err error) {
	// The signal at the parent's death is tied to the thread that starts it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	where := strings.Join(p.job.Portals, ", ")
	config, err := json.Marshal(p.job)
	if err != nil {
		return false, fmt.Errorf("start the target at %s: %w", where, err)
	}
	cmd := exec.Command("/proc/self/exe", Command)
	// gotgt asks for a home directory. Go listens with MPTCP by itself, whose
	// sockets take no filter.
	cmd.Env = []string{"HOME=/", "GOTRACEBACK=single", "GODEBUG=multipathtcp=0"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	said := &tail{}
	cmd.Stderr = said
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		return false, fmt.Errorf("start the target at %s: %w", where, err)
	}
	p.mu.Lock()
	p.pid = cmd.Process.Pid
	p.mu.Unlock()
	answered := make(chan bool, 1)
	go func() {
		_, err := in.Write(append(config, '\n'))
		answer := make([]byte, len(ready))
		if err == nil {
			_, err = io.ReadFull(out, answer)
		}
		answered <- err == nil && string(answer) == ready
	}()
	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	gone := make(chan struct{})
	go func() { // ends the process with ctx, or when it does not start
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-gone:
			return
		}
		_ = cmd.Process.Kill() // it may be gone already
	}()
	if served = <-answered; served {
		timer.Stop()
		p.setUp(true)
		serving()
		_, _ = io.Copy(io.Discard, out) // nothing more comes but its end
	}
	p.setUp(false)
	err = p.reap(cmd)
	close(gone)
	return served, fmt.Errorf("target process at %s ended: %w%s", where, cause(err), said)
}

func cause(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// reap waits for the end. From then on its number may be another process's.
func (p *Process) reap(cmd *exec.Cmd) error {
	err := waitExited(cmd.Process.Pid)
	p.mu.Lock()
	p.pid = 0
	p.mu.Unlock()
	return errors.Join(err, cmd.Wait())
}

func (p *Process) setUp(up bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.up:
		if !up {
			p.up = make(chan struct{})
		}
	default:
		if up {
			close(p.up)
		}
	}
}

// tail keeps the last bytes that were written. Used by one goroutine, and read
// after it has ended.
type tail struct{ b []byte }

// Write keeps the end of p.
func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if over := len(t.b) - stderrKept; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

// String gives the line that tells why, or the last one.
func (t *tail) String() string {
	line := ""
	for l := range bytes.Lines(t.b) {
		s := strings.TrimSpace(string(l))
		if strings.HasPrefix(s, "panic:") || strings.HasPrefix(s, "fatal error:") {
			return ": " + s
		}
		if s != "" {
			line = ": " + s
		}
	}
	return line
}
