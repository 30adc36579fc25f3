// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pathgate/backends"
	"pathgate/integration/nbdclient"
	spc "pathgate/internal/scsi"
)

const oneDisk = `
state: DIR/state
control: unix:DIR/control
iscsi: {listen: ["127.0.0.1:3260"]}
nbd: {listen: ["unix:DIR/nbd"], open-wait: 1m}
vms:
  - name: vm1
    clients: MODE
    disks: [{name: root, file: DIR/root, MORE}]
`

// ownerBed is a gateway with both front-ends and one disk, whose device can hold
// requests back.
type ownerBed struct {
	*targetBed
	disk *servedDisk
	hold *backends.HoldFault
	unix string // where NBD listens
	tcp  string // likewise: to a client at another address
}

// newOwnerBed serves oneDisk in a mode, with further keys of the disk.
func newOwnerBed(t *testing.T, mode ClientsMode, more string) *ownerBed {
	t.Helper()
	dir := t.TempDir()
	if more == "" {
		more = "size: 1MiB"
	}
	text := strings.NewReplacer("MODE", string(mode), "MORE", more).Replace(oneDisk)
	b := &ownerBed{targetBed: newTargetBed(t, dir, text), unix: "unix:" + filepath.Join(dir, "nbd")}
	ctx, cancel := context.WithCancel(context.Background())
	unix := must[net.Listener](t)(net.Listen("unix", filepath.Join(dir, "nbd")))
	tcp := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	b.tcp = tcp.Addr().String()
	served := make(chan error, 2)
	for _, l := range []net.Listener{unix, tcp} {
		go func() { served <- b.nbd.Serve(ctx, l) }()
	}
	memory := must[*backends.Memory](t)(backends.NewMemory(1 << 20))
	b.hold = backends.NewHoldFault(memory)
	t.Cleanup(func() { // before that of the target bed
		b.hold.Release()
		cancel()
		for range 2 {
			if err := <-served; err != nil {
				t.Error(err)
			}
		}
	})
	b.disk = b.byName["vm1/root"]
	rt := b.shareRouter(b.hold, FileDevice(b.disk.cfg.File), b.disk.cfg.File)
	t.Cleanup(rt.Close)
	if err := errors.Join(b.disk.Attach(b.disk.cfg.File, rt), b.targets.show(b.disk)); err != nil {
		t.Fatal(err)
	}
	b.tellAvailability(b.disk)
	return b
}

// connect makes an NBD client. Those at one address of this process are one client to
// the gateway, those at the unix socket another one.
func (b *ownerBed) connect(t *testing.T, addr string) (*nbdclient.Client, error) {
	t.Helper()
	c, err := nbdclient.Connect(t.Context(), nbdclient.Config{Addr: addr, Export: "vm1/root", Timeout: time.Minute})
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

func (b *ownerBed) mustConnect(t *testing.T, addr string) *nbdclient.Client {
	t.Helper()
	return must[*nbdclient.Client](t)(b.connect(t, addr))
}

// in logs an initiator in, and takes the unit attentions of its disk.
func (b *ownerBed) in(t *testing.T, name string) *iscsiClient {
	t.Helper()
	c := b.initiator(t, name, nil)
	if l := c.login(b.targetBed, "vm1"); l != nil {
		t.Fatalf("%s: %v", name, l.Err)
	}
	c.settle(0)
	return c
}

// write writes a block of fill, and gives how that ended.
func (c *iscsiClient) write(fill byte) backends.Class {
	c.t.Helper()
	_, res := c.exec(0, spc.ReadWrite{Write: true, Blocks: 1}, blockOf(fill))
	return res.Class
}

// read gives the first byte of the disk.
func (c *iscsiClient) read() (byte, backends.Class) {
	c.t.Helper()
	data, res := c.exec(0, spc.ReadWrite{Blocks: 1}, nil)
	if !res.OK() || len(data) != 512 {
		return 0, res.Class
	}
	return data[0], res.Class
}

func blockOf(fill byte) []byte {
	b := make([]byte, 512)
	for i := range b {
		b[i] = fill
	}
	return b
}

// waitUntil waits for what is bound to come.
func waitUntil(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not in a minute: %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

// refusedBy tells whether err is the refusal of an export, whose text has all of want.
func refusedBy(err error, want ...string) bool {
	o, ok := errors.AsType[*nbdclient.OptionError](err)
	ok = ok && o.Type == nbdclient.RepErrPolicy
	for _, w := range want {
		ok = ok && strings.Contains(o.Message, w)
	}
	return ok
}

// kinds are those of the events so far that are about the owner of a disk, and who it
// was.
func (b *ownerBed) kinds(t *testing.T) (list []string) {
	t.Helper()
	b.bus.Close()
	for e := range b.bus.Subscribe(t.Context(), 0) {
		if e.Kind == KindDiskOwnedElsewhere || e.Kind == KindDiskTakenOver || e.Kind == KindDiskReleased {
			list = append(list, e.Kind.String()+" "+e.Disk+": "+e.Message)
		}
	}
	return list
}

// TestOwnerExclusive: who uses a disk first has it, over both front-ends, and the others
// are told who that is.
func TestOwnerExclusive(t *testing.T) {
	b := newOwnerBed(t, ClientsExclusive, "")
	one, two := b.in(t, "one"), b.in(t, "two")
	if got := b.disk.own.owner(); got != "" {
		t.Errorf("a disk that was only looked at is owned by %s", got)
	}
	if got := one.write(1); got != backends.OK {
		t.Fatal(got)
	}
	if _, got := two.read(); got != backends.ReservationConflict {
		t.Errorf("the second initiator reads: %v", got)
	}
	if got := two.write(2); got != backends.ReservationConflict {
		t.Errorf("the second initiator writes: %v", got)
	}
	for _, cdb := range []interface{ Encode(*[16]byte) int }{
		spc.Inquiry{AllocationLength: 96}, spc.ReadCapacity16{AllocationLength: 32}, spc.PersistentReserveIn{AllocationLength: 32},
	} {
		if _, res := two.exec(0, cdb, nil); !res.OK() {
			t.Errorf("the second initiator looks by %T: %+v", cdb, res)
		}
	}
	if res := two.reserve(spc.PersistentReserveOut{Action: spc.Register}, spc.ReserveParameters{ActionKey: 7}); res.Class != backends.ReservationConflict {
		t.Errorf("the second initiator registers: %v", res.Class)
	}
	const who = "in use by initiator iqn.2026-11.test:one"
	if _, err := b.connect(t, b.unix); !refusedBy(err, "vm1/root", who) {
		t.Errorf("over NBD: %v", err)
	}
	if _, err := nbdclient.Info(t.Context(), b.unix, "vm1/root"); err != nil {
		t.Errorf("to look at it over NBD: %v", err)
	}
	three := b.initiator(t, "three", nil)
	if l := three.login(b.targetBed, "vm1"); l == nil || l.Class != backends.LossRefused {
		t.Errorf("a third initiator that would find nothing: %+v", l)
	}
	again := b.initiator(t, "one", nil)
	again.isid = 1
	if l := again.login(b.targetBed, "vm1"); l != nil {
		t.Fatal(l.Err)
	}
	again.settle(0)
	if got, class := again.read(); got != 1 || class != backends.OK {
		t.Errorf("another session of the owner reads %d, %v", got, class)
	}
	one.logout()
	if got := again.write(3); got != backends.OK {
		t.Errorf("when one of two sessions has gone: %v", got)
	}
	again.logout()
	// It is free: NBD gets it now.
	c := b.mustConnect(t, b.unix)
	if got := b.disk.own.owner(); !strings.Contains(got, "(") || !strings.HasSuffix(got, "over NBD") {
		t.Errorf("owned by %q", got)
	}
	if _, got := two.read(); got != backends.ReservationConflict {
		t.Errorf("an initiator reads what is used over NBD: %v", got)
	}
	if _, err := b.connect(t, b.tcp); !refusedBy(err, "in use by process ") {
		t.Errorf("another NBD client: %v", err)
	}
	more := b.mustConnect(t, b.unix)
	if _, err := more.WriteAt(blockOf(4), 0); err != nil {
		t.Error(err)
	}
	if err := errors.Join(c.Disconnect(t.Context()), more.Disconnect(t.Context())); err != nil {
		t.Error(err)
	}
	waitUntil(t, "the disk is free", func() bool { return b.disk.own.owner() == "" })
	if got, class := two.read(); got != 4 || class != backends.OK {
		t.Errorf("at last: %d, %v", got, class)
	}
	kinds := b.kinds(t)
	const first = "disk-owned-elsewhere vm1/root: " + who
	if len(kinds) < 3 || kinds[0] != first || kinds[1] != first || kinds[2] != first {
		t.Errorf("events %q", kinds)
	}
}

// TestOwnerResets: who does not have a disk ends no task on it and no session.
func TestOwnerResets(t *testing.T) {
	b := newOwnerBed(t, ClientsExclusive, "")
	one, two := b.in(t, "one"), b.in(t, "two")
	reset := func(c *iscsiClient) backends.TMResponse {
		done := make(chan struct{})
		f := &backends.TaskManagement{Function: backends.LUNReset, Timeout: time.Minute}
		f.Done = func(*backends.Batch, *backends.TaskManagement) { close(done) }
		var batch backends.Batch
		c.nexus.Session(0).TMF(&batch, f)
		batch.Run()
		<-done
		return f.Response
	}
	if got := one.write(1); got != backends.OK {
		t.Fatal(got)
	}
	if got := reset(two); got != backends.TMRefused {
		t.Errorf("the second initiator resets: %v", got)
	}
	if got := one.settle(0); len(got) > 0 {
		t.Errorf("the owner was told %v", got)
	}
	if got := reset(one); got != backends.TMComplete {
		t.Errorf("the owner resets: %v", got)
	}
}

// TestOwnerTakeover: a second client gets the disk when the last request of the first one
// has ended, and the first one does not take it back while the second one is there.
func TestOwnerTakeover(t *testing.T) {
	b := newOwnerBed(t, ClientsTakeover, "")
	one, two := b.in(t, "one"), b.in(t, "two")
	if got := one.write(1); got != backends.OK {
		t.Fatal(got)
	}
	b.hold.Hold(&backends.FaultRule{Ops: backends.Ops(backends.Write)})
	late := make(chan backends.Class)
	go func() { late <- one.write(2) }()
	waitUntil(t, "a write is on its way", func() bool { return b.hold.Counts().Waiting == 1 })
	waitUntil(t, "the second initiator has the disk", func() bool {
		fill, class := two.read()
		if class == backends.OK && fill != 1 {
			t.Errorf("reads %d", fill)
		}
		return class == backends.OK
	})
	if n := b.hold.Counts().Waiting; n != 0 {
		t.Errorf("%d requests of the first one are left", n)
	}
	b.hold.Release()
	if got := <-late; got == backends.OK {
		t.Error("the write that was cut off has succeeded")
	}
	if got := two.write(3); got != backends.OK {
		t.Error(got)
	}
	if diff := cmp.Diff([]spc.SenseCode{spc.CodeReservationsPreempted}, one.settle(0)); diff != "" {
		t.Error(diff)
	}
	if _, got := one.read(); got != backends.ReservationConflict {
		t.Errorf("the first one reads: %v", got)
	}
	// NBD takes it from an initiator, and is cut off by a third client in its turn.
	c := b.mustConnect(t, b.unix)
	if _, err := c.WriteAt(blockOf(5), 0); err != nil {
		t.Error(err)
	}
	two.settle(0)
	if _, got := two.read(); got != backends.ReservationConflict {
		t.Errorf("the second one reads: %v", got)
	}
	d := b.mustConnect(t, b.tcp)
	<-c.Done()
	if _, err := b.connect(t, b.unix); !refusedBy(err, "in use by NBD client at 127.0.0.1") {
		t.Errorf("the client that was cut off: %v", err)
	}
	data := make([]byte, 512)
	if _, err := d.ReadAt(data, 0); err != nil || data[0] != 5 {
		t.Errorf("reads %d, %v", data[0], err)
	}
	var over int
	for _, k := range b.kinds(t) {
		if strings.HasPrefix(k, "disk-taken-over vm1/root: ") {
			over++
		}
	}
	if over != 3 {
		t.Errorf("%d events of a takeover", over)
	}
}

// TestP10ReplacedNBDConnection: before the first request of a connection runs, every request
// that the same client has sent over one that it closed has ended.
func TestP10ReplacedNBDConnection(t *testing.T) {
	for _, mode := range []ClientsMode{ClientsExclusive, ClientsTakeover, ClientsShared} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel() // each waits for the grace of those who have left
			b := newOwnerBed(t, mode, "")
			old := b.mustConnect(t, b.unix)
			b.hold.Hold(&backends.FaultRule{Ops: backends.Ops(backends.Write)})
			failed := make(chan error)
			go func() {
				_, err := old.WriteAt(blockOf(1), 0)
				failed <- err
			}()
			waitUntil(t, "the write is on its way", func() bool { return b.hold.Counts().Waiting == 1 })
			old.Close()
			if err := <-failed; err == nil {
				t.Error("answered")
			}
			c := b.mustConnect(t, b.unix)
			if n := b.hold.Counts().Waiting; n != 0 {
				t.Errorf("%d requests of the old connection are left", n)
			}
			b.hold.Release()
			if _, err := c.WriteAt(blockOf(2), 0); err != nil {
				t.Fatal(err)
			}
			data := make([]byte, 512)
			if _, err := c.ReadAt(data, 0); err != nil || data[0] != 2 {
				t.Errorf("reads %d, %v", data[0], err)
			}
		})
	}
}

// TestH04OneConnection: where a client has one connection only, a newer one takes the
// place of the older one, which looks alive: nothing of that runs any more.
func TestH04OneConnection(t *testing.T) {
	b := newOwnerBed(t, ClientsExclusive, "size: 1MiB, multi-conn: never")
	old := b.mustConnect(t, b.tcp)
	if old.Export().Flags&nbdclient.CanMultiConn != 0 {
		t.Error("the client is told that it may have several connections")
	}
	e := must[nbdclient.Export](t)(nbdclient.Info(t.Context(), b.tcp, "vm1/root"))
	if e.Flags != old.Export().Flags {
		t.Errorf("INFO tells %v, GO %v", e.Flags, old.Export().Flags)
	}
	select {
	case <-old.Done():
		t.Error("to look at a disk ends a connection")
	default:
	}
	b.hold.Hold(&backends.FaultRule{Ops: backends.Ops(backends.Write)})
	failed := make(chan error)
	go func() {
		_, err := old.WriteAt(blockOf(1), 0)
		failed <- err
	}()
	waitUntil(t, "the write is on its way", func() bool { return b.hold.Counts().Waiting == 1 })
	c := b.mustConnect(t, b.tcp)
	if n := b.hold.Counts().Waiting; n != 0 {
		t.Errorf("%d requests of the old connection are left", n)
	}
	if err := <-failed; err == nil {
		t.Error("answered")
	}
	<-old.Done()
	b.hold.Release()
	if _, err := c.WriteAt(blockOf(2), 0); err != nil {
		t.Error(err)
	}
}

// TestOwnerRelease: an administrator takes the disk from a client for another one.
func TestOwnerRelease(t *testing.T) {
	b := newOwnerBed(t, ClientsExclusive, "")
	c := b.mustConnect(t, b.unix)
	admin := (*adminView)(b.Gateway)
	if d := admin.Disks()[0]; d.Clients != "exclusive" || d.Owner != b.disk.own.owner() || d.Owner == "" {
		t.Errorf("shown as %s of %q", d.Clients, d.Owner)
	}
	if s := admin.Sessions()[0]; s.Client != b.disk.own.owner() {
		t.Errorf("the session is that of %q", s.Client)
	}
	owner := b.disk.own.owner()
	if diff := cmp.Diff([]string{owner}, must[[]string](t)(admin.ReleaseDisk("vm1/root"))); diff != "" {
		t.Error(diff)
	}
	<-c.Done()
	if _, err := b.connect(t, b.unix); !refusedBy(err, "kept from this client for a while") {
		t.Errorf("the client that was thrown out: %v", err)
	}
	one := b.in(t, "one")
	waitUntil(t, "the initiator has the disk", func() bool { return one.write(1) == backends.OK })
	if _, err := b.connect(t, b.unix); !refusedBy(err, "in use by initiator") {
		t.Errorf("the client that was thrown out: %v", err)
	}
	if got := must[[]string](t)(admin.ReleaseDisk("vm1/root")); len(got) != 1 {
		t.Errorf("released from %q", got)
	}
	one.settle(0)
	if _, got := one.read(); got != backends.ReservationConflict {
		t.Errorf("the initiator reads: %v", got)
	}
	if _, err := admin.ReleaseDisk("vm1/none"); err == nil {
		t.Error("a disk that does not exist was released")
	}
}

// TestOwnerReadOnly: a disk that nobody can change is for everyone.
func TestOwnerReadOnly(t *testing.T) {
	b := newOwnerBed(t, ClientsExclusive, "read-only: true")
	one, two := b.in(t, "one"), b.in(t, "two")
	b.mustConnect(t, b.unix)
	b.mustConnect(t, b.tcp)
	for _, c := range []*iscsiClient{one, two} {
		if _, got := c.read(); got != backends.OK {
			t.Error(got)
		}
	}
}
