// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// The fake storage network: targets, LUNs and sessions in memory, with what was
// measured on tgtd and LIO (HAZARDS section 4 rule 5). It runs in synctest
// bubbles: all delays are timers, no lock is held while waiting.
//
//   - What a session has sent runs at the target whatever becomes of the session.
//   - A stopped target (SIGSTOP) leaves commands unread; they run at SIGCONT, also
//     when we have closed the connection.
//   - A login with the same initiator port drops the unread commands of the
//     connection that it replaces, not the running ones (tgtd).
//   - LOGICAL UNIT RESET waits for the running commands of the LUN in that target
//     process, covers no unread ones, and raises 6/29/00 for other sessions.
//   - ABORT TASK of a running command is answered when it is done, with 1.
type fakeNet struct {
	mu      sync.Mutex
	portals map[string]*fakePortal
	nexuses []*fakeNexus

	advertise func(portal string) []string // portals that SendTargets tells of; nil: the one asked
	logins    int
	logouts   int
	resets    int
	aborts    int
}

type fakePortal struct {
	name string
	srv  *fakeServer
	tag  uint16
	down map[string]bool // adapter names that cannot get there; "" = nobody
	mute map[string]bool // packets vanish both ways
}

// fakeServer is one target process. Guarded by fakeNet.mu.
type fakeServer struct {
	net     *fakeNet
	name    string
	luns    map[uint16]*fakeLUN
	stopped bool
	conns   map[string]*fakeConn // by initiator port and portal group
	noLUN0  bool                 // REPORT LUNS is refused
	removed bool                 // logins are told that there is no such target
}

// fakeLUN is one LUN of one process; several may share a medium.
type fakeLUN struct {
	srv     *fakeServer
	lun     uint16
	m       *medium
	id      scsi.Designator
	serial  string
	product string
	size    uint64
	wce     bool
	fua     bool
	delay   func(r *backends.Request) time.Duration
	answer  func(r *backends.Request) (backends.Result, bool) // instead of running it
	swallow func(r *backends.Request) bool                    // runs never, no answer
	running map[*fakeCmd]bool
	attn    map[string]backends.Sense // by initiator port
	keys    []uint64                  // registrations: one more with each login, as tgtd does
	held    bool                      // somebody has a reservation
	sizing  func()                    // called before READ CAPACITY is answered
	noPR    bool
	pr      fakeReservation
	unready *backends.Result                                 // answer to TEST UNIT READY
	unread  func(off uint64) (res backends.Result, bad bool) // answer to a test read
	lag     time.Duration                                    // of each test read
	turs    int
	tests   int
	noSync  bool // SYNCHRONIZE CACHE by Exec fails
	hung    bool // answers nothing at all, while its target does
	syncs   int
	asked   map[scsi.Opcode]int // commands of Exec, but for the list of LUNs
	writes  int
	waiting []func()
	alua    *fakeALUA // nil: none
}

// medium is what the bytes are on.
type medium struct{ b []byte }

func (m *medium) apply(r *fakeCmd) (ok bool) {
	switch r.op {
	case backends.Write:
		copy(m.b[r.off:], r.data)
	case backends.WriteZeroes, backends.Unmap:
		clear(m.b[r.off : r.off+r.n])
	case backends.CompareAndWrite:
		if !bytes.Equal(m.b[r.off:r.off+r.n], r.data[:r.n]) {
			return false
		}
		copy(m.b[r.off:], r.data[r.n:])
	case backends.Verify:
		return len(r.data) == 0 || bytes.Equal(m.b[r.off:r.off+r.n], r.data)
	case backends.Read, backends.Flush, backends.Cache, backends.BlockStatus:
	}
	return true
}

func newFakeNet() *fakeNet { return &fakeNet{portals: map[string]*fakePortal{}} }

func (n *fakeNet) server(name string, portals ...string) *fakeServer {
	s := &fakeServer{net: n, name: name, luns: map[uint16]*fakeLUN{}, conns: map[string]*fakeConn{}}
	for _, p := range portals {
		n.portals[p] = &fakePortal{name: p, srv: s, tag: 1, down: map[string]bool{}, mute: map[string]bool{}}
	}
	return s
}

const fakeSize = 1 << 20

func (s *fakeServer) addLUN(lun uint16, m *medium, id scsi.Designator) *fakeLUN {
	l := &fakeLUN{
		srv: s, lun: lun, m: m, id: id, serial: "serial-" + fmt.Sprint(lun), product: "DISK", size: uint64(len(m.b)),
		wce: true, fua: true, running: map[*fakeCmd]bool{}, attn: map[string]backends.Sense{},
		asked: map[scsi.Opcode]int{},
	}
	s.luns[lun] = l
	return l
}

func newMedium() *medium { return &medium{make([]byte, fakeSize)} }

// naa is a strong identity.
func naa(n uint64) scsi.Designator { return scsi.NAARegistered(0x001405, 7, n) }

// fakeConn is a connection as the target sees it.
type fakeConn struct {
	port   string // initiator port
	nexus  *fakeNexus
	gen    uint64
	unread []*fakeCmd
	gone   bool // replaced by a login: its unread bytes are dropped
	ours   bool // our side is open
}

// fakeCmd is one command at the target.
type fakeCmd struct {
	conn    *fakeConn
	lun     *fakeLUN
	req     *backends.Request
	op      backends.Op
	off, n  uint64
	data    []byte
	att     backends.Attempt
	done    bool
	begun   bool
	lost    bool // swallowed
	aborted []func()
}

// fakeConnector is an adapter.
type fakeConnector struct {
	net  *fakeNet
	name string
}

func (c *fakeConnector) Discover(_ context.Context, portal string) ([]backends.TargetPortal, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	p := c.net.portals[portal]
	if p == nil || p.down[""] || p.down[c.name] || p.srv.stopped {
		return nil, errors.New("connection refused")
	}
	if c.net.advertise != nil {
		var list []backends.TargetPortal
		for _, at := range c.net.advertise(portal) {
			list = append(list, backends.TargetPortal{Target: p.srv.name, Portal: at, GroupTag: p.tag})
		}
		return list, nil
	}
	return []backends.TargetPortal{{Target: p.srv.name, Portal: portal, GroupTag: p.tag}}, nil
}

func (c *fakeConnector) Connect(p backends.TargetPortal, h backends.NexusHandler) backends.Nexus {
	n := &fakeNexus{net: c.net, conn: c, tp: p, h: h, sessions: map[uint16]*fakeSession{}, work: make(chan func(*backends.Batch), 4096), ended: make(chan struct{})}
	c.net.mu.Lock()
	c.net.nexuses = append(c.net.nexuses, n)
	c.net.mu.Unlock()
	go n.run()
	n.later(0, n.login)
	return n
}

// fakeNexus is our side. Fields below work are guarded by fakeNet.mu.
type fakeNexus struct {
	net  *fakeNet
	conn *fakeConnector
	tp   backends.TargetPortal
	h    backends.NexusHandler
	work chan func(*backends.Batch)

	sessions map[uint16]*fakeSession
	route    backends.Route
	attempt  uint64 // counts logins begun
	gen      uint64
	up       *fakeConn
	closed   bool
	ended    chan struct{}
	itt      uint32
	out      []*fakeCmd
	execs    []*backends.Command
	tmfs     []*backends.TaskManagement
}

func (n *fakeNexus) port() string { return n.conn.name + "/" + n.tp.Target + "/" + n.tp.Portal }

// nexus is what a login to p reinstates.
func (n *fakeNexus) nexus(p *fakePortal) string { return fmt.Sprint(n.port(), ",t,", p.tag) }

// run delivers all that the nexus tells, in order.
func (n *fakeNexus) run() {
	var b backends.Batch
	for f := range n.work {
		f(&b)
		b.Run()
	}
	close(n.ended)
}

// tell has f run on the nexus's goroutine. Caller holds mu.
func (n *fakeNexus) tell(f func(*backends.Batch)) {
	if !n.closed {
		n.work <- f
	}
}

func (n *fakeNexus) later(d time.Duration, f func()) {
	time.AfterFunc(d, f)
}

// way is the portal and adapter that the nexus uses now.
func (n *fakeNexus) way() (*fakePortal, string) {
	portal, adapter := n.tp.Portal, n.conn.name
	if n.route.Portal != "" {
		portal = n.route.Portal
	}
	if c, ok := n.route.Connector.(*fakeConnector); ok {
		adapter = c.name
	}
	return n.net.portals[portal], adapter
}

const (
	fakeLoginTime  = time.Millisecond
	fakeDenied     = time.Minute
	fakeRetry      = 100 * time.Millisecond
	fakeLoginLimit = 5 * time.Second
	fakeNOP        = 2 * time.Second
)

// login tries once; on its own way it goes on trying.
func (n *fakeNexus) login() {
	n.net.mu.Lock()
	defer n.net.mu.Unlock()
	n.loginLocked()
}

func (n *fakeNexus) loginLocked() {
	if n.closed || n.up != nil {
		return
	}
	n.attempt++
	at := n.attempt
	p, adapter := n.way()
	switch {
	case p == nil || p.down[""] || p.down[adapter]:
		n.later(fakeLoginTime, func() { n.failed(at, backends.LossConnect) })
	case p.mute[adapter] || p.mute[""] || p.srv.stopped:
		n.later(fakeLoginLimit, func() { n.failed(at, backends.LossConnect) })
	default:
		n.later(fakeLoginTime, func() { n.arrive(at) })
	}
}

func (n *fakeNexus) failed(at uint64, class backends.LossClass) {
	n.net.mu.Lock()
	defer n.net.mu.Unlock()
	if n.closed || at != n.attempt || n.up != nil {
		return
	}
	route := n.route
	n.tell(func(b *backends.Batch) {
		n.h.Down(b, n, backends.Loss{Class: class, Err: errors.New("login: no connection"), Route: route, Gone: class == backends.LossDenied})
	})
	if class == backends.LossDenied {
		n.later(fakeDenied, n.login)
	} else if route.Own() {
		n.later(fakeRetry, n.login)
	}
}

func (n *fakeNexus) arrive(at uint64) {
	n.net.mu.Lock()
	defer n.net.mu.Unlock()
	if n.closed || at != n.attempt || n.up != nil {
		return
	}
	p, adapter := n.way()
	if p.srv.stopped || p.down[adapter] || p.down[""] || p.mute[adapter] {
		n.later(fakeLoginLimit, func() { n.failed(at, backends.LossConnect) })
		return
	}
	s := p.srv
	if s.removed {
		n.later(0, func() { n.failed(at, backends.LossDenied) })
		return
	}
	if old := s.conns[n.nexus(p)]; old != nil { // reinstatement
		old.gone = true
		old.unread = nil
	}
	n.net.logins++
	n.gen++
	c := &fakeConn{port: n.port(), nexus: n, gen: n.gen, ours: true}
	s.conns[n.nexus(p)] = c
	n.up = c
	for _, l := range s.luns {
		l.attn[n.port()] = backends.Sense{Valid: true, Key: 6, ASC: 0x29}
	}
	l := backends.Login{Generation: n.gen, Route: n.route, GroupTag: p.tag}
	n.tell(func(b *backends.Batch) { n.h.Up(b, n, l) })
}

// lose ends the session from outside. Caller holds mu.
func (n *fakeNexus) lose(class backends.LossClass) {
	c := n.up
	if c == nil {
		return
	}
	c.ours = false
	n.up = nil
	loss := backends.Loss{Class: class, Err: fmt.Errorf("%v", class), Generation: c.gen, Route: n.route}
	n.tell(func(b *backends.Batch) { n.h.Down(b, n, loss) })
	n.endAll()
	if class != backends.LossRelogin && class != backends.LossClosed {
		n.later(fakeLoginTime, n.login)
	}
}

// endAll completes all that is outstanding with Transport.
func (n *fakeNexus) endAll() {
	for _, c := range n.out {
		n.finish(c, backends.Result{Class: backends.Transport, Sent: backends.SentSome}, nil)
	}
	n.out = nil
	for _, e := range n.execs {
		n.endExec(e, backends.Result{Class: backends.Transport, Sent: backends.SentSome}, nil)
	}
	n.execs = nil
	for _, t := range n.tmfs {
		n.endTMF(t, backends.TMLost)
	}
	n.tmfs = nil
}

// finish completes c's request once. Caller holds mu.
func (n *fakeNexus) finish(c *fakeCmd, res backends.Result, data []byte) {
	r := c.req
	if r == nil {
		return
	}
	c.req = nil
	att := c.att
	n.tell(func(b *backends.Batch) {
		r.Attempt = att
		if res.OK() && r.Op == backends.Read {
			r.Data.AppendBytes(data)
		}
		b.Complete(r, res)
	})
}

func (n *fakeNexus) endExec(e *backends.Command, res backends.Result, data []byte) {
	n.tell(func(b *backends.Batch) {
		e.Result = res
		if res.OK() {
			e.In.AppendBytes(data)
		}
		e.Done(b, e)
	})
}

func (n *fakeNexus) endTMF(t *backends.TaskManagement, r backends.TMResponse) {
	n.tell(func(b *backends.Batch) {
		t.Response = r
		t.Done(b, t)
	})
}

func (n *fakeNexus) Session(lun uint16) backends.Session {
	n.net.mu.Lock()
	defer n.net.mu.Unlock()
	s := n.sessions[lun]
	if s == nil {
		s = &fakeSession{n: n, lun: lun}
		n.sessions[lun] = s
	}
	return s
}

func (n *fakeNexus) Relogin(r backends.Route) {
	n.net.mu.Lock()
	defer n.net.mu.Unlock()
	if n.closed {
		return
	}
	n.lose(backends.LossRelogin)
	n.route = r
	n.loginLocked()
}

// Logout ends the session at the target too, unless that is stopped.
func (n *fakeNexus) Logout() {
	n.net.mu.Lock()
	defer n.net.mu.Unlock()
	if n.up != nil && !n.closed {
		n.net.logouts++
		n.forgottenLocked()
		n.lose(backends.LossLogout)
	}
}

func (n *fakeNexus) forgottenLocked() {
	if p, _ := n.way(); p != nil && !p.srv.stopped {
		delete(p.srv.conns, n.nexus(p))
	}
}

func (n *fakeNexus) Close(context.Context) error {
	n.net.mu.Lock()
	if !n.closed {
		if n.up != nil {
			n.forgottenLocked()
		}
		n.lose(backends.LossClosed)
		n.closed = true
		close(n.work)
	}
	n.net.mu.Unlock()
	<-n.ended
	return nil
}

// fakeSession implements backends.Session.
type fakeSession struct {
	n    *fakeNexus
	lun  uint16
	gen  uint64
	geom backends.Geometry
	subs int // requests submitted
}

func (s *fakeSession) Nexus() backends.Nexus { return s.n }
func (s *fakeSession) LUN() uint16           { return s.lun }
func (s *fakeSession) Load() (int, int)      { return len(s.n.out), 128 }

func (s *fakeSession) SetGeometry(gen uint64, g backends.Geometry) {
	s.n.net.mu.Lock()
	defer s.n.net.mu.Unlock()
	if s.n.up != nil && s.n.up.gen == gen {
		s.gen, s.geom = gen, g
	}
}

func (s *fakeSession) Submit(b *backends.Batch, reqs []*backends.Request) {
	n := s.n
	n.net.mu.Lock()
	defer n.net.mu.Unlock()
	s.subs += len(reqs)
	for _, r := range reqs {
		if n.up == nil || s.gen != n.up.gen || n.closed {
			b.Complete(r, backends.Failed(backends.Transport))
			continue
		}
		n.itt++
		c := &fakeCmd{
			conn: n.up, req: r, op: r.Op, off: r.Offset, n: r.Length,
			att: backends.Attempt{Generation: n.up.gen, ITT: n.itt, CmdSN: n.itt},
		}
		c.data = make([]byte, r.Data.Len()) // in the socket now
		r.Data.CopyTo(c.data)
		n.out = append(n.out, c)
		p, adapter := n.way()
		c.lun = p.srv.luns[s.lun]
		if p.mute[adapter] || p.mute[""] {
			continue // lost on the way; NOP finds out
		}
		p.srv.receive(c)
	}
}

// receive takes a command from the network. Caller holds mu.
func (s *fakeServer) receive(c *fakeCmd) {
	if s.stopped {
		c.conn.unread = append(c.conn.unread, c)
		return
	}
	s.begin(c)
}

func (s *fakeServer) begin(c *fakeCmd) {
	l := c.lun
	if l == nil {
		s.reply(c, sense(0x5, 0x25, 0), nil)
		return
	}
	if a, ok := l.attn[c.conn.port]; ok && !l.hung {
		delete(l.attn, c.conn.port)
		s.attention(c, a)
		return
	}
	if c.op.Changes() && l.conflicts(c.conn.port) {
		s.reply(c, backends.Result{Class: backends.ReservationConflict, Sent: backends.SentAnswered, Status: 0x18}, nil)
		return
	}
	if res, ok := l.alua.refuses(c.conn.nexus); !ok {
		s.reply(c, res, nil)
		return
	}
	if l.answer != nil && c.req != nil {
		if res, ok := l.answer(c.req); ok {
			s.reply(c, res, nil)
			return
		}
	}
	if l.hung {
		c.lost = true
		return
	}
	if l.swallow != nil && c.req != nil && l.swallow(c.req) {
		c.lost = true
		return
	}
	var d time.Duration
	if l.delay != nil && c.req != nil {
		d = l.delay(c.req)
	}
	c.begun = true
	l.running[c] = true
	if d == 0 {
		s.end(c)
		return
	}
	time.AfterFunc(d, func() {
		s.net.mu.Lock()
		defer s.net.mu.Unlock()
		s.end(c)
	})
}

// end is the worker: the medium changes now, whoever is still interested.
func (s *fakeServer) end(c *fakeCmd) {
	l := c.lun
	res := backends.Done()
	var data []byte
	if !l.m.apply(c) {
		res = sense(0xe, 0x1d, 0)
		res.Class = backends.Miscompare
	}
	switch c.op {
	case backends.Read:
		data = bytes.Clone(l.m.b[c.off : c.off+c.n])
	case backends.Flush:
		l.syncs++
	case backends.Write:
		l.writes++
	case backends.Unmap, backends.WriteZeroes, backends.CompareAndWrite, backends.Verify, backends.Cache, backends.BlockStatus:
	}
	c.done = true
	delete(l.running, c)
	s.reply(c, res, data)
	for _, f := range c.aborted {
		f()
	}
	if len(l.running) == 0 {
		w := l.waiting
		l.waiting = nil
		for _, f := range w {
			f()
		}
	}
}

func (s *fakeServer) reachable(c *fakeConn) bool {
	if !c.ours || c.gone {
		return false
	}
	p, adapter := c.nexus.way()
	return !p.mute[adapter] && !p.mute[""]
}

func (s *fakeServer) reply(c *fakeCmd, res backends.Result, data []byte) {
	if !s.reachable(c.conn) {
		return
	}
	n := c.conn.nexus
	n.out = slices.DeleteFunc(n.out, func(o *fakeCmd) bool { return o == c })
	n.finish(c, res, data)
}

func (s *fakeServer) attention(c *fakeCmd, a backends.Sense) {
	n := c.conn.nexus
	if !s.reachable(c.conn) {
		return
	}
	sess := n.sessions[c.lun.lun]
	n.tell(func(b *backends.Batch) { n.h.UnitAttention(b, sess, a) })
	s.reply(c, backends.Result{Class: backends.Busy, Sent: backends.SentAnswered, Status: 2, Sense: a}, nil)
}

// sense is a CHECK CONDITION as a session tells it.
func sense(key, asc, ascq uint8) backends.Result {
	class := backends.Medium
	switch scsi.SenseKey(key) {
	case scsi.IllegalRequest:
		class = backends.IllegalRequest
		if asc == 0x25 {
			class = backends.NoPath
		}
	case scsi.UnitAttention, scsi.NotReady, scsi.AbortedCommand:
		class = backends.Busy
	case scsi.DataProtect:
		class = backends.DataProtect
	default:
	}
	return backends.Result{Class: class, Sent: backends.SentAnswered, Status: 2, Sense: backends.Sense{Valid: true, Key: key, ASC: asc, ASCQ: ascq}}
}

func (s *fakeSession) Exec(b *backends.Batch, c *backends.Command) {
	n := s.n
	n.net.mu.Lock()
	defer n.net.mu.Unlock()
	end := func(res backends.Result, data []byte) {
		if n.closed {
			c.Result = res
			c.Done(b, c)
			return
		}
		n.endExec(c, res, data)
	}
	if n.up == nil || n.closed {
		end(backends.Failed(backends.Transport), nil)
		return
	}
	p, adapter := n.way()
	l := p.srv.luns[s.lun]
	cdb := scsi.CDB(c.CDB)
	dead := l != nil && l.hung && cdb.Opcode() != scsi.OpReportLUNs
	if p.srv.stopped || p.mute[adapter] || p.mute[""] || dead {
		n.execs = append(n.execs, c)
		time.AfterFunc(c.Timeout, func() {
			n.net.mu.Lock()
			defer n.net.mu.Unlock()
			if i := slices.Index(n.execs, c); i >= 0 {
				n.execs = slices.Delete(n.execs, i, i+1)
				n.endExec(c, backends.Result{Class: backends.Transport, Sent: backends.SentSome}, nil)
			}
		})
		return
	}
	if l != nil && cdb.Opcode() != scsi.OpReportLUNs {
		l.asked[cdb.Opcode()]++
	}
	if l != nil && l.sizing != nil && cdb.Opcode() == scsi.OpServiceActionIn16 {
		l.sizing()
	}
	if l != nil && cdb.Opcode() != scsi.OpInquiry && cdb.Opcode() != scsi.OpReportLUNs {
		if a, ok := l.attn[n.port()]; ok {
			delete(l.attn, n.port())
			n.tell(func(b *backends.Batch) { n.h.UnitAttention(b, s, a) })
			end(backends.Result{Class: backends.Busy, Sent: backends.SentAnswered, Status: 2, Sense: a}, nil)
			return
		}
	}
	if op := cdb.Opcode(); l != nil && op != scsi.OpInquiry && op != scsi.OpReportLUNs && op != scsi.OpMaintenanceIn && op != scsi.OpMaintenanceOut {
		if res, ok := l.alua.admits(n, op); !ok {
			end(res, nil)
			return
		}
	}
	if op := cdb.Opcode(); l != nil && (op == scsi.OpPersistentReserveIn || op == scsi.OpPersistentReserveOut) {
		data, res := l.reserve(n.port(), &cdb, c.Out.Bytes())
		end(res, data[:min(len(data), c.MaxIn)])
		return
	}
	if l != nil && l.alua != nil {
		if l.alua.exec(l, n, c, end) {
			return
		}
	}
	data, res := p.srv.inquire(l, &cdb)
	data = data[:min(len(data), c.MaxIn)]
	if l != nil && l.lag > 0 && cdb.Opcode() == scsi.OpRead10 {
		time.AfterFunc(l.lag, func() {
			n.net.mu.Lock()
			defer n.net.mu.Unlock()
			if !n.closed {
				n.endExec(c, res, data)
			}
		})
		return
	}
	end(res, data)
}

// inquire answers what the scan asks.
func (s *fakeServer) inquire(l *fakeLUN, cdb *scsi.CDB) ([]byte, backends.Result) {
	raw := (*[16]byte)(cdb)
	if cdb.Opcode() == scsi.OpReportLUNs {
		if s.noLUN0 {
			return nil, sense(5, 0x20, 0)
		}
		var fields []scsi.LUNField
		for _, n := range slices.Sorted(maps.Keys(s.luns)) {
			fields = append(fields, scsi.LUN(n).Field())
		}
		return scsi.AppendLUNList(nil, fields), backends.Done()
	}
	if l == nil {
		if cdb.Opcode() == scsi.OpInquiry {
			return scsi.StandardInquiry{Peripheral: scsi.PeripheralNoUnit}.Append(nil), backends.Done()
		}
		return nil, sense(5, 0x25, 0)
	}
	capacity := scsi.Capacity{Blocks: l.size / 512, BlockSize: 512, PhysicalExponent: 3}
	switch cdb.Opcode() {
	case scsi.OpInquiry:
		q, _ := scsi.DecodeInquiry(raw)
		return l.vpd(q)
	case scsi.OpServiceActionIn16:
		return capacity.Append16(nil), backends.Done()
	case scsi.OpModeSense6:
		page := scsi.CachingPage{WriteCache: l.wce}.Append(nil)
		return scsi.ModeData{DPOFUA: l.fua, Pages: page}.Append(nil, 6), backends.Done()
	case scsi.OpTestUnitReady:
		l.turs++
		if l.unready != nil {
			return nil, *l.unready
		}
		return nil, backends.Done()
	case scsi.OpSynchronizeCache10:
		if l.noSync {
			return nil, sense(3, 0x0c, 0)
		}
		l.syncs++
		return nil, backends.Done()
	case scsi.OpRead10:
		rw, _ := scsi.DecodeReadWrite(raw)
		if l.tests++; l.unread != nil {
			if res, bad := l.unread(rw.LBA * 512); bad {
				return nil, res
			}
		}
		return bytes.Clone(l.m.b[rw.LBA*512:][:512]), backends.Done()
	default:
		return nil, sense(5, 0x20, 0)
	}
}

func (l *fakeLUN) vpd(q scsi.Inquiry) ([]byte, backends.Result) {
	if !q.VPD {
		return scsi.StandardInquiry{Version: 6, Vendor: "FAKE", Product: l.product, Revision: "1"}.Append(nil), backends.Done()
	}
	switch q.Page {
	case scsi.PageSerialNumber:
		return scsi.AppendSerialNumber(nil, 0, l.serial), backends.Done()
	case scsi.PageIdentification:
		return scsi.AppendDesignators(nil, 0, []scsi.Designator{l.id}), backends.Done()
	case scsi.PageBlockLimits:
		return scsi.BlockLimits{MaxTransfer: 1024, MaxCompareAndWrite: 8, MaxUnmapBlocks: 1 << 16, MaxWriteSame: 1 << 16}.Append(nil, 0), backends.Done()
	default:
		return nil, sense(5, 0x24, 0)
	}
}

func (s *fakeSession) TMF(b *backends.Batch, t *backends.TaskManagement) {
	n := s.n
	n.net.mu.Lock()
	defer n.net.mu.Unlock()
	if n.closed {
		b.Defer(runnerFunc(func(b *backends.Batch) { t.Response = backends.TMLost; t.Done(b, t) }))
		return
	}
	if n.up == nil {
		n.endTMF(t, backends.TMLost)
		return
	}
	n.tmfs = append(n.tmfs, t)
	answer := func(r backends.TMResponse) {
		if i := slices.Index(n.tmfs, t); i >= 0 {
			n.tmfs = slices.Delete(n.tmfs, i, i+1)
			n.endTMF(t, r)
		}
	}
	time.AfterFunc(t.Timeout, func() {
		n.net.mu.Lock()
		defer n.net.mu.Unlock()
		answer(backends.TMTimeout)
	})
	p, adapter := n.way()
	if p.srv.stopped || p.mute[adapter] || p.mute[""] {
		return
	}
	l := p.srv.luns[s.lun]
	if l == nil {
		answer(backends.TMNoLUN)
		return
	}
	if l.hung {
		return
	}
	switch t.Function {
	case backends.AbortTask:
		n.net.aborts++
		s.abort(t, answer)
	case backends.LUNReset:
		n.net.resets++
		l.reset(n.port(), func() { answer(backends.TMComplete) })
	case backends.TargetReset:
		answer(backends.TMRefused)
	}
}

type runnerFunc func(b *backends.Batch)

func (f runnerFunc) RunBatch(b *backends.Batch) { f(b) }

func (s *fakeSession) abort(t *backends.TaskManagement, answer func(backends.TMResponse)) {
	n := s.n
	i := slices.IndexFunc(n.out, func(c *fakeCmd) bool { return c.req == t.Task })
	if i < 0 {
		answer(backends.TMNoTask)
		return
	}
	c := n.out[i]
	if c.begun && !c.done {
		c.aborted = append(c.aborted, func() { answer(backends.TMNoTask) })
		return
	}
	n.out = slices.Delete(n.out, i, i+1)
	n.finish(c, backends.Result{Class: backends.Aborted, Sent: backends.SentAnswered}, nil)
	answer(backends.TMComplete)
}

// reset is LOGICAL UNIT RESET: done is called when nothing runs any more. What
// was swallowed is forgotten without an answer.
func (l *fakeLUN) reset(port string, done func()) {
	raise := func() {
		for _, c := range l.srv.conns {
			if c.port != port {
				l.attn[c.port] = backends.Sense{Valid: true, Key: 6, ASC: 0x29}
			}
		}
		done()
	}
	if len(l.running) == 0 {
		raise()
		return
	}
	l.waiting = append(l.waiting, raise)
}

// Faults.

// stop and cont are SIGSTOP and SIGCONT of the target process.
func (s *fakeServer) stop() {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	s.stopped = true
	time.AfterFunc(fakeNOP, func() {
		s.net.mu.Lock()
		defer s.net.mu.Unlock()
		if s.stopped {
			s.loseAll(backends.LossSilent)
		}
	})
}

func (s *fakeServer) loseAll(class backends.LossClass) {
	for _, n := range s.net.nexuses {
		if p, _ := n.way(); n.up != nil && p.srv == s {
			n.lose(class)
		}
	}
}

func (s *fakeServer) cont() {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	s.stopped = false
	for _, c := range s.conns {
		list := c.unread
		c.unread = nil
		for _, cmd := range list {
			s.begin(cmd)
		}
	}
}

// reset cuts the connections through a portal from an adapter ("": all).
func (n *fakeNet) reset(portal, adapter string) (cut int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, x := range n.nexuses {
		p, a := x.way()
		if x.up != nil && p.name == portal && (adapter == "" || a == adapter) {
			x.lose(backends.LossReset)
			cut++
		}
	}
	return cut
}

// cut makes a portal unreachable and resets its connections; mend ends that.
func (n *fakeNet) cut(portal string) {
	n.mu.Lock()
	n.portals[portal].down[""] = true
	n.mu.Unlock()
	n.reset(portal, "")
}

func (n *fakeNet) mend(portal string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.portals[portal].down)
	clear(n.portals[portal].mute)
}

// mute has all packets through a portal vanish; NOPs find out.
func (n *fakeNet) mute(portal string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.portals[portal].mute[""] = true
	time.AfterFunc(fakeNOP, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if !n.portals[portal].mute[""] {
			return
		}
		for _, x := range n.nexuses {
			if p, _ := x.way(); x.up != nil && p.name == portal {
				x.lose(backends.LossSilent)
			}
		}
	})
}

// count reads a counter.
func (n *fakeNet) count(c *int) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return *c
}

// peek reads the first byte of a medium.
func (n *fakeNet) peek(l *fakeLUN) byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	return l.m.b[0]
}

// with runs f under the network's lock, to change what LUNs do.
func (n *fakeNet) with(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}
