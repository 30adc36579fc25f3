// SPDX-License-Identifier: Apache-2.0

package nbdattach

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pathgate/backends"
)

// fakeDriver keeps the rules of drivers/block/nbd.c for one device: it holds references
// to sockets, tells of dead ones, and takes a new one only for a dead one.
type fakeDriver struct {
	t   *testing.T
	sys string // what it shows of the device, as sysfs does

	mu      sync.Mutex
	socks   []*fakeSocket
	timeout uint64
	busy    int // connects that find the device in use
	last    settings
	tell    func(index int)
}

type fakeSocket struct {
	file *os.File
	dead bool
}

func (f *fakeDriver) fileOf(fd int) *os.File {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		f.t.Error(err)
	}
	return os.NewFile(uintptr(dup), "socket")
}

func (f *fakeDriver) own(fd int) *fakeSocket {
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: int64(f.timeout)}); err != nil {
		f.t.Error(err)
	}
	return &fakeSocket{file: f.fileOf(fd)}
}

func (f *fakeDriver) show(name, text string) {
	name = filepath.Join(f.sys, "nbd5", name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text+"\n"), 0o600)); err != nil {
		f.t.Error(err)
	}
}

func (f *fakeDriver) connect(s *settings) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy > 0 || len(f.socks) > 0 {
		f.busy--
		return 0, ErrInUse
	}
	f.last, f.timeout = *s, s.timeout
	for _, fd := range s.sockets {
		f.socks = append(f.socks, f.own(fd))
	}
	f.show("pid", "1")
	f.show("backend", s.backend)
	f.show("ro", "0")
	f.show("queue/logical_block_size", fmt.Sprint(s.blockSize))
	f.show("queue/max_sectors_kb", "128")
	f.show("size", fmt.Sprint(s.size/512))
	return 5, nil
}

func (f *fakeDriver) reconfigure(s *settings) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.index != 5 || s.backend != "pathgate:vm1/root" || len(f.socks) == 0 {
		return unix.EINVAL
	}
	if s.size != 0 {
		f.show("size", fmt.Sprint(s.size/512))
	}
	for _, fd := range s.sockets {
		i := slices.IndexFunc(f.socks, func(s *fakeSocket) bool { return s.dead })
		if i < 0 {
			return nil
		}
		f.socks[i].file.Close()
		f.socks[i] = f.own(fd)
	}
	return nil
}

func (f *fakeDriver) disconnect(int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.socks {
		_ = unix.Shutdown(int(s.file.Fd()), unix.SHUT_RDWR)
		s.file.Close()
	}
	f.socks = nil
	return os.Remove(filepath.Join(f.sys, "nbd5", "pid"))
}

func (f *fakeDriver) connected(int) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.socks) > 0, nil
}

func (f *fakeDriver) links(ctx context.Context, dead func(int)) error {
	f.mu.Lock()
	f.tell = dead
	f.mu.Unlock()
	dead(-1)
	<-ctx.Done()
	return nil
}

// cut loses the first n connections.
func (f *fakeDriver) cut(n int) {
	f.mu.Lock()
	for _, s := range f.socks[:n] {
		_ = unix.Shutdown(int(s.file.Fd()), unix.SHUT_RDWR)
		s.dead = true
	}
	tell := f.tell
	f.mu.Unlock()
	if tell != nil {
		for range n {
			tell(5)
		}
	}
}

// heard tells whether somebody listens.
func (f *fakeDriver) heard() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tell != nil
}

// serves tells whether each connection is alive and answered by the server.
func (f *fakeDriver) serves() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, s := range f.socks {
		if s.dead {
			return fmt.Errorf("connection %d is dead", i)
		}
		c, err := net.FileConn(s.file)
		if err != nil {
			return err
		}
		err = errors.Join(c.SetDeadline(time.Now().Add(time.Minute)), readBlock(c, uint64(i)), c.Close())
		if err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
	}
	return nil
}

// bed is a server at a unix socket, a driver and what an attach says.
type bed struct {
	*fakeDriver
	cfg Config
	mu  sync.Mutex
	log []string
}

func newBed(t *testing.T, e *exports) *bed {
	t.Helper()
	dir := t.TempDir()
	ln, err := net.Listen("unix", filepath.Join(dir, "nbd.sock"))
	if err != nil {
		t.Fatal(err)
	}
	serve(t, e, ln)
	b := &bed{fakeDriver: &fakeDriver{t: t, sys: filepath.Join(dir, "sys")}}
	b.cfg = Config{
		Addresses: []string{"unix:/nowhere/nbd.sock", "unix:" + ln.Addr().String()}, Export: "vm1/root", Index: 5,
		look: 5 * time.Millisecond, kernel: b.fakeDriver, host: host{sys: b.sys, dev: filepath.Join(dir, "dev")},
		Log: func(format string, args ...any) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.log = append(b.log, fmt.Sprintf(format, args...))
		},
	}
	return b
}

func (b *bed) said(want string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(strings.Join(b.log, "\n"), want)
}

func (b *bed) attach(t *testing.T) *Device {
	t.Helper()
	d, err := Attach(t.Context(), b.cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// supervise runs Supervise until stop is called, which gives what it returned.
func supervise(t *testing.T, d *Device) (stop func() error, ended chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended = make(chan error, 1)
	go func() { ended <- d.Supervise(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	return stop, ended
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal(what)
		}
	}
}

// TestAttachAndReconnect: connections that are lost, one and all, are made anew; the
// device is taken over by a second process, and taken down.
func TestAttachAndReconnect(t *testing.T) {
	b := newBed(t, &exports{})
	b.busy = 2 // udev looks at it
	d := b.attach(t)
	const flags = HasFlags | SendFlush | SendFUA | SendTrim | SendWriteZeroes | CanMultiConn
	if s := b.last; len(s.sockets) != 4 || s.size != diskSize || s.blockSize != 512 || s.timeout != 30 || s.deadTimeout != 300 ||
		s.flags&flags != flags || s.flags&ReadOnly != 0 || s.clientFlags != 0 {
		t.Errorf("the kernel was given %+v", s)
	}
	if d.Size() != diskSize || d.Connections() != 4 || !strings.HasSuffix(d.Name(), "/dev/nbd5") {
		t.Errorf("%s, %d bytes, %d connections", d.Name(), d.Size(), d.Connections())
	}
	if _, err := Attach(t.Context(), b.cfg); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "looks after it") {
		t.Errorf("a second time: %v", err)
	}
	stop, _ := supervise(t, d)
	for _, n := range []int{1, 4, 2} {
		eventually(t, "nobody listens", b.heard)
		b.cut(n)
		eventually(t, "not connected again", func() bool { return b.serves() == nil })
	}
	if err := stop(); err != nil || !b.said("connected again, 4 of 4") {
		t.Errorf("%v: %q", err, b.log)
	}
	d.Close()

	// Another process: two were lost meanwhile, and two more later.
	b.fakeDriver.mu.Lock()
	b.tell = nil
	b.fakeDriver.mu.Unlock()
	b.cut(2)
	other := b.cfg
	other.Export = "vm1/data"
	if _, err := Attach(t.Context(), other); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "vm1/root") {
		t.Errorf("another disk: %v", err)
	}
	d = b.attach(t)
	stop, ended := supervise(t, d)
	eventually(t, "not taken over", func() bool { return b.serves() == nil })
	b.cut(4)
	eventually(t, "not connected again", func() bool { return b.serves() == nil })
	if err := b.disconnect(5); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	ended <- nil // for stop
	if err := stop(); err != nil {
		t.Error(err)
	}
	if err := d.Detach(); !errors.Is(err, ErrNotAttached) {
		t.Errorf("detached twice: %v", err)
	}
}

// TestAttachRefused: what the export is does not suit the kernel, the device or what
// was there before.
func TestAttachRefused(t *testing.T) {
	e := &exports{}
	b := newBed(t, e)
	cfg := b.cfg
	cfg.Export = "vm1/none"
	if _, err := Attach(t.Context(), cfg); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "vm1/none at ") {
		t.Errorf("unknown disk: %v", err)
	}
	d := b.attach(t)
	stop, _ := supervise(t, d)
	eventually(t, "nobody listens", b.heard)
	small, err := backends.NewMemory(diskSize / 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	big := e.dev
	e.set(small)
	stop, _ = supervise(t, d)
	b.cut(4)
	eventually(t, "the smaller disk is not told", func() bool { return b.said("not connected again: vm1/root has 4194304 bytes, and had 8388608") })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if err := d.Detach(); !errors.Is(err, ErrNotConnected) {
		t.Errorf("detached without a connection: %v", err)
	}
	d.Close()
	if _, err := Attach(t.Context(), b.cfg); err == nil || !strings.Contains(err.Error(), "the device has 8388608 bytes, the export 4194304") {
		t.Errorf("a smaller disk is taken over: %v", err)
	}
	e.set(big)
	b.show("ro", "1")
	if _, err := Attach(t.Context(), b.cfg); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("a read-only device is taken over: %v", err)
	}
	b.show("ro", "0")
	b.show("queue/logical_block_size", "4096")
	if _, err := Attach(t.Context(), b.cfg); err == nil || !strings.Contains(err.Error(), "blocks of 4096") {
		t.Errorf("other blocks are taken over: %v", err)
	}
	b.show("queue/logical_block_size", "512")
	b.show("backend", "an array")
	if _, err := Attach(t.Context(), b.cfg); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "an array") {
		t.Errorf("somebody else's device is taken over: %v", err)
	}
	if err := detach(b.fakeDriver, b.cfg.host, 5, false); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "an array") {
		t.Errorf("somebody else's device is detached: %v", err)
	}
	if err := detach(b.fakeDriver, b.cfg.host, 5, true); err != nil {
		t.Error(err)
	}
}

// TestAttachGrows: a disk that grows makes the device grow, while it runs and when it
// connects again.
func TestAttachGrows(t *testing.T) {
	e := &exports{}
	b := newBed(t, e)
	b.cfg.LookAgain = time.Nanosecond
	b.cfg.ReadOnly, b.cfg.Destroy, b.cfg.DisconnectOnClose, b.cfg.Connections = true, true, true, 1
	d := b.attach(t)
	if s := b.last; s.flags&ReadOnly == 0 || s.clientFlags != clientDestroyOnDisconnect|clientDisconnectOnClose || len(s.sockets) != 1 {
		t.Errorf("the kernel was given %+v", s)
	}
	size := func(n uint64) func() bool { return func() bool { return b.cfg.host.number(5, "size") == n/512 } }
	grow := func(n uint64) {
		dev, err := backends.NewMemory(n)
		if err != nil {
			t.Fatal(err)
		}
		e.set(dev)
	}
	grow(2 * diskSize)
	stop, _ := supervise(t, d)
	eventually(t, "has not grown", size(2*diskSize))
	if err := stop(); err != nil || !b.said("has grown to 16777216 bytes") {
		t.Errorf("%v: %q", err, b.log)
	}
	grow(3 * diskSize)
	d.cfg.LookAgain = -1
	stop, _ = supervise(t, d)
	b.cut(1)
	eventually(t, "has not grown", size(3*diskSize))
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestLimitRequests: requests are kept below what the server takes, and never made longer.
func TestLimitRequests(t *testing.T) {
	f := &fakeDriver{t: t, sys: t.TempDir()}
	h := host{sys: f.sys}
	f.show("queue/max_sectors_kb", "1280")
	for _, tt := range []struct {
		payload uint32
		want    uint64
	}{{0, 1280}, {32 << 20, 1280}, {1 << 20, 1024}, {2 << 20, 1024}} {
		if err := h.limitRequests(5, tt.payload); err != nil {
			t.Error(err)
		}
		if got := h.number(5, "queue/max_sectors_kb"); got != tt.want {
			t.Errorf("%d bytes: %d KiB, want %d", tt.payload, got, tt.want)
		}
	}
}
