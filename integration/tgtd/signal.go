// SPDX-License-Identifier: Apache-2.0

package tgtd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

var errNotRunning = errors.New("tgtd: no process runs")

func (s *Server) runningLocked() bool {
	if s.done == nil {
		return false
	}
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// Kill ends the process with SIGKILL and returns when it is gone: its sockets
// are closed then. Killing a dead process does nothing.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.killLocked()
}

func (s *Server) killLocked() error {
	if !s.runningLocked() {
		return nil
	}
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("tgtd: %w", err)
	}
	<-s.done
	return nil
}

// Stop freezes the process with SIGSTOP and returns when no thread of it runs
// any more. The kernel goes on accepting connections and data for it.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.runningLocked() {
		return errNotRunning
	}
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("tgtd: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	return s.waitLocked(ctx, func() error { return stopped(s.cmd.Process.Pid) })
}

// Cont lets a stopped process go on.
func (s *Server) Cont() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.runningLocked() {
		return errNotRunning
	}
	if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("tgtd: %w", err)
	}
	return nil
}

// Down stops the process for d, or until ctx ends, and lets it go on.
func (s *Server) Down(ctx context.Context, d time.Duration) error {
	if err := s.Stop(); err != nil {
		return err
	}
	wait := time.NewTimer(d)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
	return s.Cont()
}

// stopped is nil when every thread of pid is in state T (proc(5), "stat").
func stopped(pid int) error {
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(stats) == 0 {
		return errors.Join(errNotRunning, err)
	}
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		// pid (comm) state ...: comm may hold anything, so look behind the last ")".
		i := bytes.LastIndexByte(b, ')')
		if i < 0 || i+2 >= len(b) || b[i+2] != 'T' {
			return fmt.Errorf("tgtd: %s is not stopped", name)
		}
	}
	return nil
}
