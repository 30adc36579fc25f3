// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"pathgate/gateway"
)

// demoPaths is how many portals the demo's target has, each behind a relay.
const demoPaths = 2

// demoStorage is what stores the demo's data: "pathgate target" in a process of its own,
// with two portals for one file. It dies with this process.
type demoStorage struct {
	cmd    *exec.Cmd
	served servedFiles
	ended  chan struct{} // closed when the process has ended
	err    error         // why, from then on
}

// startDemoStorage starts the process and returns when it serves. Its messages go to log.
func startDemoStorage(file string, log io.Writer) (*demoStorage, error) {
	s := &demoStorage{ended: make(chan struct{})}
	s.cmd = exec.Command("/proc/self/exe", "target", file,
		"--name", demoTarget, "--size", gateway.Size(demoLUNSize).String(),
		"--listen", "127.0.0.1:0", "--listen", "127.0.0.2:0", "-o", "json")
	s.cmd.Stderr = log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error, 1)
	go s.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start the target: %w", err)
	}
	return s, nil
}

// run runs the process. started is told when it serves, or why it does not.
func (s *demoStorage) run(started chan<- error) {
	// The signal at the parent's death comes when the thread that started the child
	// ends: it has to stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		started <- err
		return
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &s.served)
	}
	if err == nil && len(s.served.Portals) != demoPaths {
		err = fmt.Errorf("it serves %d portals, want %d", len(s.served.Portals), demoPaths)
	}
	if err != nil {
		started <- errors.Join(err, s.cmd.Process.Kill(), s.cmd.Wait())
		return
	}
	started <- nil
	s.err = s.cmd.Wait()
	close(s.ended)
}

func (s *demoStorage) pid() int { return s.cmd.Process.Pid }

// kill ends the process with what it has in hand, and waits until it is no more.
func (s *demoStorage) kill() error {
	err := s.cmd.Process.Kill()
	<-s.ended
	return err
}

// stop ends the process as an administrator does, or kills it when that takes long. The
// error tells why it has ended otherwise.
func (s *demoStorage) stop() error {
	err := s.cmd.Process.Signal(os.Interrupt)
	select {
	case <-s.ended:
		if errors.Is(err, os.ErrProcessDone) {
			err = nil
		}
		return errors.Join(err, s.err)
	case <-time.After(demoPatience):
		return errors.Join(fmt.Errorf("the target has not ended after %v", demoPatience), s.kill())
	}
}
