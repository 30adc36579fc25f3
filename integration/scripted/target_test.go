// SPDX-License-Identifier: Apache-2.0

package scripted_test

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/backends/iscsi"
	"pathgate/integration/scripted"
	wire "pathgate/internal/iscsi"
	"pathgate/internal/scsi"
)

// client is our initiator at one portal of a target.
type client struct {
	t    *testing.T
	n    backends.Nexus
	s    backends.Session
	up   chan backends.Login
	down chan backends.Loss
	ua   chan backends.Sense
	asyn chan backends.AsyncEvent
}

func (c *client) Up(_ *backends.Batch, _ backends.Nexus, l backends.Login) {
	c.up <- l
}

func (c *client) Down(_ *backends.Batch, _ backends.Nexus, l backends.Loss) {
	c.down <- l
}

func (c *client) Async(_ *backends.Batch, _ backends.Nexus, a backends.AsyncEvent) {
	c.asyn <- a
}

func (c *client) UnitAttention(_ *backends.Batch, _ backends.Session, s backends.Sense) {
	c.ua <- s
}

func connector(t *testing.T, digest iscsi.DigestMode) *iscsi.Connector {
	k, err := iscsi.New(iscsi.Config{
		InitiatorName: "iqn.2026-11.test:host", Adapter: "vmhba0", HeaderDigest: digest, DataDigest: digest,
		ISID: func(string, uint16, string) ([6]byte, error) { return [6]byte{0x80, 1, 2, 3, 0, 1}, nil },
		Timeouts: iscsi.Timeouts{
			NOPInterval: 5 * time.Second, NOPTimeout: 5 * time.Second, Login: 15 * time.Second, FenceLogin: 5 * time.Second, Command: 8 * time.Second,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func dial(t *testing.T, tg *scripted.Target, portal int, digest iscsi.DigestMode) *client {
	t.Helper()
	c := &client{
		t: t, up: make(chan backends.Login, 100), down: make(chan backends.Loss, 100),
		ua: make(chan backends.Sense, 100), asyn: make(chan backends.AsyncEvent, 100),
	}
	c.n = connector(t, digest).Connect(backends.TargetPortal{Target: tg.Name(), Portal: tg.Address(portal)}, c)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.n.Close(ctx)
	})
	c.s = c.n.Session(1)
	return c
}

// login waits for the session.
func (c *client) login() {
	c.t.Helper()
	l := get(c.t, c.up, "login")
	c.s.SetGeometry(l.Generation, backends.Geometry{LogicalBlock: 512, Size: 1 << 20, FUA: true, Unmap: true, WriteSame: true})
}

func get[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(30 * time.Second):
		t.Fatalf("no %s", what)
		panic("unreachable")
	}
}

// poll waits for ok.
func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("no %s", what)
		}
	}
}

func (c *client) do(op backends.Op, off, n uint64, data []byte) (*backends.Request, backends.Result) {
	c.t.Helper()
	ch := make(chan backends.Result, 2)
	r := &backends.Request{Op: op, Offset: off, Length: n}
	r.Data.AppendBytes(data)
	r.Completer = backends.CompleterFunc(func(_ *backends.Batch, _ *backends.Request, res backends.Result) { ch <- res })
	var b backends.Batch
	c.s.Submit(&b, []*backends.Request{r})
	b.Run()
	return r, get(c.t, ch, "completion")
}

func (c *client) exec(cdb [16]byte, out []byte) backends.Result {
	c.t.Helper()
	ch := make(chan struct{}, 1)
	x := &backends.Command{CDB: cdb, Done: func(*backends.Batch, *backends.Command) { ch <- struct{}{} }}
	if len(out) > 0 {
		x.Out.AppendBytes(out)
	}
	var b backends.Batch
	c.s.Exec(&b, x)
	b.Run()
	get(c.t, ch, "end of Exec")
	return x.Result
}

func (c *client) write(off int, p []byte) backends.Result {
	c.t.Helper()
	_, res := c.do(backends.Write, uint64(off), uint64(len(p)), p)
	return res
}

func (c *client) read(off, n int) ([]byte, backends.Result) {
	c.t.Helper()
	r, res := c.do(backends.Read, uint64(off), uint64(n), nil)
	return r.Data.Bytes(), res
}

func pattern(n int, seed byte) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i>>9)*31 ^ byte(i) ^ seed
	}
	return p
}

// A disk without rules, with digests and without, with R2T and without.
func TestDisk(t *testing.T) {
	for name, o := range map[string]scripted.Options{
		"plain":    {},
		"digests":  {Digests: true},
		"no R2T":   {Settings: func(s *wire.Settings) { s.InitialR2T = false; s.FirstBurstLength = 8192 }},
		"no early": {Settings: func(s *wire.Settings) { s.ImmediateData = false; s.MaxBurstLength = 16384; s.FirstBurstLength = 16384 }},
		"crumbs":   {Settings: func(s *wire.Settings) { s.MaxRecvDataSegmentLength = 512 }, Window: 1},
	} {
		t.Run(name, func(t *testing.T) {
			u := scripted.NewUnit(1 << 20)
			u.Thin, u.AttentionAtLogin = true, true
			o.Units = map[uint16]*scripted.Unit{1: u}
			tg := scripted.New(t, o)
			c := dial(t, tg, 0, iscsi.DigestPrefer)
			c.login()
			if res := c.exec([16]byte{}, nil); res.Sense.String() != "6/29/00" {
				t.Errorf("the first command: %+v", res)
			}
			for _, n := range []int{512, 4096, 200 << 10} {
				p := pattern(n, byte(n>>9))
				if res := c.write(4096, p); !res.OK() {
					t.Fatalf("write of %d: %+v", n, res)
				}
				if got, res := c.read(4096, n); !res.OK() || !bytes.Equal(got, p) || !bytes.Equal(u.Medium.Bytes(4096, n), p) {
					t.Errorf("read of %d: %+v", n, res)
				}
			}
			for _, op := range []backends.Op{backends.WriteZeroes, backends.Unmap, backends.Flush} {
				if _, res := c.do(op, 0, map[bool]uint64{true: 8192}[op != backends.Flush], nil); !res.OK() {
					t.Errorf("%v: %+v", op, res)
				}
			}
			if got := u.Medium.Bytes(4096, 4096); !bytes.Equal(got, make([]byte, 4096)) {
				t.Error("not zeroed")
			}
			if _, res := c.do(backends.CompareAndWrite, 0, 512, append(make([]byte, 512), pattern(512, 1)...)); !res.OK() {
				t.Errorf("compare: %+v", res)
			}
			if _, res := c.do(backends.CompareAndWrite, 0, 512, make([]byte, 1024)); res.Class != backends.Miscompare {
				t.Errorf("miscompare: %+v", res)
			}
			s := tg.Stats(0)
			if s.Logins != 1 || s.Commands[scsi.OpTestUnitReady] != 1 || s.WriteBytes == 0 || s.ReadBytes == 0 || u.Syncs() != 1 || u.Medium.Writes() < 6 {
				t.Errorf("counted %+v", s)
			}
		})
	}
}

// Rules take what they say, in order, and the medium tells what was carried out.
func TestRules(t *testing.T) {
	u := scripted.NewUnit(1 << 20)
	tg := scripted.New(t, scripted.Options{Units: map[uint16]*scripted.Unit{1: u}})
	c := dial(t, tg, 0, iscsi.DigestNone)
	c.login()
	s := tg.On(scripted.Rule{Ops: scripted.Writes, Skip: 1, Times: 2, Do: scripted.Check(scsi.CodeWriteError)})
	var got []backends.Class
	for range 4 {
		got = append(got, c.write(0, pattern(4096, 1)).Class)
	}
	if want := []backends.Class{backends.OK, backends.Medium, backends.Medium, backends.OK}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if s.Hits() != 2 || u.Medium.Writes() != 2 {
		t.Errorf("%d hits, %d writes", s.Hits(), u.Medium.Writes())
	}
	s.Remove()
	for _, tt := range []struct {
		name string
		do   scripted.Action
		want func(backends.Result) bool
	}{
		{"busy", scripted.Status(scsi.StatusBusy), func(r backends.Result) bool { return r.Class == backends.Busy && r.Status == 8 }},
		{"full", scripted.Status(scsi.StatusTaskSetFull), func(r backends.Result) bool { return r.Class == backends.Busy && r.Status == 0x28 }},
		{"nonsense", scripted.Sense([]byte{1}), func(r backends.Result) bool { return r.Status == 2 && !r.Sense.Valid }},
		{"late", scripted.Late(time.Millisecond), backends.Result.OK},
		{"reject", scripted.Rejected(wire.RejectInvalidPDUField), func(r backends.Result) bool { return r.Class == backends.Transport }},
	} {
		r := tg.On(scripted.Rule{Ops: scripted.Data, Times: 1, Do: tt.do})
		if res := c.write(0, pattern(512, 2)); !tt.want(res) {
			t.Errorf("%s: %+v", tt.name, res)
		}
		r.Remove()
		if tt.name == "reject" { // it ends the session too
			get(t, c.down, "loss")
			c.login()
		}
	}
}

// Units: swapped, resized, in another state, and told so.
func TestUnits(t *testing.T) {
	u, other := scripted.NewUnit(1<<20), scripted.NewUnit(1<<20)
	u.TPGS, u.Groups = scsi.ALUAImplicit|scsi.ALUAExplicit, []scsi.PortGroup{{ID: 1}, {ID: 2, State: scsi.Standby}}
	tg := scripted.New(t, scripted.Options{Portals: []scripted.Portal{{}, {Group: 2, Tag: 2}}, Units: map[uint16]*scripted.Unit{1: u}})
	a, b := dial(t, tg, 0, iscsi.DigestNone), dial(t, tg, 1, iscsi.DigestNone)
	a.login()
	b.login()
	if _, res := b.read(0, 512); res.Sense.String() != "2/04/0b" {
		t.Errorf("standby: %+v", res)
	}
	list := scsi.AppendSetPortGroups(nil, []scsi.SetPortGroup{{ID: 2, State: scsi.ActiveOptimized}, {ID: 1, State: scsi.Standby}})
	var cdb [16]byte
	scsi.SetPortGroups{ParameterListLength: uint32(len(list))}.Encode(&cdb)
	if res := b.exec(cdb, list); !res.OK() {
		t.Fatalf("set: %+v", res)
	}
	if _, res := b.read(0, 512); !res.OK() {
		t.Errorf("active: %+v", res)
	}
	for _, want := range []string{"6/2a/06", "6/2a/06", "2/04/0b"} {
		if _, res := a.read(0, 512); res.Sense.String() != want {
			t.Errorf("got %+v, want %s", res, want)
		}
	}
	u.Resize(2 << 20)
	if _, res := b.read(0, 512); res.Sense.String() != "6/2a/09" {
		t.Errorf("resized: %+v", res)
	}
	tg.MapAt(1, 1, other)
	if res := b.write(0, pattern(512, 3)); !res.OK() || u.Medium.Writes() != 0 || other.Medium.Writes() != 1 {
		t.Errorf("swapped: %+v", res)
	}
	tg.Map(1, nil)
	if _, res := b.read(0, 512); res.Sense.String() != "5/25/00" {
		t.Errorf("unmapped: %+v", res)
	}
}

// Portals: reset, closed, stopped; logins refused, redirected and reinstated.
func TestPortals(t *testing.T) {
	tg := scripted.New(t, scripted.Options{Units: map[uint16]*scripted.Unit{1: scripted.NewUnit(1 << 20)}})
	c := dial(t, tg, 0, iscsi.DigestNone)
	c.login()
	if tg.Cut(0) != 1 {
		t.Error("nothing to cut")
	}
	if l := get(t, c.down, "loss"); l.Class != backends.LossReset {
		t.Errorf("got %v", l.Class)
	}
	c.login()
	tg.Down(0)
	get(t, c.down, "loss")
	if l := get(t, c.down, "refusal"); l.Class != backends.LossConnect {
		t.Errorf("got %v", l.Class)
	}
	tg.OnLogin(func(scripted.Login) scripted.LoginAnswer {
		return scripted.LoginAnswer{Status: wire.LoginServiceUnavailable}
	})
	tg.Up(t, 0)
	for l := range c.down {
		if l.Class == backends.LossRefused {
			break
		}
	}
	tg.OnLogin(nil)
	c.login()
	if s := tg.Stats(0); s.Logins != 3 || s.Refused == 0 {
		t.Errorf("counted %+v", s)
	}
	tg.Stop(0)
	ch := make(chan backends.Result, 1)
	go func() { ch <- c.write(0, pattern(512, 1)) }()
	poll(t, "session", func() bool { return tg.Sessions(0) == 1 })
	tg.Continue(0)
	if res := get(t, ch, "completion"); !res.OK() {
		t.Errorf("after the stop: %+v", res)
	}
	if tg.Async(0, wire.AsyncMessage{Event: wire.AsyncLogoutRequest, Parameter3: 1}, nil) != 1 {
		t.Error("nobody was told")
	}
	if a := get(t, c.asyn, "event"); a.Kind != backends.AsyncLogout {
		t.Errorf("got %v", a.Kind)
	}
	list, err := connector(t, iscsi.DigestNone).Discover(t.Context(), tg.Address(0))
	if err != nil || len(list) != 1 || list[0].Target != tg.Name() || list[0].Portal != tg.Address(0) {
		t.Errorf("discovered %v, %v", list, err)
	}
}

// Task management: what was held back is gone after ABORT TASK.
func TestTasks(t *testing.T) {
	u := scripted.NewUnit(1 << 20)
	tg := scripted.New(t, scripted.Options{Units: map[uint16]*scripted.Unit{1: u}})
	c := dial(t, tg, 0, iscsi.DigestNone)
	c.login()
	gate := make(chan struct{})
	s := tg.On(scripted.Rule{Ops: scripted.Writes, Do: scripted.Held(gate)})
	r := &backends.Request{Op: backends.Write, Length: 512}
	r.Data.AppendBytes(pattern(512, 1))
	ends := make(chan backends.Result, 2)
	r.Completer = backends.CompleterFunc(func(_ *backends.Batch, _ *backends.Request, res backends.Result) { ends <- res })
	var b backends.Batch
	c.s.Submit(&b, []*backends.Request{r})
	b.Run()
	poll(t, "write", func() bool { return s.Hits() > 0 })
	done := make(chan backends.TMResponse, 1)
	f := &backends.TaskManagement{
		Function: backends.AbortTask, Task: r, Timeout: 10 * time.Second,
		Done: func(_ *backends.Batch, f *backends.TaskManagement) { done <- f.Response },
	}
	c.s.TMF(&b, f)
	b.Run()
	if got := get(t, done, "response"); got != backends.TMComplete {
		t.Errorf("got %v", got)
	}
	close(gate)
	if res := get(t, ends, "completion"); res.Class != backends.Aborted {
		t.Errorf("got %+v", res)
	}
	if res := c.write(0, pattern(512, 2)); !res.OK() || u.Medium.Writes() != 1 || tg.Stats(0).Tasks != 1 {
		t.Errorf("%+v, %d writes", res, u.Medium.Writes())
	}
}
