// SPDX-License-Identifier: Apache-2.0

package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	// maxSocketPath is sizeof(sun_path) less the final zero (unix(7)).
	maxSocketPath = 107
	// lockWait bounds the wait for another process that opens a socket in the same
	// directory, and dialWait that for an answer of who may own the socket file.
	lockWait = 2 * time.Second
	dialWait = time.Second
	// listenBacklog is how many clients may wait to be accepted.
	listenBacklog = 128
)

// Listen makes a unix socket at path with the given mode (0600 or 0660), which it has
// before the first client can connect. The directory is made when it is missing, for
// the owner, and for the group if mode is.
//
// A socket file that nobody answers on is left by a gateway that was killed; it is
// replaced. One that somebody answers on, and any other file, is an error that says
// so. Close of the listener removes the file, if it is still its own.
func Listen(path string, mode fs.FileMode) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("socket %s: the path is longer than %d bytes", path, maxSocketPath)
	}
	dir := filepath.Dir(path)
	dirMode := fs.FileMode(0o700)
	if mode&0o070 != 0 {
		dirMode = 0o750
	}
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	defer unlock()
	l, err := bind(path, mode)
	if errors.Is(err, syscall.EADDRINUSE) {
		if err := removeStale(path); err != nil {
			return nil, err
		}
		l, err = bind(path, mode)
	}
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	return l, nil
}

// bind makes the socket. Between bind and listen a connect is refused, so nobody
// gets in before the mode is set; lockDir keeps others from taking it for stale.
func bind(path string, mode fs.FileMode) (net.Listener, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close() // net.FileListener has its own
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		return nil, fmt.Errorf("bind: %w", err)
	}
	l := &listener{path: path}
	if l.Listener, err = ready(f, fd, path, mode); err == nil {
		l.file, err = os.Lstat(path)
	}
	if err != nil {
		_ = os.Remove(path) // ours: bind made it
		return nil, err
	}
	return l, nil
}

func ready(f *os.File, fd int, path string, mode fs.FileMode) (net.Listener, error) {
	if err := os.Chmod(path, mode); err != nil {
		return nil, err
	}
	if err := syscall.Listen(fd, listenBacklog); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return net.FileListener(f)
}

// removeStale removes a socket file that nobody answers on.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("socket %s: %w", path, err)
	case st.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("socket %s: there is a file of another kind; move it away, or choose another path", path)
	}
	c, err := net.DialTimeout("unix", path, dialWait)
	switch {
	case err == nil:
		c.Close()
		return fmt.Errorf("socket %s: another process answers on it; stop that one first, or choose another path", path)
	case !errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("socket %s: cannot tell whether it is in use: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("socket %s: %w", path, err)
	}
	return nil
}

// lockDir keeps other gateways that start in the same directory out, so that two
// never replace one stale socket, each with its own.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(lockWait); ; time.Sleep(5 * time.Millisecond) {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return func() { f.Close() }, nil
		case err != syscall.EINTR && err != syscall.EWOULDBLOCK || time.Now().After(end):
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
	}
}

// listener removes its socket file when it is closed.
type listener struct {
	net.Listener
	path string
	file fs.FileInfo
	once sync.Once
}

// Close removes the file first: while the socket is open, no other file can have the
// same number.
func (l *listener) Close() error {
	var err error
	l.once.Do(func() {
		if st, serr := os.Lstat(l.path); serr == nil && os.SameFile(st, l.file) {
			err = os.Remove(l.path)
		}
	})
	return errors.Join(l.Listener.Close(), err)
}
