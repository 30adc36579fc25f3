// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// firstPassed is the first descriptor that systemd passes (sd_listen_fds(3)).
	firstPassed = 3
	// maxPassed bounds how many there may be: more is a mistake.
	maxPassed = 1024
	// systemdNetwork is the Network of a ListenAddr whose sockets systemd passes; its
	// Address is their name.
	systemdNetwork = "systemd"
	// unnamed is what sockets without a name are called (sd_listen_fds(3)).
	unnamed = "unknown"
)

// Socket is a listening socket that was passed to this process.
type Socket struct {
	// Name is the FileDescriptorName= of its unit, "unknown" without one.
	Name     string
	Listener net.Listener
}

// PassedSockets takes the sockets that systemd has passed to this process, as
// sd_listen_fds_with_names(3) does, and takes them out of the environment, so that no
// child is told of them. None is no error; anything but listening stream sockets is.
// Call it once, before descriptors are opened that could be taken for them.
func PassedSockets() ([]Socket, error) {
	names, err := passedNames(os.Getenv, os.Getpid())
	for _, k := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(k)
	}
	if err != nil {
		return nil, fmt.Errorf("sockets of systemd: %w", err)
	}
	var list []Socket
	for i, name := range names {
		ln, err := passedListener(firstPassed + i)
		if err != nil {
			for _, s := range list {
				_ = s.Listener.Close()
			}
			return nil, fmt.Errorf("sockets of systemd: %s, descriptor %d: %w", name, firstPassed+i, err)
		}
		list = append(list, Socket{name, ln})
	}
	return list, nil
}

// passedNames gives a name for each descriptor that is passed to process pid. An
// environment for another process, which was inherited by mistake, counts as none.
func passedNames(env func(string) string, pid int) ([]string, error) {
	fds := env("LISTEN_FDS")
	if fds == "" || env("LISTEN_PID") == "" {
		return nil, nil
	}
	forPID, err := strconv.Atoi(env("LISTEN_PID"))
	if err != nil || forPID <= 0 {
		return nil, fmt.Errorf("LISTEN_PID=%q is no process", env("LISTEN_PID"))
	}
	if forPID != pid {
		return nil, nil
	}
	n, err := strconv.Atoi(fds)
	if err != nil || n < 0 || n > maxPassed {
		return nil, fmt.Errorf("LISTEN_FDS=%q is not a number from 0 to %d", fds, maxPassed)
	}
	names := make([]string, n)
	for i := range names {
		names[i] = unnamed
	}
	given := env("LISTEN_FDNAMES")
	if given == "" || n == 0 {
		return names, nil
	}
	list := strings.Split(given, ":")
	if len(list) != n {
		return nil, fmt.Errorf("LISTEN_FDNAMES=%q has %d names for %d sockets", given, len(list), n)
	}
	for i, name := range list {
		if name != "" {
			names[i] = name
		}
	}
	return names, nil
}

// passedListener makes a listener of a descriptor, which it takes. What is no such socket
// is left alone: it may be one of the runtime's.
func passedListener(fd int) (net.Listener, error) {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		return nil, errors.New("is not open")
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return nil, errors.New("is not a socket")
	}
	listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if kind != unix.SOCK_STREAM || err != nil || listening == 0 {
		return nil, errors.New("is not a listening stream socket: it needs ListenStream=, and Accept=no")
	}
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "")
	defer f.Close() // the listener has one of its own
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("cannot be listened on: %w", err)
	}
	return ln, nil
}

// passed hands the passed sockets out, each once.
type passed struct{ left []Socket }

// take gives the sockets called name.
func (p *passed) take(name string) ([]net.Listener, error) {
	var list []net.Listener
	var rest []Socket
	for _, s := range p.left {
		if s.Name == name {
			list = append(list, s.Listener)
		} else {
			rest = append(rest, s)
		}
	}
	p.left = rest
	if len(list) == 0 {
		return nil, fmt.Errorf("listen on %s:%s: systemd has passed no socket of that name to this process", systemdNetwork, name)
	}
	return list, nil
}

// done refuses sockets that nothing listens on: their clients would wait for ever.
func (p *passed) done() error {
	if len(p.left) == 0 {
		return nil
	}
	s := p.left[0]
	return fmt.Errorf("systemd has passed a socket called %q (%s), and no listener of the configuration is %s:%s",
		s.Name, s.Listener.Addr(), systemdNetwork, s.Name)
}

// parsePassed takes the name of sockets that systemd passes.
func parsePassed(name string) (ListenAddr, error) {
	if name == "" || len(name) > 255 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' }) {
		return ListenAddr{}, errPassed
	}
	return ListenAddr{systemdNetwork, name}, nil
}

var errPassed = errors.New("is not the name of a socket: 1 to 255 visible ASCII characters but the colon")
