// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pathgate/backends"
	"pathgate/gateway/control"
	"pathgate/integration/nbdclient"
	spc "pathgate/internal/scsi"
)

const resizeConfig = `
state: DIR/state
control: unix:DIR/control
iscsi: {listen: ["127.0.0.1:3260"]}
nbd: {listen: ["unix:DIR/nbd"], open-wait: 1m}
vms:
  - name: vm1
    clients: shared
    disks: [{name: root, file: DIR/root, size: 1MiB, max-size: 4MiB, client-resize: grow}]
`

// resizeBed is a gateway with both front-ends and disks in files.
type resizeBed struct {
	*targetBed
	unix string // where NBD listens
}

func newResizeBed(t *testing.T, dir, config string) *resizeBed {
	t.Helper()
	b := &resizeBed{newTargetBed(t, dir, config), filepath.Join(dir, "nbd")}
	ctx, cancel := context.WithCancel(context.Background())
	l := must[net.Listener](t)(net.Listen("unix", b.unix))
	served := make(chan error, 1)
	go func() { served <- b.nbd.Serve(ctx, l) }()
	stop := b.stop
	stopped := false
	b.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-served; err != nil {
				t.Error(err)
			}
			stop()
		}
	}
	t.Cleanup(b.stop)
	b.attachMissing()
	return b
}

// connect makes an NBD client, which is the same one to the gateway each time.
func (b *resizeBed) connect(t *testing.T) *nbdclient.Client {
	t.Helper()
	c := must[*nbdclient.Client](t)(nbdclient.Connect(t.Context(),
		nbdclient.Config{Addr: "unix:" + b.unix, Export: "vm1/root", Timeout: time.Minute}))
	t.Cleanup(func() { c.Close() })
	return c
}

// resize asks for a size over NBD.
func resize(t *testing.T, c *nbdclient.Client, size uint64) nbdclient.Errno {
	t.Helper()
	_, err := c.Do(t.Context(), nbdclient.CmdResize, 0, size, 0, nil)
	var e nbdclient.Errno
	if err != nil && !errors.As(err, &e) {
		t.Fatal(err)
	}
	return e
}

// capacity is what READ CAPACITY(16) tells, in bytes.
func (c *iscsiClient) capacity() uint64 {
	c.t.Helper()
	data, res := c.exec(0, spc.ReadCapacity16{AllocationLength: 32}, nil)
	if !res.OK() {
		c.t.Fatalf("READ CAPACITY: %+v", res)
	}
	k := must[spc.Capacity](c.t)(spc.DecodeCapacity16(data))
	return k.Blocks * uint64(k.BlockSize)
}

// sizes are the events so far about the size of a disk.
func (b *resizeBed) sizes(t *testing.T) (list []string) {
	t.Helper()
	b.bus.Close()
	for e := range b.bus.Subscribe(t.Context(), 0) {
		if e.Kind == KindDiskResized || e.Kind == KindDiskResizeFailed {
			what, _, _ := strings.Cut(e.Message, ", as ")
			list = append(list, e.Kind.String()+" "+e.Disk+": "+what+" "+e.Attr("from")+" "+e.Attr("to"))
		}
	}
	return list
}

// TestH11ResizeReachesEverybody: a disk that an NBD client has grown is grown for that
// client's other connections, for initiators, who are told by 2A/09, for an
// administrator, and after a restart.
func TestH11ResizeReachesEverybody(t *testing.T) {
	dir := t.TempDir()
	b := newResizeBed(t, dir, resizeConfig)
	one, other := b.connect(t), b.connect(t)
	initiator := b.initiator(t, "i", nil)
	if l := initiator.login(b.targetBed, "vm1"); l != nil {
		t.Fatal(l.Err)
	}
	initiator.settle(0)
	if one.Export().Flags&nbdclient.SendResize == 0 || one.Size() != 1<<20 || initiator.capacity() != 1<<20 {
		t.Fatalf("at first: flags %#x, %d bytes", one.Export().Flags, one.Size())
	}
	if _, err := other.WriteAt(blockOf(7), 2<<20-512); !errors.Is(err, nbdclient.ENOSPC) {
		t.Errorf("a write beyond the end: %v", err)
	}
	for range 2 {
		if e := resize(t, one, 2<<20); e != 0 {
			t.Fatal(e)
		}
	}
	if _, err := other.WriteAt(blockOf(7), 2<<20-512); err != nil {
		t.Errorf("another connection writes: %v", err)
	}
	if diff := cmp.Diff([]spc.SenseCode{spc.CodeCapacityChanged}, initiator.settle(0)); diff != "" {
		t.Errorf("the initiator is told: %s", diff)
	}
	if n := initiator.capacity(); n != 2<<20 {
		t.Errorf("the initiator sees %d bytes", n)
	}
	data, res := initiator.exec(0, spc.ReadWrite{LBA: 2<<20/512 - 1, Blocks: 1}, nil)
	if !res.OK() || len(data) != 512 || data[0] != 7 {
		t.Errorf("the initiator reads the last block: %+v", res)
	}
	// Now an administrator.
	admin := (*adminView)(b.Gateway)
	wanted := control.Resize{Size: 3 << 20, Reconnect: true}
	if out, err := admin.ResizeDisk("vm1/root", wanted); err != nil || out.From != 2<<20 || out.Reconnected != 2 {
		t.Errorf("an administrator: %+v, %v", out, err)
	}
	<-one.Done()
	<-other.Done()
	if codes := initiator.settle(0); len(codes) != 1 || initiator.capacity() != 3<<20 {
		t.Errorf("the initiator is told %v, and sees %d bytes", codes, initiator.capacity())
	}
	if c := b.connect(t); c.Size() != 3<<20 {
		t.Errorf("a new client sees %d bytes", c.Size())
	}
	want := []string{
		"disk-resized vm1/root: has 2MiB, 1MiB before 1048576 2097152",
		"disk-resized vm1/root: has 3MiB, 2MiB before 2097152 3145728",
	}
	if diff := cmp.Diff(want, b.sizes(t)); diff != "" {
		t.Errorf("events: %s", diff)
	}
	initiator.logout()
	b.stop()
	// What it has it keeps, whatever the configuration says now.
	b = newResizeBed(t, dir, strings.Replace(resizeConfig, "max-size: 4MiB", "max-size: 2MiB", 1))
	c := b.connect(t)
	if again, more := resize(t, c, 3<<20), resize(t, c, 3<<20+512); again != 0 || more != nbdclient.EPERM {
		t.Errorf("with a lower max-size: %v, %v", again, more)
	}
	got := make([]byte, 512)
	if _, err := c.ReadAt(got, 2<<20-512); err != nil || got[0] != 7 || c.Size() != 3<<20 {
		t.Errorf("after a restart: %d bytes, %d, %v", c.Size(), got[0], err)
	}
}

// TestB47ResizeRefused: what a client may not have it is told, and nothing changes.
func TestB47ResizeRefused(t *testing.T) {
	dir := t.TempDir()
	b := newResizeBed(t, dir, resizeConfig)
	c := b.connect(t)
	for name, tt := range map[string]struct {
		size uint64
		want nbdclient.Errno
	}{
		"shrink":       {512, nbdclient.EPERM},
		"over max":     {4<<20 + 512, nbdclient.EPERM},
		"2^63":         {1 << 63, nbdclient.EPERM},
		"not in whole": {2<<20 + 1, nbdclient.EINVAL},
	} {
		if e := resize(t, c, tt.size); e != tt.want {
			t.Errorf("%s: %v, want %v", name, e, tt.want)
		}
	}
	initiator := b.initiator(t, "i", nil)
	if l := initiator.login(b.targetBed, "vm1"); l != nil {
		t.Fatal(l.Err)
	}
	initiator.settle(0)
	for _, step := range []spc.PersistentReserveOut{{Action: spc.Register}, {Action: spc.Reserve, Type: spc.WriteExclusive}} {
		p := spc.ReserveParameters{Key: 7}
		if step.Action == spc.Register {
			p = spc.ReserveParameters{ActionKey: 7}
		}
		if res := initiator.reserve(step, p); !res.OK() {
			t.Fatalf("%+v: %+v", step, res)
		}
	}
	if e := resize(t, c, 2<<20); e != nbdclient.EPERM {
		t.Errorf("reserved by an initiator: %v", e)
	}
	if st, err := os.Stat(filepath.Join(dir, "root")); err != nil || st.Size() != 1<<20 {
		t.Errorf("the file: %v, %v", st.Size(), err)
	}
	if got := b.sizes(t); len(got) > 0 {
		t.Errorf("events %q", got)
	}
}

// TestB47ResizeFull: no room is told to the client, and to who looks after the gateway.
func TestB47ResizeFull(t *testing.T) {
	b := newResizeBed(t, t.TempDir(), strings.Replace(resizeConfig, "max-size: 4MiB", "max-size: 4096PiB", 1))
	c := b.connect(t)
	if e := resize(t, c, 1<<62); e != nbdclient.ENOSPC {
		t.Error(e)
	}
	if _, err := (*adminView)(b.Gateway).ResizeDisk("vm1/root", control.Resize{Size: 1 << 62}); !errors.Is(err, control.ErrConflict) {
		t.Error(err)
	}
	if n := c.Size(); n != 1<<20 || b.connect(t).Size() != n {
		t.Error("the disk has grown")
	}
	if got := b.sizes(t); len(got) != 2 || !strings.Contains(got[0], "disk-resize-failed vm1/root: cannot have 4096PiB") {
		t.Errorf("events %q", got)
	}
}

// TestResizeByConfiguration: which disks grow, for whom, and why others do not.
func TestResizeByConfiguration(t *testing.T) {
	dir := t.TempDir()
	writeDisk(t, filepath.Join(dir, "ro"))
	b := newResizeBed(t, dir, `
state: DIR/state
control: unix:DIR/control
iscsi: {listen: ["127.0.0.1:3260"]}
nbd: {listen: ["unix:DIR/nbd"]}
vms:
  - name: vm1
    disks:
      - {name: root, file: DIR/free, size: 1MiB, max-size: 2MiB}
      - {name: own, file: DIR/ro, block-size: 512}
      - {name: fixed, file: DIR/fixed, size: 1MiB}
      - {name: read, file: DIR/read, read-only: true}
      - {name: large, file: DIR/large, size: 1MiB, block-size: 4096, max-size: 1GiB}
`)
	if c := b.connect(t); c.Export().Flags&nbdclient.SendResize != 0 || resize(t, c, 2<<20) != nbdclient.EINVAL {
		t.Errorf("a client may: flags %#x", c.Export().Flags)
	}
	admin := (*adminView)(b.Gateway)
	for _, tt := range []struct {
		disk string
		size uint64
		want error  // nil: it grows
		text string // of the error
	}{
		{"vm1/root", 2 << 20, nil, ""},
		{"vm1/root", 2<<20 + 512, control.ErrConflict, "max-size is 2MiB"},
		{"vm1/root", 1 << 20, control.ErrConflict, "it has 2MiB"},
		{"vm1/own", 5 << 20, nil, ""},
		{"vm1/own", 1 << 63, control.ErrConflict, "more than"},
		{"vm1/fixed", 2 << 20, control.ErrConflict, "size: 1MiB without a max-size"},
		{"vm1/fixed", 1 << 20, nil, ""}, // that is what it has
		{"vm1/read", 2 << 20, control.ErrConflict, "only read"},
		{"vm1/large", 1<<20 + 512, control.ErrInvalid, "whole blocks, of 4096 bytes"},
		{"vm1/none", 2 << 20, control.ErrNotFound, "vm1/none"},
	} {
		_, err := admin.ResizeDisk(tt.disk, control.Resize{Size: tt.size, Thin: true})
		if !errors.Is(err, tt.want) || err != nil && !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s to %d: %v", tt.disk, tt.size, err)
		}
	}
	g := must[*Gateway](t)(New(mustParse(t, `
adapters: [{name: vmhba0, address: 127.0.0.1}]
targets: [{portals: [127.0.0.1]}]
vms: [{name: vm1, disks: [{name: lun, lun: gold}, {name: part, lun: silver, offset: 0, size: 1MiB}]}]
`), Options{}))
	for disk, want := range map[string]string{
		"vm1/lun":  "when the target makes gold grow, the disk follows",
		"vm1/part": "that of its extents",
	} {
		_, err := (*adminView)(g).ResizeDisk(disk, control.Resize{Size: 2 << 20, Thin: true})
		if !errors.Is(err, control.ErrConflict) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", disk, err)
		}
	}
	if st, err := os.Stat(filepath.Join(dir, "fixed")); err != nil || st.Size() != 1<<20 {
		t.Errorf("the fixed one: %v", err)
	}
}

// TestResizeOfNothing: a disk that is not there has no size to change, and RESIZE is not
// offered for a device that has its own.
func TestResizeOfNothing(t *testing.T) {
	b := newTargetBed(t, t.TempDir(), resizeConfig)
	if _, err := (*adminView)(b.Gateway).ResizeDisk("vm1/root", control.Resize{Size: 2 << 20, Reconnect: true}); !errors.Is(err, control.ErrConflict) {
		t.Error(err)
	}
	d := b.byName["vm1/root"]
	rt := newTestRouter(t, must[*backends.Memory](t)(backends.NewMemory(1<<20)))
	if err := d.Attach(d.cfg.File, rt); err != nil {
		t.Fatal(err)
	}
	if _, err := d.grower(); !errors.Is(err, errSizeFixed) {
		t.Error(err)
	}
}
