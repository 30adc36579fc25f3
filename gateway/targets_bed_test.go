// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"context"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/backends/iscsi"
	spc "pathgate/internal/scsi"
)

// targetBed is a gateway's iSCSI target in this process: store, disks and server, at
// a portal that the kernel picks. What else a gateway has does not run.
type targetBed struct {
	*Gateway
	portal string
	stop   func() // twice is safe
}

// newTargetBed serves a configuration whose DIR is dir.
func newTargetBed(t *testing.T, dir, text string) *targetBed {
	t.Helper()
	g := must[*Gateway](t)(New(mustParse(t, strings.ReplaceAll(text, "DIR", dir)), Options{}))
	g.store, g.started = openStore(t, g.cfg.State), time.Now()
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	if g.targets, err = g.newTargets(ctx); err != nil {
		t.Fatal(err)
	}
	ln := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	done := make(chan error, 1)
	go func() { done <- g.targets.server.Serve(ctx, ln, g.cfg.ISCSI.portal(0)) }()
	b := &targetBed{Gateway: g, portal: ln.Addr().String()}
	stopped := false
	b.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		g.targets.close()
		if err := g.closeDisks(); err != nil {
			t.Error(err)
		}
		if err := g.store.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(b.stop)
	return b
}

// writeDisk makes a file of a mebibyte that is a disk.
func writeDisk(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
}

// iscsiClient is an initiator of our own.
type iscsiClient struct {
	t     *testing.T
	k     *iscsi.Connector
	nexus backends.Nexus
	isid  byte // added to the ISID: others do not end its sessions
}

// initiator is not logged in yet. chap may be nil.
func (b *targetBed) initiator(t *testing.T, name string, chap *iscsi.CHAP) *iscsiClient {
	t.Helper()
	return newISCSIClient(t, name, chap)
}

func newISCSIClient(t *testing.T, name string, chap *iscsi.CHAP) *iscsiClient {
	t.Helper()
	c := &iscsiClient{t: t}
	c.k = must[*iscsi.Connector](t)(iscsi.New(iscsi.Config{
		InitiatorName: "iqn.2026-11.test:" + name, Adapter: name,
		Timeouts: iscsi.Timeouts{
			NOPInterval: time.Minute, NOPTimeout: time.Minute,
			Login: time.Minute, FenceLogin: time.Minute, Command: time.Minute,
		},
		ISID:         func(string, uint16, string) ([6]byte, error) { return [6]byte{0x80, 1, 2, 3, 4, 5 + c.isid}, nil },
		CHAP:         func(string) *iscsi.CHAP { return chap },
		HeaderDigest: iscsi.DigestPrefer, DataDigest: iscsi.DigestPrefer,
	}))
	return c
}

// names are the targets that discovery tells.
func (c *iscsiClient) names(b *targetBed) (names []string, err error) {
	found, err := c.k.Discover(c.t.Context(), b.portal)
	for _, p := range found {
		names = append(names, strings.TrimPrefix(p.Target, "iqn.2026-11.internal.pathgate:"))
	}
	return names, err
}

// login waits for the outcome of a login to a VM's target.
func (c *iscsiClient) login(b *targetBed, vm string) *backends.Loss {
	c.t.Helper()
	return c.loginTo(b.cfg.ISCSI.TargetName(vm), b.portal)
}

func (c *iscsiClient) loginTo(target, portal string) *backends.Loss {
	c.t.Helper()
	h := &loginListener{make(chan struct{}, 1), make(chan backends.Loss, 1)}
	c.nexus = c.k.Connect(backends.TargetPortal{Target: target, Portal: portal}, h)
	c.t.Cleanup(c.logout)
	select {
	case <-h.up:
		return nil
	case l := <-h.down:
		return &l
	}
}

func (c *iscsiClient) logout() { _ = c.nexus.Close(context.Background()) }

// loginListener is told of one login.
type loginListener struct {
	up   chan struct{}
	down chan backends.Loss
}

func (l *loginListener) Up(*backends.Batch, backends.Nexus, backends.Login) {
	select {
	case l.up <- struct{}{}:
	default:
	}
}

func (l *loginListener) Down(_ *backends.Batch, _ backends.Nexus, d backends.Loss) {
	select {
	case l.down <- d:
	default:
	}
}

func (*loginListener) Async(*backends.Batch, backends.Nexus, backends.AsyncEvent)      {}
func (*loginListener) UnitAttention(*backends.Batch, backends.Session, backends.Sense) {}

// exec carries a CDB out, and gives its data and its sense code.
func (c *iscsiClient) exec(lun uint16, cdb interface{ Encode(*[16]byte) int }, out []byte) ([]byte, backends.Result) {
	c.t.Helper()
	cmd := &backends.Command{}
	cdb.Encode(&cmd.CDB)
	if len(out) > 0 {
		cmd.Out.AppendBytes(out)
	} else {
		cmd.MaxIn = 4096
	}
	return c.run(lun, cmd)
}

func (c *iscsiClient) run(lun uint16, cmd *backends.Command) ([]byte, backends.Result) {
	done := make(chan struct{})
	cmd.Timeout, cmd.Done = time.Minute, func(*backends.Batch, *backends.Command) { close(done) }
	var b backends.Batch
	c.nexus.Session(lun).Exec(&b, cmd)
	b.Run()
	<-done
	cmd.Out.Release()
	data := bytes.Clone(cmd.In.Bytes())
	cmd.In.Release()
	return data, cmd.Result
}

// settle takes the unit attentions of a LUN, and gives their codes.
func (c *iscsiClient) settle(lun uint16) (codes []spc.SenseCode) {
	c.t.Helper()
	for range 10 {
		cmd := &backends.Command{}
		_, res := c.run(lun, cmd) // TEST UNIT READY is all zeros
		if res.OK() {
			return codes
		}
		s, err := spc.DecodeSense(cmd.Raw)
		if err != nil {
			c.t.Fatalf("LUN %d: %+v", lun, res)
		}
		if codes = append(codes, s.Code()); s.Key != spc.UnitAttention {
			return codes
		}
	}
	c.t.Fatalf("LUN %d: %v", lun, codes)
	return nil
}

func (c *iscsiClient) luns() (numbers []uint16) {
	c.t.Helper()
	data, res := c.exec(0, spc.ReportLUNs{AllocationLength: 4096}, nil)
	if !res.OK() {
		c.t.Fatalf("REPORT LUNS: %+v", res)
	}
	for _, n := range must[spc.LUNList](c.t)(spc.DecodeLUNList(data, 100)).LUNs {
		numbers = append(numbers, uint16(n.LUN))
	}
	return numbers
}

// outside writes or reads a block as an NBD client does.
func (b *targetBed) outside(t *testing.T, disk string, op backends.Op) backends.Class {
	t.Helper()
	d := b.byName[disk]
	x := &outsider{d.Disk, d}
	got := make(chan backends.Class, 1)
	r := &backends.Request{Op: op, Length: 512, Completer: completion(func(res backends.Result) { got <- res.Class })}
	if op == backends.Write {
		r.Data.AppendBytes(make([]byte, 512))
	}
	var batch backends.Batch
	x.Submit(&batch, []*backends.Request{r})
	batch.Run()
	class := <-got
	r.Data.Release()
	return class
}

// completion is a Completer of one function.
type completion func(backends.Result)

func (f completion) Complete(_ *backends.Batch, _ *backends.Request, res backends.Result) { f(res) }
