// SPDX-License-Identifier: Apache-2.0

package tgtd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pathgate/integration/internal/port"
)

// How long a process may take to answer after its start, and tgtadm to return.
const (
	startTimeout = 10 * time.Second
	commandTime  = 200 * time.Millisecond // more for each command that configures it
	adminTimeout = 5 * time.Second
)

// bindFailed is what tgtd logs of a portal that it did not get.
const bindFailed = "failed to create/bind to portal"

// Server is one tgtd process, running or killed. Safe for concurrent use.
type Server struct {
	opts    Options
	portals []string
	dir     string
	ownDir  bool // dir is removed by Close

	mu   sync.Mutex // guards all below
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended; nil before the first start
}

// New starts a server for a test and closes it when the test ends, showing
// tgtd's log if the test failed. It fails the test when tgtd does not start.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("tgtd %s:\n%s", strings.Join(s.portals, " "), s.Log())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Start starts a process, configures it and returns when all its portals
// accept connections. ctx limits the start alone, not the life of the server.
func Start(ctx context.Context, o Options) (*Server, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.Program == "" {
		o.Program = "tgtd"
	}
	if o.Admin == "" {
		o.Admin = "tgtadm"
	}
	if len(o.Portals) == 0 {
		o.Portals = []string{"127.0.0.1:0"}
	}
	o.Targets = copyTargets(o.Targets)
	s := &Server{opts: o, dir: o.Dir}
	if s.dir == "" {
		dir, err := os.MkdirTemp(memoryDir(), "tgtd-")
		if err != nil {
			return nil, fmt.Errorf("tgtd: %w", err)
		}
		s.dir, s.ownDir = dir, true
	}
	err := s.opts.createFiles(s.dir)
	if err == nil {
		err = s.startOnFreePorts(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func copyTargets(in []Target) []Target {
	out := append([]Target(nil), in...)
	for i := range out {
		out[i].LUNs = append([]LUN(nil), out[i].LUNs...)
	}
	return out
}

// memoryDir is where files are fast; "" is the temporary directory.
func memoryDir() string {
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		return "/dev/shm"
	}
	return ""
}

// startOnFreePorts repeats the start with other ports when a chosen one was
// taken by somebody else in between.
func (s *Server) startOnFreePorts(ctx context.Context) error {
	var err error
	for range 5 {
		s.portals = nil
		chosen := false
		for _, p := range s.opts.Portals {
			ap, err := port.Resolve(p)
			if err != nil {
				return fmt.Errorf("tgtd: portal %q: %w", p, err)
			}
			chosen = chosen || ap.String() != p
			s.portals = append(s.portals, ap.String())
		}
		if err = s.Restart(ctx); err == nil || !chosen || !strings.Contains(err.Error(), bindFailed) {
			return err
		}
	}
	return err
}

// Portals are the addresses in the order of Options.Portals. They stay the same
// over Restart. The caller must not change the slice.
func (s *Server) Portals() []string { return s.portals }

// File is the file of LUN lun (from 1) of target number target (from 0).
func (s *Server) File(target, lun int) string { return s.opts.Targets[target].LUNs[lun-1].File }

// URL names LUN lun (from 1) of target number target (from 0) behind the first
// portal in the form of libiscsi and QEMU, with the CHAP user in it.
func (s *Server) URL(target, lun int) string {
	return s.opts.Targets[target].url(s.portals[0], lun)
}

// Pid is the process id, 0 when no process runs.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.runningLocked() {
		return 0
	}
	return s.cmd.Process.Pid
}

// Log is what the present and earlier processes have printed.
func (s *Server) Log() string {
	b, _ := os.ReadFile(filepath.Join(s.dir, "log")) // no file: nothing printed
	return string(b)
}

// Restart kills the process if one runs and starts the same configuration anew,
// on the same portals and files. It returns when all portals accept connections.
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.killLocked(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout+time.Duration(len(s.opts.commands()))*commandTime)
	defer cancel()
	old := len(s.Log())
	if err := s.startLocked(); err != nil {
		return fmt.Errorf("tgtd: %w", err)
	}
	if err := s.configureLocked(ctx, old); err != nil {
		return errors.Join(fmt.Errorf("tgtd: configure: %w\n%s", err, s.Log()), s.killLocked())
	}
	return nil
}

func (s *Server) startLocked() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()

	args := []string{"--foreground", "--control-port", "1"}
	if s.opts.Threads > 0 {
		args = append(args, "--nr_iothreads", fmt.Sprint(s.opts.Threads))
	}
	args = append(args, "--iscsi", "portal="+strings.Join(s.portals, ",portal="))
	args = append(append(slices.Clone(s.opts.Prefix), s.opts.Program), args...)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = s.environ()
	cmd.Dir = s.dir
	cmd.Stdout, cmd.Stderr = log, log
	// Nothing of a test that was killed itself may stay behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // killed: its status says nothing
		close(done)
	}()
	s.cmd, s.done = cmd, done
	return nil
}

// environ gives each server a control socket of its own, in its directory.
func (s *Server) environ() []string {
	return append(os.Environ(), "TGT_IPC_SOCKET="+filepath.Join(s.dir, "socket"))
}

// configureLocked configures a process whose log begins at oldLog.
func (s *Server) configureLocked(ctx context.Context, oldLog int) error {
	if err := s.waitLocked(ctx, func() error {
		_, err := s.admin(ctx, "--mode", "target", "--op", "show")
		return err
	}); err != nil {
		return err
	}
	// tgtd binds before it answers and carries on without a portal that it could
	// not bind, behind which somebody else may well listen.
	if log := s.Log()[oldLog:]; strings.Contains(log, bindFailed) {
		return errors.New(bindFailed)
	}
	for _, c := range s.opts.commands() {
		if _, err := s.admin(ctx, c...); err != nil {
			return err
		}
	}
	for _, p := range s.portals {
		if err := s.waitLocked(ctx, func() error {
			c, err := net.DialTimeout("tcp", p, time.Second)
			if err != nil {
				return err
			}
			return c.Close()
		}); err != nil {
			return fmt.Errorf("portal %s: %w", p, err)
		}
	}
	return nil
}

// waitLocked repeats try until it succeeds, ctx ends or the process does.
func (s *Server) waitLocked(ctx context.Context, try func() error) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-s.done:
			return fmt.Errorf("the process ended with %v", s.cmd.ProcessState)
		case <-tick.C:
		}
	}
}

// Admin runs tgtadm against the process, with "--lld iscsi" in front of args,
// and returns what it printed.
func (s *Server) Admin(ctx context.Context, args ...string) (string, error) {
	out, err := s.admin(ctx, args...)
	if err != nil {
		return out, fmt.Errorf("tgtd: %w", err)
	}
	return out, nil
}

func (s *Server) admin(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.opts.Admin, append([]string{"--control-port", "1", "--lld", "iscsi"}, args...)...)
	cmd.Env = s.environ()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w: %s", s.opts.Admin, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// Close kills the process and removes the directory that Start made. Calling it
// again is safe.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.killLocked()
	if s.ownDir {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}
