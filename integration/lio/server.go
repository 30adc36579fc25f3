// SPDX-License-Identifier: Apache-2.0

package lio

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"pathgate/integration/guest"
)

// Server is one guest with a target. Safe for concurrent use.
type Server struct {
	opts    Options
	portals []string // of all groups, in order
	guest   *guest.Guest
}

// startTimeout is far above the four seconds that a start takes: two cores may
// be busy with other tests.
const startTimeout = 90 * time.Second

// New starts a target for a test and closes it when the test ends, showing the
// guest's console if the test failed.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("lio: %s; console:\n%s", s.guest.State(), s.guest.Console())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Start starts a guest, configures the target in it and returns when its
// portals listen. ctx limits the start alone.
func Start(ctx context.Context, o Options) (*Server, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	g := guest.Options{
		Interactive: true,
		Script:      o.script(),
		Modules: []string{
			"configfs", "target_core_mod", "target_core_file", "iscsi_target_mod",
			"crc32c_generic", "md5", "sha1_generic", "sha256_generic", "sha3_generic",
		},
		MemoryMB: 256,
		Timeout:  startTimeout,
	}
	for _, l := range o.LUNs {
		if l.Drive != "" {
			g.Drives = append(g.Drives, l.Drive+",if=virtio")
			g.Modules = append(g.Modules, "target_core_iblock")
			continue
		}
		g.MemoryMB += int(l.SizeBytes>>20) + 1
	}
	guestPort := uint16(firstPort)
	for _, pg := range o.Groups {
		for _, a := range pg.Addresses {
			g.Forwards = append(g.Forwards, guest.Forward{Host: a, GuestPort: guestPort})
			guestPort++
		}
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	vm, err := guest.Start(ctx, g)
	if err != nil {
		return nil, fmt.Errorf("lio: %w", err)
	}
	s := &Server{opts: o, guest: vm}
	for i := range g.Forwards {
		s.portals = append(s.portals, vm.Forward(i))
	}
	r, err := vm.Wait(ctx)
	if err == nil && r.ExitCode != 0 {
		err = fmt.Errorf("configuration ended with status %d: %s\nconsole: %s", r.ExitCode, r.Output, vm.Console())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lio: %w", err), s.Close())
	}
	return s, nil
}

// Portals are the host's addresses of all portals, those of the first group
// first. The caller must not change the slice.
func (s *Server) Portals() []string { return s.portals }

// Name is the target's name.
func (s *Server) Name() string { return s.opts.Name }

// URL names a LUN behind the first portal in the form of libiscsi and QEMU, with
// the CHAP user in it.
func (s *Server) URL(lun int) string { return s.opts.url(s.portals[0], lun) }

// Exec runs a shell command in the guest and returns its output; a status that
// is not 0 is an error.
func (s *Server) Exec(ctx context.Context, command string) (string, error) {
	r, err := s.guest.Exec(ctx, command)
	if err == nil && r.ExitCode != 0 {
		err = fmt.Errorf("status %d: %s", r.ExitCode, r.Output)
	}
	if err != nil {
		return r.Output, fmt.Errorf("lio: %s: %w", command, err)
	}
	return r.Output, nil
}

// Pid is the process id of the guest's QEMU.
func (s *Server) Pid() int { return s.guest.Pid() }

// Stop freezes the guest with SIGSTOP: its portals go on accepting connections
// in the host's kernel, and nothing is answered.
func (s *Server) Stop() error { return s.signal(syscall.SIGSTOP) }

// Cont lets a stopped guest go on.
func (s *Server) Cont() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) error {
	if err := syscall.Kill(s.guest.Pid(), sig); err != nil {
		return fmt.Errorf("lio: %v: %w", sig, err)
	}
	return nil
}

// Kill ends the guest at once, and its LUNs' contents.
func (s *Server) Kill() error { return s.guest.Kill() }

// Close ends the guest and removes its files. Calling it again is safe.
func (s *Server) Close() error { return s.guest.Close() }
