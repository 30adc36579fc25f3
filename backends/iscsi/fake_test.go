// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

const (
	testTarget = "iqn.2026-11.test:target"
	testPortal = "192.0.2.1:3260"
)

// testGeometry is the geometry of the fake's LUNs: 1 MiB with all there is.
var testGeometry = backends.Geometry{LogicalBlock: 512, Size: 1 << 20, FUA: true, Unmap: true, WriteSame: true}

// fake is the target's side of one connection, played by a test's script.
type fake struct {
	t      testing.TB
	sock   net.Conn
	set    wire.Settings
	window uint32 // commands that the window admits; 0 keeps it closed

	params   wire.Params
	recvF    wire.Framing
	sendF    wire.Framing
	login    wire.LoginRequest
	statSN   wire.Serial
	expCmdSN wire.Serial
	early    []pdu // came while data was awaited
	gone     error // set when the initiator has closed
}

// errGone ends a script whose initiator has closed the connection.
var errGone = errors.New("initiator is gone")

// loginPhase plays a target that accepts everybody.
func (f *fake) loginPhase() error {
	neg, err := wire.NewNegotiator(wire.Target, f.set)
	if err != nil {
		return err
	}
	var in wire.Text
	for {
		var h wire.BHS
		data, err := readPDU(f.sock, wire.LoginFraming(), &h)
		if err != nil {
			return err
		}
		if f.login, err = wire.DecodeLoginRequest(&h); err != nil {
			return err
		}
		if in, err = wire.ParseText(data); err != nil {
			return err
		}
		out, err := neg.Receive(f.login.CurrentStage, in)
		if err != nil {
			return err
		}
		out = append(out, neg.Offer(f.login.CurrentStage)...)
		if f.login.CurrentStage == wire.SecurityNegotiation {
			out.Add(wire.KeyAuthMethod, wire.ValueNone)
		}
		f.expCmdSN = f.login.CmdSN
		resp := wire.LoginResponse{
			Transit: f.login.Transit, CurrentStage: f.login.CurrentStage, NextStage: f.login.NextStage,
			ISID: f.login.ISID, ITT: f.login.ITT, Numbers: f.numbers(),
		}
		f.statSN = f.statSN.Next()
		last := resp.Transit && resp.NextStage == wire.FullFeaturePhase
		if last {
			resp.TSIH = 1
		}
		resp.Encode(&h)
		if _, err := f.sock.Write(wire.LoginFraming().AppendPacket(nil, &h, nil, out.Append(nil))); err != nil {
			return err
		}
		if last {
			f.params, err = neg.Finish()
			f.recvF, f.sendF = f.params.RecvFraming(), f.params.SendFraming()
			return err
		}
	}
}

func (f *fake) numbers() wire.Numbers {
	return wire.Numbers{StatSN: f.statSN, ExpCmdSN: f.expCmdSN, MaxCmdSN: f.expCmdSN.Add(f.window).Prev()}
}

// status gives the numbers of a PDU that advances StatSN.
func (f *fake) status() wire.Numbers {
	n := f.numbers()
	f.statSN = f.statSN.Next()
	return n
}

func readPDU(r io.Reader, fr wire.Framing, h *wire.BHS) ([]byte, error) {
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return nil, err
	}
	l, err := fr.Lengths(h)
	if err != nil {
		return nil, err
	}
	rest := make([]byte, l.Total())
	copy(rest, h[:])
	if _, err := io.ReadFull(r, rest[wire.HeaderLength:]); err != nil {
		return nil, err
	}
	if err := fr.CheckHead(rest[:l.Head()]); err != nil {
		return nil, err
	}
	body := rest[l.Head():]
	return body[:l.Data], fr.CheckBody(l, body)
}

// pdu is one PDU of the initiator's.
type pdu struct {
	h    wire.BHS
	data []byte
}

// recv gives the next PDU that is not a NOP-Out; those are answered.
func (f *fake) recv() (wire.BHS, []byte) {
	if len(f.early) > 0 {
		p := f.early[0]
		f.early = f.early[1:]
		return p.h, p.data
	}
	return f.next()
}

// dataOut gives the next Data-Out; what comes before it is kept for recv.
func (f *fake) dataOut() (wire.BHS, []byte) {
	for {
		h, data := f.next()
		if h.Opcode() == wire.OpDataOut {
			return h, data
		}
		f.early = append(f.early, pdu{h, data})
	}
}

func (f *fake) next() (wire.BHS, []byte) {
	for {
		var h wire.BHS
		data, err := readPDU(f.sock, f.recvF, &h)
		if err != nil {
			f.gone = err
			panic(errGone)
		}
		if !h.Immediate() && h.Opcode() != wire.OpDataOut {
			f.expCmdSN = h.CmdSN().Next()
		}
		if h.Opcode() == wire.OpNOPOut {
			if h.ITT() != wire.NoTag {
				f.send(&wire.NOPIn{ITT: h.ITT(), TTT: wire.NoTag, Numbers: f.status()}, nil)
			}
			continue
		}
		return h, data
	}
}

// command gives the next SCSI Command and its immediate data.
func (f *fake) command() (wire.SCSICommand, []byte) {
	for {
		h, data := f.recv()
		if h.Opcode() != wire.OpSCSICommand {
			continue
		}
		c, err := wire.DecodeSCSICommand(&h)
		if err != nil {
			f.t.Errorf("the initiator sent a bad command: %v", err)
		}
		return c, data
	}
}

type encoder1 interface{ Encode(*wire.BHS) }

// send sends one PDU.
func (f *fake) send(p encoder1, data []byte) {
	var h wire.BHS
	p.Encode(&h)
	f.raw(f.sendF.AppendPacket(nil, &h, nil, data))
}

func (f *fake) raw(b []byte) {
	if _, err := f.sock.Write(b); err != nil {
		f.gone = err
		panic(errGone)
	}
}

func (f *fake) good(itt wire.InitiatorTaskTag) {
	f.send(&wire.SCSIResponse{ITT: itt, Numbers: f.status()}, nil)
}

// check sends CHECK CONDITION with fixed sense data.
func (f *fake) check(itt wire.InitiatorTaskTag, key, asc, ascq byte) {
	sense := make([]byte, 18)
	sense[0], sense[2], sense[7], sense[12], sense[13] = 0x70, key, 10, asc, ascq
	f.send(&wire.SCSIResponse{Status: 2, ITT: itt, Numbers: f.status()}, wire.AppendSense(nil, sense))
}

// disk serves commands from mem until the initiator leaves: reads in pieces,
// writes by R2T.
func (f *fake) disk(mem []byte) {
	for {
		h, data := f.recv()
		switch h.Opcode() {
		case wire.OpSCSICommand:
			c, _ := wire.DecodeSCSICommand(&h)
			f.serve(mem, c, data)
		case wire.OpLogoutRequest:
			f.send(&wire.LogoutResponse{ITT: h.ITT(), Numbers: f.status()}, nil)
			return
		case wire.OpTaskManagementRequest:
			f.send(&wire.TaskManagementResponse{Response: wire.TaskDoesNotExist, ITT: h.ITT(), Numbers: f.status()}, nil)
		default:
			f.t.Errorf("the initiator sent %v", h.Opcode())
		}
	}
}

func (f *fake) serve(mem []byte, c wire.SCSICommand, data []byte) {
	off := 512 * (int(c.CDB[2])<<24 | int(c.CDB[3])<<16 | int(c.CDB[4])<<8 | int(c.CDB[5]))
	switch {
	case c.Read:
		f.sendData(c, mem[off:off+int(c.ExpectedDataTransferLength)])
		return
	case c.Write:
		copy(mem[off:], f.takeData(c, data))
	}
	f.good(c.ITT)
}

// sendData sends p in Data-In PDUs, the last with status.
func (f *fake) sendData(c wire.SCSICommand, p []byte) {
	d := wire.DataIn{ITT: c.ITT, TTT: wire.NoTag}
	for {
		n := min(len(p), int(f.params.MaxSendDataSegmentLength))
		d.Final, d.HasStatus = n == len(p), n == len(p)
		d.Numbers = f.numbers()
		if d.HasStatus {
			d.Numbers = f.status()
		}
		f.send(&d, p[:n])
		if p = p[n:]; d.HasStatus {
			return
		}
		d.DataSN = d.DataSN.Next()
		d.BufferOffset += uint32(n)
	}
}

// takeData receives all of a write: what is unsolicited, and the rest by R2T.
func (f *fake) takeData(c wire.SCSICommand, data []byte) []byte {
	got := append([]byte(nil), data...)
	if !c.Final {
		got = f.takeSequence(c, got, wire.NoTag)
	}
	if limit := int(min(f.params.FirstBurstLength, c.ExpectedDataTransferLength)); len(got) > limit {
		f.t.Errorf("%d bytes of unsolicited data, above %d", len(got), limit)
	}
	r := wire.R2T{LUN: c.LUN, ITT: c.ITT, TTT: 7}
	for len(got) < int(c.ExpectedDataTransferLength) {
		r.Numbers = f.numbers()
		r.BufferOffset = uint32(len(got))
		r.DesiredDataTransferLength = min(c.ExpectedDataTransferLength-r.BufferOffset, f.params.MaxBurstLength)
		f.send(&r, nil)
		before := len(got)
		got = f.takeSequence(c, got, r.TTT)
		if len(got)-before != int(r.DesiredDataTransferLength) {
			f.t.Errorf("%d bytes for an R2T of %d", len(got)-before, r.DesiredDataTransferLength)
		}
		r.R2TSN = r.R2TSN.Next()
		r.TTT++
	}
	return got
}

func (f *fake) takeSequence(c wire.SCSICommand, got []byte, ttt wire.TargetTransferTag) []byte {
	for sn := wire.SerialOf(0); ; sn = sn.Next() {
		h, data := f.dataOut()
		d, err := wire.DecodeDataOut(&h)
		if err != nil || d.ITT != c.ITT || d.TTT != ttt || d.DataSN != sn || int(d.BufferOffset) != len(got) {
			f.t.Errorf("bad Data-Out %+v after %d bytes: %v", d, len(got), err)
		}
		got = append(got, data...)
		if d.Final {
			return got
		}
	}
}

// rig is an initiator with one nexus, whose connections are played by script.
type rig struct {
	t    testing.TB
	n    backends.Nexus
	s    backends.Session
	up   chan backends.Login
	down chan backends.Loss
	ua   chan backends.Sense
	asyn chan backends.AsyncEvent

	scripts sync.WaitGroup
}

func (r *rig) Up(_ *backends.Batch, _ backends.Nexus, l backends.Login) {
	r.s.SetGeometry(l.Generation, testGeometry)
	r.up <- l
}
func (r *rig) Down(_ *backends.Batch, _ backends.Nexus, l backends.Loss) { r.down <- l }
func (r *rig) Async(_ *backends.Batch, _ backends.Nexus, a backends.AsyncEvent) {
	r.asyn <- a
}
func (r *rig) UnitAttention(_ *backends.Batch, _ backends.Session, s backends.Sense) { r.ua <- s }

// option changes the rig before it starts.
type option func(*Config, *wire.Settings, *rigOptions)

type rigOptions struct {
	window uint32
	tcp    bool
	again  bool // the script also plays later connections
	login  func(f *fake) error
	target backends.TargetPortal
}

func withWindow(n uint32) option {
	return func(_ *Config, _ *wire.Settings, o *rigOptions) { o.window = n }
}
func overTCP(_ *Config, _ *wire.Settings, o *rigOptions) { o.tcp = true }
func again(_ *Config, _ *wire.Settings, o *rigOptions)   { o.again = true }

func testConfig() Config {
	return Config{
		InitiatorName: "iqn.2026-11.test:host", Adapter: "vmhba0",
		ISID:            func(string, uint16, string) ([6]byte, error) { return wire.NewISID(), nil },
		AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		Timeouts: Timeouts{
			NOPInterval: time.Second, NOPTimeout: time.Second, Login: 15 * time.Second,
			FenceLogin: 5 * time.Second, Command: 8 * time.Second,
		},
	}
}

// pipe makes both ends of a connection.
func pipe(t testing.TB, tcp bool) (client, server net.Conn) {
	if !tcp {
		return net.Pipe()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		server, _ = l.Accept()
		close(done)
	}()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	<-done
	return client, server
}

// newRig starts a nexus. script plays the first connection after its login; when
// it returns, the connection is closed. Later attempts to connect are refused.
func newRig(t testing.TB, script func(*fake), opts ...option) *rig {
	r := &rig{
		t: t, up: make(chan backends.Login, 1000), down: make(chan backends.Loss, 1000),
		ua: make(chan backends.Sense, 1000), asyn: make(chan backends.AsyncEvent, 1000),
	}
	cfg, set := testConfig(), wire.DefaultSettings()
	set.TargetPortalGroupTag = 1
	set.MaxRecvDataSegmentLength = 4096
	o := rigOptions{
		window: 64, target: backends.TargetPortal{Target: testTarget, Portal: testPortal},
		login: (*fake).loginPhase,
	}
	for _, opt := range opts {
		opt(&cfg, &set, &o)
	}
	var mu sync.Mutex
	dials := 0
	if cfg.Dial == nil {
		cfg.Dial = func(context.Context, string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			if dials++; dials > 1 && !o.again {
				return nil, errors.New("refused by the test")
			}
			client, server := pipe(t, o.tcp)
			f := &fake{t: t, sock: server, set: set, window: o.window}
			r.scripts.Go(func() { f.play(o.login, script) })
			return client, nil
		}
	}
	k, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	// Sessions are asked for in Up: hold it back until r.s is set.
	r.n = k.newNexus(o.target, r)
	r.s = r.n.Session(1)
	r.n.(*nexus).start()
	t.Cleanup(r.close)
	return r
}

func (r *rig) close() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // do not wait for a logout: scripts have ended
	_ = r.n.Close(ctx)
	r.scripts.Wait()
}

func (f *fake) play(login func(*fake) error, script func(*fake)) {
	defer func() {
		_ = f.sock.Close()
		if p := recover(); p != nil && p != any(errGone) {
			panic(p)
		}
	}()
	if err := login(f); err != nil {
		return
	}
	script(f)
}

func (r *rig) waitUp() backends.Login {
	r.t.Helper()
	return wait1(r.t, r.up, "login")
}

func wait1[T any](t testing.TB, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(30 * time.Second):
		t.Fatalf("no %s", what)
		panic("unreachable")
	}
}

// outcome is how one request ended.
type outcome struct {
	r   *backends.Request
	res backends.Result
}

// submit sends requests; their outcomes come on the channel.
func (r *rig) submit(reqs ...*backends.Request) <-chan outcome {
	ch := make(chan outcome, 2*len(reqs)) // room for what must not happen
	for _, q := range reqs {
		q.Completer = backends.CompleterFunc(func(_ *backends.Batch, q *backends.Request, res backends.Result) {
			ch <- outcome{q, res}
		})
	}
	var b backends.Batch
	r.s.Submit(&b, reqs)
	b.Run()
	return ch
}

// do sends one request and waits for its end.
func (r *rig) do(q *backends.Request) backends.Result {
	r.t.Helper()
	return wait1(r.t, r.submit(q), "completion").res
}

func (r *rig) exec(x *backends.Command) *backends.Command {
	r.t.Helper()
	ch := make(chan struct{}, 1)
	x.Done = func(*backends.Batch, *backends.Command) { ch <- struct{}{} }
	var b backends.Batch
	r.s.Exec(&b, x)
	b.Run()
	wait1(r.t, ch, "end of Exec")
	return x
}

func (r *rig) tmf(f *backends.TaskManagement) <-chan backends.TMResponse {
	ch := make(chan backends.TMResponse, 2)
	f.Done = func(_ *backends.Batch, f *backends.TaskManagement) { ch <- f.Response }
	if f.Timeout == 0 {
		f.Timeout = time.Second
	}
	var b backends.Batch
	r.s.TMF(&b, f)
	b.Run()
	return ch
}

func readReq(off, n uint64) *backends.Request {
	return &backends.Request{Op: backends.Read, Offset: off, Length: n}
}

func writeReq(off uint64, p []byte) *backends.Request {
	q := &backends.Request{Op: backends.Write, Offset: off, Length: uint64(len(p))}
	q.Data.AppendBytes(p)
	return q
}

func pattern(n int, seed byte) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i>>9)*31 ^ byte(i) ^ seed
	}
	return p
}
