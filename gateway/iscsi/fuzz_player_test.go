// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
	"pathgate/internal/netserve"
)

const (
	fuzzCommands = 32       // credits of the disks of a player
	fuzzBytes    = 64 << 10 // likewise
	fuzzDisk     = 1 << 20
)

// duplex is a connection of two pipes, so that one direction can end alone.
type duplex struct {
	net.Conn // written to
	in       net.Conn
}

func newDuplex() (near, far *duplex) {
	a, b := net.Pipe()
	c, d := net.Pipe()
	return &duplex{a, d}, &duplex{c, b}
}

func (d *duplex) Read(p []byte) (int, error)         { return d.in.Read(p) }
func (d *duplex) SetReadDeadline(t time.Time) error  { return d.in.SetReadDeadline(t) }
func (d *duplex) SetWriteDeadline(t time.Time) error { return d.Conn.SetWriteDeadline(t) }

func (d *duplex) Close() error {
	_ = d.in.Close()
	return d.Conn.Close()
}

// nowhere is a listener that never accepts.
type nowhere struct{ net.Listener }

func (nowhere) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 3260} }

// walled is a disk that no request may leave.
type walled struct {
	*backends.HoldFault
	pool *backends.Pool
	mu   sync.Mutex
	bad  string
}

func (d *walled) Grant(*backends.Origin) *backends.Grant {
	return backends.NewGrant(fuzzCommands, d.pool)
}

func (d *walled) Submit(b *backends.Batch, reqs []*backends.Request) {
	for _, r := range reqs {
		if r.Offset > fuzzDisk || r.Length > fuzzDisk-r.Offset || r.Op == backends.Write && uint64(r.Data.Len()) != r.Length {
			d.mu.Lock()
			d.bad = fmt.Sprintf("%v of %d bytes at %d with %d bytes of data", r.Op, r.Length, r.Offset, r.Data.Len())
			d.mu.Unlock()
		}
	}
	d.HoldFault.Submit(b, reqs)
}

// asked is what the player knows of a tag.
type asked struct {
	sent, answered int
	silent         bool   // it may have no answer
	limit          uint32 // bytes of read data at most
	got            uint32
	dataSN         wire.Serial
	cmdSN          wire.Serial
	lun            wire.LUNField
	scsi           bool
}

// player is an initiator that carries out programs, and judges what the target says.
type player struct {
	t     *testing.T
	srv   *Server
	disk  *walled
	lines *listener
	conn  *duplex
	far   *conn // its end of conn
	base  int   // goroutines before

	mu     sync.Mutex
	news   sync.Cond // of all below
	ended  bool      // the target has closed
	recv   wire.Framing
	most   uint32 // longest data segment that the target may send
	full   bool   // the login has ended well
	statSN wire.Serial
	exp    wire.Serial
	max    wire.Serial
	tags   map[wire.InitiatorTaskTag]*asked
	r2ts   []wire.R2T
	logins []loginSaid
	text   wire.TargetTransferTag // of the last Text Response
	pinged wire.TargetTransferTag
	lost   bool // what was sent cannot be told in PDUs, so neither can what is answered

	send   wire.Framing
	itt    wire.InitiatorTaskTag
	cmdSN  wire.Serial
	back   []byte      // to be written with what comes next
	loose  bool        // not everything has to be answered
	params wire.Params // of the session, when full
	isid   wire.ISID
}

// loginSaid is a Login Response.
type loginSaid struct {
	wire.LoginResponse
	text wire.Text
}

// play starts a target, and a player that is connected to it.
func play(t *testing.T, disk *backends.Memory, chap bool, cfg Config) *player {
	d := &walled{HoldFault: backends.NewHoldFault(disk), pool: backends.NewPool(fuzzCommands, fuzzBytes)}
	base := runtime.NumGoroutine()
	s := newSource()
	if chap {
		s = guarded(t)
		delete(s.targets, testTarget)
		s.names = nil
	}
	cfg.Targets = s.add(t, testTarget, d).addLUN(t, testTarget, d)
	srv, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"", testTarget} { // a fuzzer is in a hurry
		srv.paces[target] = &netserve.Pace{Rate: 1e9, Burst: 1e9}
	}
	p := &player{
		t: t, srv: srv, disk: d, lines: &listener{srv: srv, ln: nowhere{}, portal: Portal{GroupTag: 1}}, base: base,
		recv: wire.LoginFraming(), send: wire.LoginFraming(), most: wire.MaxDataSegmentLength, text: wire.NoTag, pinged: wire.NoTag,
		tags: map[wire.InitiatorTaskTag]*asked{}, itt: 1000, cmdSN: wire.SerialOf(1<<32 - 5), isid: wire.ISID{0x80, 1, 2, 3, 4, 5},
	}
	p.news.L = &p.mu
	srv.portals = []*listener{p.lines}
	near, far := newDuplex()
	p.conn = near
	p.lines.start(far)
	srv.mu.Lock()
	for p.far = range srv.conns {
	}
	srv.mu.Unlock()
	go p.listen()
	return p
}

// listen takes what the target says, to the end.
func (p *player) listen() {
	var all []byte
	buf := make([]byte, 16<<10)
	for {
		n, err := p.conn.Read(buf)
		all = append(all, buf[:n]...)
		p.mu.Lock()
		for len(all) > 0 {
			pdu, n, need, err := p.recv.Split(all)
			if need > 0 {
				break
			}
			if err != nil {
				p.t.Errorf("the target says what is no PDU: %v: %x", err, all[:min(len(all), 64)])
				all = nil
				break
			}
			p.heard(pdu.BHS, pdu.Data)
			all = all[n:]
		}
		p.ended = err != nil
		p.news.Broadcast()
		p.mu.Unlock()
		if err != nil {
			if err != io.EOF {
				p.t.Errorf("reading: %v", err)
			}
			if len(all) > 0 && p.full {
				p.t.Errorf("the target ends in the middle of a PDU: %x", all[:min(len(all), 64)])
			}
			return
		}
	}
}

// heard judges one PDU. Called with mu.
func (p *player) heard(h *wire.BHS, data []byte) {
	op := h.Opcode()
	if op == wire.OpLoginResponse {
		p.heardLogin(h, data)
		return
	}
	if !p.full {
		p.t.Errorf("%v before the login has ended", op)
		return
	}
	if uint32(len(data)) > p.most && !p.lost {
		p.t.Errorf("%v with %d bytes of data, which may be %d", op, len(data), p.most)
	}
	p.heardNumbers(h)
	switch op {
	case wire.OpDataIn:
		p.heardData(h, len(data))
	case wire.OpR2T:
		r, err := wire.DecodeR2T(h)
		if err != nil || r.DesiredDataTransferLength == 0 || r.DesiredDataTransferLength > p.params.MaxBurstLength {
			p.t.Errorf("%+v, %v", r, err)
		}
		p.r2ts = append(p.r2ts, r)
	case wire.OpReject:
		if old, err := wire.RejectedHeader(data); err != nil {
			p.t.Error(err)
		} else if o := old.Opcode(); o != wire.OpDataOut && o != wire.OpSNACK && old.ITT() != wire.NoTag {
			p.answer(old.ITT(), op)
		}
	case wire.OpNOPIn:
		if h.ITT() == wire.NoTag {
			p.pinged = h.TTT()
			break
		}
		p.answer(h.ITT(), op)
	case wire.OpTextResponse:
		p.text = h.TTT()
		p.answer(h.ITT(), op)
	case wire.OpSCSIResponse, wire.OpTaskManagementResponse, wire.OpLogoutResponse:
		p.answer(h.ITT(), op)
	case wire.OpAsyncMessage:
	default:
		p.t.Errorf("the target sends %v", op)
	}
}

// heardLogin takes a Login Response. In full feature phase it is the last word.
func (p *player) heardLogin(h *wire.BHS, data []byte) {
	r, err := wire.DecodeLoginResponse(h)
	if err != nil {
		p.t.Error(err)
		return
	}
	text, err := wire.ParseText(data)
	if err != nil && !r.Continue {
		p.t.Errorf("text %q: %v", data, err)
	}
	p.logins = append(p.logins, loginSaid{r, text})
	if p.full || r.Status != wire.LoginSuccess || !r.Transit || r.NextStage != wire.FullFeaturePhase {
		return
	}
	if r.TSIH == 0 {
		p.t.Error("TSIH is 0")
	}
	p.srv.mu.Lock()
	se := p.far.session
	p.srv.mu.Unlock()
	se.mu.Lock()
	p.params = se.params
	se.mu.Unlock()
	p.recv = p.params.SendFraming()
	p.most, p.recv.MaxData = p.recv.MaxData, wire.MaxDataSegmentLength
	p.full, p.statSN = true, r.StatSN.Next()
	p.exp, p.max = r.ExpCmdSN, r.MaxCmdSN
}

// heardNumbers demands that StatSN goes up by one with each status, and that the command
// window does not go back.
func (p *player) heardNumbers(h *wire.BHS) {
	op := h.Opcode()
	status := op != wire.OpR2T && (op != wire.OpNOPIn || h.ITT() != wire.NoTag)
	if op == wire.OpDataIn {
		d, err := wire.DecodeDataIn(h)
		if err != nil {
			p.t.Error(err)
			return
		}
		status = d.HasStatus
	}
	if (status || op != wire.OpDataIn) && h.StatSN() != p.statSN {
		p.t.Errorf("%v has StatSN %v, want %v", op, h.StatSN(), p.statSN)
	}
	if status {
		p.statSN = p.statSN.Next()
	}
	exp, most := h.ExpCmdSN(), h.MaxCmdSN()
	if exp.Less(p.exp) || most.Less(p.max) || most.Less(exp.Prev()) {
		p.t.Errorf("%v: the command window goes from %v..%v to %v..%v", op, p.exp, p.max, exp, most)
	}
	p.exp, p.max = exp, most
}

// heardData takes a Data-In PDU.
func (p *player) heardData(h *wire.BHS, n int) {
	d, err := wire.DecodeDataIn(h)
	if err != nil || p.lost {
		return
	}
	a := p.tags[d.ITT]
	switch {
	case a == nil:
		p.t.Errorf("data for tag %d, which was not sent", d.ITT)
		return
	case a.sent == 1 && (d.BufferOffset != a.got || d.DataSN != a.dataSN || uint32(n) > a.limit-a.got):
		p.t.Errorf("%+v with %d bytes; %d of %d bytes have come, want DataSN %v", d, n, a.got, a.limit, a.dataSN)
	}
	a.got, a.dataSN = a.got+uint32(n), a.dataSN.Next()
	if d.HasStatus {
		p.answer(d.ITT, wire.OpDataIn)
	}
}

// answer counts an answer.
func (p *player) answer(itt wire.InitiatorTaskTag, op wire.Opcode) {
	if p.lost {
		return
	}
	a := p.tags[itt]
	if a == nil {
		p.t.Errorf("%v for tag %#x, which was not sent", op, itt)
		return
	}
	if a.answered++; a.answered > a.sent {
		p.t.Errorf("%v for tag %#x: %d answers to %d requests", op, itt, a.answered, a.sent)
	}
}

// until waits for ok, or the end of the connection. Called with mu.
func (p *player) until(ok func() bool) {
	for !p.ended && !ok() {
		p.news.Wait()
	}
}

// recorded collects what a raw initiator writes.
func recorded(tb testing.TB, f func(r *raw)) []byte {
	near, far := net.Pipe()
	all := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(far)
		all <- b
	}()
	f(newRaw(tb, near))
	_ = near.Close()
	return <-all
}

// guard panics, with the stacks of all goroutines, when an input does not come to its end.
func guard() (stop func() bool) {
	return time.AfterFunc(time.Minute, func() {
		debug.SetTraceback("all")
		panic("the connection does not end")
	}).Stop
}

// close ends the connection, and demands that nothing of it is left.
func (p *player) close() {
	p.disk.Release()
	_ = p.conn.Conn.Close()
	p.mu.Lock()
	p.until(func() bool { return false })
	p.mu.Unlock()
	p.lines.wg.Wait()
	_ = p.conn.Close()
	p.srv.mu.Lock()
	if n := len(p.srv.conns) + len(p.srv.sessions) + len(p.srv.handles) + p.srv.logins + len(p.srv.perAddr); n != 0 {
		p.t.Errorf("%d things are left of the connection", n)
	}
	p.srv.mu.Unlock()
	if n := p.srv.cfg.Targets.(*source).inUse(); n != 0 {
		p.t.Errorf("%d targets are in use", n)
	}
	if n, b := p.disk.pool.Free(); n != fuzzCommands || b != fuzzBytes {
		p.t.Errorf("%d credits and %d bytes are free, of %d and %d", n, b, fuzzCommands, fuzzBytes)
	}
	if c := p.disk.Counts(); c.Waiting != 0 {
		p.t.Errorf("%d requests are with the disk", c.Waiting)
	}
	p.disk.mu.Lock()
	if p.disk.bad != "" {
		p.t.Error("outside the disk: " + p.disk.bad)
	}
	p.disk.mu.Unlock()
	for i := 0; runtime.NumGoroutine() > p.base; i++ { // the last ones are leaving
		if runtime.Gosched(); i > 100 {
			time.Sleep(time.Millisecond)
		}
	}
}
