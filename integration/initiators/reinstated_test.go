// SPDX-License-Identifier: Apache-2.0

//go:build integration

package initiators

import (
	"bytes"
	"net"
	"os"
	"sync/atomic"
	"testing"

	"pathgate/integration/gate"
	"pathgate/integration/proxy"
	"pathgate/integration/tgtd"
	wire "pathgate/internal/iscsi"
	"pathgate/internal/scsi"
)

const (
	older  = 'A' // what the session that is lost writes
	newer  = 'B' // what the next one writes
	chunk  = 8 << 10
	chunks = 8
)

// slow is a gateway over two LUNs of a tgtd that can be made slow.
type slow struct {
	srv    *tgtd.Server
	px     *proxy.Proxy
	g      *gate.Gate
	portal string
}

// newSlow starts one; abort is how long the gateway waits for the answer to an ABORT
// TASK before it takes the task for a ghost.
func newSlow(t *testing.T, abort string) *slow {
	t.Helper()
	s := &slow{srv: tgtd.New(t, tgtd.Options{Targets: []tgtd.Target{{Name: "iqn.2026-11.test:slow", LUNs: []tgtd.LUN{
		{SizeBytes: 8 * mib, SCSIID: "pathgate-slow-1", SCSISN: "slow1"}, {SizeBytes: 8 * mib, SCSIID: "pathgate-slow-2", SCSISN: "slow2"},
	}}}})}
	s.px = proxy.MustNew(t, proxy.Options{Target: s.srv.Portals()[0], Protocol: proxy.ISCSI, Seed: 1})
	g, portals := start(t, gate.Config{
		Adapters: []string{"127.0.0.1"},
		Targets:  []gate.Target{{Portals: []string{s.px.Addr()}}},
		Disks:    []string{`{name: root, lun: "vmhba0:0:1"}`, `{name: data, lun: "vmhba0:0:2"}`},
		Timeouts: map[string]string{
			"abort": abort, "command": "1m", "request": "2m", "nop-timeout": "1m", "client-nop-interval": "1m", "failback": "50ms",
		},
	}, 1)
	s.g, s.portal = g, portals[0]
	g.WaitDisks(t, patience, available(2))
	return s
}

// used logs in, takes the unit attentions of the login and writes zeroes to both disks.
func (s *slow) used(t *testing.T) *peer {
	t.Helper()
	p := mustLogin(t, s.portal, isid(1))
	for lun := range scsi.LUN(2) {
		p.once(t, lun, lost)
		if a := p.await(t, p.write(t, lun, 0, make([]byte, chunks*chunk))); a.status != scsi.StatusGood {
			t.Fatalf("%v %v", a.status, a.sense)
		}
	}
	return p
}

// send sends writes to both disks, which do not end, and waits until the gateway has
// sent all of them.
func (s *slow) send(t *testing.T, p *peer) {
	t.Helper()
	from := s.px.Counters().ToTarget.DataBytes
	for i := range chunks {
		for lun := range scsi.LUN(2) {
			p.write(t, lun, i*chunk, fill(chunk, older))
		}
	}
	if err := s.px.Wait(func(c proxy.Counters) bool { return c.ToTarget.DataBytes >= from+2*chunks*chunk }, patience); err != nil {
		t.Fatal(err)
	}
}

// ghosts counts the writes whose ranges are held.
func (s *slow) ghosts(t *testing.T) (n int) {
	for _, x := range s.g.Paths(t) {
		n += x.Ghosts
	}
	return n
}

// medium is what tgtd's file of a disk has in the blocks that are written.
func (s *slow) medium(t *testing.T, lun scsi.LUN) []byte {
	t.Helper()
	f, err := os.Open(s.srv.File(0, int(lun)+1))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, chunks*chunk)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// settle waits until the gateway is well again and no old connection to the target is left:
// what was late has come.
func (s *slow) settle(t *testing.T) {
	t.Helper()
	s.g.WaitUp(t, 2, patience)
	if err := s.px.Wait(func(c proxy.Counters) bool { return c.Active == 1 }, patience); err != nil {
		t.Fatal(err)
	}
}

// relogin is the answer to the login that reinstates a session.
type relogin struct {
	p      *peer
	err    error
	early  bool      // the target had not gone on
	medium [2][]byte // then, by LUN
}

// relogin logs in as first did, while the target stands still; goesOn tells when that is
// over. It returns when the gateway is ending the tasks of first.
func (s *slow) relogin(t *testing.T, first *peer, goesOn *atomic.Bool) <-chan relogin {
	t.Helper()
	answered := make(chan relogin, 1)
	go func() {
		var r relogin
		r.p, r.err = peerLogin(s.portal, isid(1))
		r.early = !goesOn.Load()
		for lun := range r.medium {
			r.medium[lun] = s.medium(t, scsi.LUN(lun))
		}
		answered <- r
	}()
	first.ended(t)
	mustLogin(t, s.portal, isid(2)) // one that replaces no session does not wait
	return answered
}

// take waits for the answer.
func take(t *testing.T, first *peer, answered <-chan relogin) relogin {
	t.Helper()
	r := <-answered
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { _ = r.p.Close() })
	if r.p.tsih == first.tsih {
		t.Errorf("the session has the TSIH %d of the old one", r.p.tsih)
	}
	return r
}

// overwrite starts the writes of the new session, over half of the older ones on LUN 0.
func (s *slow) overwrite(t *testing.T, p *peer) (tags []wire.InitiatorTaskTag) {
	t.Helper()
	for i := range chunks / 2 {
		tags = append(tags, p.write(t, 0, i*chunk, fill(chunk, newer)))
	}
	return tags
}

// check waits for the writes of the new session, and demands that they stay when all that
// was late has come: through the gateway, and on what tgtd writes to.
func (s *slow) check(t *testing.T, p *peer, tags []wire.InitiatorTaskTag) {
	t.Helper()
	for _, itt := range tags {
		if a := p.await(t, itt); a.status != scsi.StatusGood {
			t.Errorf("write of the new session: %v, %v", a.status, a.sense)
		}
	}
	want := fill(chunks/2*chunk, newer)
	same := func(when string) {
		t.Helper()
		if !bytes.Equal(p.read(t, 0, 0, len(want)), want) || !bytes.Equal(s.medium(t, 0)[:len(want)], want) {
			t.Errorf("%s: what the new session wrote is not there", when)
		}
	}
	same("after the writes")
	s.settle(t)
	same("after what was late")
	for lun := range scsi.LUN(2) {
		now := s.medium(t, lun)
		if !bytes.Equal(p.read(t, lun, 0, len(now)), now) {
			t.Errorf("LUN %v: read is not what is on the medium", lun)
		}
		for i := range chunks {
			if c := now[i*chunk:][:chunk]; !bytes.Equal(c, fill(chunk, c[0])) {
				t.Errorf("LUN %v: chunk %d is half of a write", lun, i)
			}
		}
	}
}

// TestP10ReinstatementOverStoppedTarget: a session is reinstated while its writes are with
// a target that stands still. The login is answered when the target has answered them, and
// from then on they change nothing.
func TestP10ReinstatementOverStoppedTarget(t *testing.T) {
	s := newSlow(t, "1m")
	first := s.used(t)
	if err := s.srv.Stop(); err != nil {
		t.Fatal(err)
	}
	s.send(t, first)
	var goesOn atomic.Bool
	answered := s.relogin(t, first, &goesOn)
	goesOn.Store(true)
	if err := s.srv.Cont(); err != nil {
		t.Fatal(err)
	}
	r := take(t, first, answered)
	if r.early {
		t.Error("the login was answered before the target had answered the writes of the old session")
	}
	for lun := range scsi.LUN(2) {
		r.p.once(t, lun, lost)
	}
	s.check(t, r.p, s.overwrite(t, r.p))
	if !bytes.Equal(s.medium(t, 1), r.medium[1]) || !bytes.Equal(s.medium(t, 0)[chunks/2*chunk:], r.medium[0][chunks/2*chunk:]) {
		t.Error("a write of the old session has changed the medium after the login of the new one")
	}
}

// TestP10ReinstatementWithGhosts: a session is reinstated while the network holds its
// writes, and no target answers for them. The login is answered while their ranges are
// held, and what the new session writes there is not lost when the old writes come.
func TestP10ReinstatementWithGhosts(t *testing.T) {
	s := newSlow(t, "100ms")
	first := s.used(t)
	s.px.MustSet(proxy.Fault{Kind: proxy.Hold, Dir: proxy.ToTarget})
	s.send(t, first)
	var goesOn atomic.Bool
	r := take(t, first, s.relogin(t, first, &goesOn))
	if n := s.ghosts(t); n < 2*chunks {
		t.Errorf("the login is answered, and the ranges of %d of %d writes are held", n, 2*chunks)
	}
	for lun := range scsi.LUN(2) {
		if !bytes.Equal(r.medium[lun], make([]byte, chunks*chunk)) {
			t.Errorf("LUN %v: a write that is held is on the medium", lun)
		}
		if a := r.p.exec(t, lun, scsi.TestUnitReady{}, 0); a.status != scsi.StatusCheckCondition || !lost(a.sense) {
			t.Errorf("LUN %v: first command: %v, %v", lun, a.status, a.sense)
		}
	}
	tags := s.overwrite(t, r.p)
	s.px.Clear()
	s.check(t, r.p, tags)
}

// TestP11AttentionAfterSessionLoss: an initiator that has lost its connection with writes
// under way is told so on each disk that it used: once, and not by what must not tell it.
func TestP11AttentionAfterSessionLoss(t *testing.T) {
	s := newSlow(t, "1m")
	first := s.used(t)
	if err := s.srv.Stop(); err != nil {
		t.Fatal(err)
	}
	s.send(t, first)
	if err := first.Conn.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = first.Close() // RST
	answered := make(chan relogin, 1)
	go func() {
		p, err := peerLogin(s.portal, isid(1))
		answered <- relogin{p: p, err: err}
	}()
	if err := s.srv.Cont(); err != nil {
		t.Fatal(err)
	}
	r := take(t, first, answered)
	for lun := range scsi.LUN(2) {
		r.p.good(t, lun, scsi.Inquiry{AllocationLength: 36}, 36)
		r.p.good(t, lun, scsi.ReportLUNs{AllocationLength: 255}, 255)
		a := r.p.await(t, r.p.write(t, lun, 0, fill(chunk, newer)))
		if a.status != scsi.StatusCheckCondition || !lost(a.sense) {
			t.Errorf("LUN %v: first command: %v, %v", lun, a.status, a.sense)
		}
	}
	for lun := range scsi.LUN(2) {
		if a := r.p.await(t, r.p.write(t, lun, 0, fill(chunk, newer))); a.status != scsi.StatusGood {
			t.Errorf("LUN %v: second command: %v, %v", lun, a.status, a.sense)
		}
		r.p.good(t, lun, scsi.TestUnitReady{}, 0)
	}
	s.settle(t)
	for lun := range scsi.LUN(2) {
		if !bytes.Equal(s.medium(t, lun)[:chunk], fill(chunk, newer)) {
			t.Errorf("LUN %v: what the new session wrote is not there", lun)
		}
	}
}
