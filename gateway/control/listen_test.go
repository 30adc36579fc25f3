// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"pathgate/gateway/control"
)

// stale leaves a socket file that nobody listens on, as a killed gateway does.
func stale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
}

func TestListenModes(t *testing.T) {
	old := syscall.Umask(0) // no help from there
	defer syscall.Umask(old)
	for _, tt := range []struct{ mode, dir fs.FileMode }{{0o600, 0o700}, {0o660, 0o750}} {
		dir := filepath.Join(t.TempDir(), "run")
		path := filepath.Join(dir, "c.sock")
		l, err := control.Listen(path, tt.mode)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]fs.FileMode{path: tt.mode, dir: tt.dir} {
			if st, err := os.Stat(name); err != nil || st.Mode().Perm() != want {
				t.Errorf("%s: %v, %v; want %v", name, st.Mode(), err, want)
			}
		}
		for range 2 {
			l.Close()
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	}
}

func TestListenStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.sock")
	stale(t, path)
	serveAt(t, path, newFake(), control.Options{})
	if _, err := dial(t, "unix:"+path).Version(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestListenRefuses(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "nowhere"), link); err != nil {
		t.Fatal(err)
	}
	alive := filepath.Join(dir, "alive")
	l, err := control.Listen(alive, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, tt := range []struct{ path, want string }{
		{file, "file of another kind"},
		{link, "file of another kind"},
		{dir, "file of another kind"},
		{alive, "another process answers"},
		{filepath.Join(file, "c.sock"), "not a directory"},
		{filepath.Join(dir, strings.Repeat("x", 120)), "longer than 107"},
	} {
		l, err := control.Listen(tt.path, 0o600)
		if err == nil {
			l.Close()
			t.Errorf("%s was taken", tt.path)
		} else if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.path) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "keep" {
		t.Errorf("the file that was in the way: %q, %v", b, err)
	}
}

// TestListenRace: of many that find the same stale file, one gets the socket, and
// it is the one that answers there.
func TestListenRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.sock")
	stale(t, path)
	var got atomic.Int32
	var winner atomic.Pointer[net.Listener]
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if l, err := control.Listen(path, 0o600); err == nil {
				got.Add(1)
				winner.Store(&l)
			} else if !strings.Contains(err.Error(), "another process answers") {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got.Load() != 1 {
		t.Fatalf("%d got the socket", got.Load())
	}
	defer (*winner.Load()).Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// TestCloseKeepsForeignFile: one that has lost its file to another leaves that alone.
func TestCloseKeepsForeignFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.sock")
	first, err := control.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second, err := control.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	first.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the file of the second one: %v", err)
	}
}
