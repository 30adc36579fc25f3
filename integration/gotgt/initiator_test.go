// SPDX-License-Identifier: Apache-2.0

//go:build integration

package gotgt

import (
	"bytes"
	"context"
	"crypto/rand"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/backends/iscsi"
)

const patience = 60 * time.Second

// path is a session to LUN 1 over one portal.
type path struct {
	t    *testing.T
	n    backends.Nexus
	s    backends.Session
	up   chan backends.Login
	down chan backends.Loss
}

func (p *path) Up(_ *backends.Batch, _ backends.Nexus, l backends.Login)      { p.up <- l }
func (p *path) Down(_ *backends.Batch, _ backends.Nexus, l backends.Loss)     { p.down <- l }
func (*path) Async(*backends.Batch, backends.Nexus, backends.AsyncEvent)      {}
func (*path) UnitAttention(*backends.Batch, backends.Session, backends.Sense) {}

// connect logs in to a portal with our own initiator.
func connect(t *testing.T, target, portal string, lun uint16) *path {
	t.Helper()
	var isid [6]byte
	if _, err := rand.Read(isid[2:]); err != nil {
		t.Fatal(err)
	}
	isid[0] = 0x80
	k, err := iscsi.New(iscsi.Config{
		InitiatorName: "iqn.2026-11.test:host", Adapter: "vmhba0",
		ISID: func(string, uint16, string) ([6]byte, error) { return isid, nil },
		Timeouts: iscsi.Timeouts{
			NOPInterval: time.Second, NOPTimeout: time.Second,
			Login: 5 * time.Second, FenceLogin: 5 * time.Second, Command: 5 * time.Second,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &path{t: t, up: make(chan backends.Login, 100), down: make(chan backends.Loss, 1000)}
	p.n = k.Connect(backends.TargetPortal{Target: target, Portal: portal}, p)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = p.n.Close(ctx) // a target that was killed does not answer
	})
	p.s = p.n.Session(lun)
	p.awaitUp()
	return p
}

// awaitUp waits for a login and makes the session fit for use.
func (p *path) awaitUp() {
	p.t.Helper()
	select {
	case l := <-p.up:
		p.s.SetGeometry(l.Generation, backends.Geometry{LogicalBlock: 512, Size: 8 << 20, FUA: true})
	case <-time.After(patience):
		p.t.Fatalf("no login: %s", p.why())
	}
}

// why gives the last loss.
func (p *path) why() (text string) {
	for len(p.down) > 0 {
		text = (<-p.down).Err.Error()
	}
	return text
}

func (p *path) awaitDown() backends.Loss {
	p.t.Helper()
	select {
	case l := <-p.down:
		return l
	case <-time.After(patience):
		p.t.Fatal("no loss of the session")
		return backends.Loss{}
	}
}

func (p *path) do(op backends.Op, off, n uint64, data []byte) (backends.Result, []byte) {
	p.t.Helper()
	done := make(chan backends.Result, 1)
	r := &backends.Request{Op: op, Offset: off, Length: n}
	r.Data.AppendBytes(data)
	r.Completer = backends.CompleterFunc(func(_ *backends.Batch, _ *backends.Request, res backends.Result) { done <- res })
	var b backends.Batch
	p.s.Submit(&b, []*backends.Request{r})
	b.Run()
	select {
	case res := <-done:
		got := bytes.Clone(r.Data.Bytes())
		r.Reset()
		return res, got
	case <-time.After(patience):
		p.t.Fatalf("%v does not end", op)
		return backends.Result{}, nil
	}
}

func (p *path) write(off uint64, data []byte) {
	p.t.Helper()
	if res, _ := p.do(backends.Write, off, uint64(len(data)), data); !res.OK() {
		p.t.Fatalf("write: %v: %s", res.Err(), p.why())
	}
}

func (p *path) read(off, n uint64) []byte {
	p.t.Helper()
	res, got := p.do(backends.Read, off, n, nil)
	if !res.OK() {
		p.t.Fatalf("read: %v: %s", res.Err(), p.why())
	}
	return got
}

// exec sends a CDB that reads.
func (p *path) exec(in int, cdb ...byte) []byte {
	p.t.Helper()
	done := make(chan struct{})
	c := &backends.Command{MaxIn: in, Done: func(*backends.Batch, *backends.Command) { close(done) }}
	copy(c.CDB[:], cdb)
	var b backends.Batch
	p.s.Exec(&b, c)
	b.Run()
	<-done // the command has its timeout
	if !c.Result.OK() {
		p.t.Fatalf("command %x: %v: %s", cdb, c.Result.Err(), p.why())
	}
	got := bytes.Clone(c.In.Bytes())
	c.In.Release()
	return got
}
