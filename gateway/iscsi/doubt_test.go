// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

// incarnation logs in with a random ISID of its own, as libiscsi does each time.
func incarnation(r *raw, number byte) *raw {
	r.isid = wire.ISID{byte(wire.ISIDRandom) << 6, 0, 0, number}
	r.login(nil)
	r.attention()
	return r
}

// asked demands a ping.
func (r *raw) asked() wire.TargetTransferTag {
	r.tb.Helper()
	h, _ := r.expect(wire.OpNOPIn)
	if h.ITT() != wire.NoTag || h.TTT() == wire.NoTag {
		r.tb.Fatalf("not a ping: %x", *h)
	}
	return h.TTT()
}

func (r *raw) prove(ttt wire.TargetTransferTag) {
	r.tb.Helper()
	r.pdu(wire.NOPOut{Immediate: true, ITT: wire.NoTag, TTT: ttt, CmdSN: r.cmdSN}, nil)
}

// H4: what the old session of an initiator that has come back with another random ISID
// gets afterwards, a whole write or only its data, is not carried out unless the
// initiator proves that it still uses it.
func TestH04LateBytesOfOldSession(t *testing.T) {
	stale, fresh := noise(1, 512), noise(2, 512)
	bubble(t, Config{NOPInterval: -1}, func(t *testing.T, srv *Server, p *pipes, _ func()) {
		old := incarnation(p.dial(t), 1)
		owing := old.scsiWrite(9, 1)
		old.pdu(owing, nil)
		r2t := old.r2t(owing.ITT)

		again := incarnation(p.dial(t), 2)
		again.transfer(8, fresh)
		again.transfer(9, fresh)

		w := old.scsiWrite(8, 1)
		old.pdu(w, stale)
		ttt := old.asked()
		old.answer(r2t, stale, len(stale))
		old.prove(ttt - 1) // no proof
		synctest.Wait()
		again.blocks(8, fresh)
		again.blocks(9, fresh)
		begun := time.Now()
		old.closed()
		if got := time.Since(begun); got != DefaultNOPTimeout {
			t.Errorf("ended after %v, want %v", got, DefaultNOPTimeout)
		}
		synctest.Wait()
		again.blocks(8, fresh)
		again.blocks(9, fresh)
		if n := len(srv.Sessions()); n != 1 {
			t.Errorf("%d sessions", n)
		}
	})
}

// An initiator that does use several sessions is asked once after each login, and
// loses nothing.
func TestH04SeveralSessions(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, srv *Server, p *pipes, _ func()) {
		data := noise(3, 512)
		one := incarnation(p.dial(t), 1)
		two := incarnation(p.dial(t), 2)
		var writes []wire.SCSICommand
		for i := range 3 {
			w := one.scsiWrite(i, 1)
			one.pdu(w, data)
			writes = append(writes, w)
		}
		ttt := one.asked()
		three := incarnation(p.dial(t), 3)
		one.prove(ttt) // says nothing of the time since the third login
		one.prove(one.asked())
		for _, w := range writes {
			one.good(w.ITT)
		}
		one.transfer(5, data) // is not asked again
		for i, r := range []*raw{three, three, three, one} {
			r.blocks([]int{0, 1, 2, 5}[i], data)
		}
		w := two.scsiWrite(6, 1)
		two.pdu(w, data)
		two.prove(two.asked())
		two.good(w.ITT)
		time.Sleep(DefaultNOPInterval - time.Second)
		if n := len(srv.Sessions()); n != 3 {
			t.Errorf("%d sessions", n)
		}
	})
}

// Nobody else's login makes a session doubtful: not that of another initiator, and not
// one whose ISID is not drawn.
func TestH04NoDoubt(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, _ *Server, p *pipes, _ func()) {
		r := incarnation(p.dial(t), 1)
		kept := p.dial(t)
		kept.login(nil)
		kept.attention()
		other := p.dial(t)
		other.isid = wire.ISID{byte(wire.ISIDRandom) << 6, 9}
		other.login(func(s *wire.Settings) { s.InitiatorName = "iqn.2026-11.test:other" })
		other.attention()
		for i, x := range []*raw{r, kept, other} {
			x.transfer(i, noise(uint64(i), 512))
		}
	})
}

// slow is a device whose Submit takes as long as it is told to.
type slow struct {
	backends.Device
	on      atomic.Bool
	entered chan struct{}
	goOn    chan struct{}
}

func (d *slow) Submit(b *backends.Batch, reqs []*backends.Request) {
	if d.on.CompareAndSwap(true, false) {
		close(d.entered)
		<-d.goOn
	}
	d.Device.Submit(b, reqs)
}

// H4: a login is not answered while commands of an old session are being submitted: they
// would come after what the new session writes.
func TestH04SubmissionUnderWay(t *testing.T) {
	stale, fresh := noise(1, 512), noise(2, 512)
	d := &slow{Device: memory(t), entered: make(chan struct{}), goOn: make(chan struct{})}
	b := serve(t, Config{}, newSource().add(t, testTarget, d))
	old := incarnation(b.dial(t), 1)
	d.on.Store(true)
	w := old.scsiWrite(8, 1)
	old.pdu(w, stale)
	wait(t, "the submission", d.entered)

	in := make(chan *raw)
	next := b.dial(t)
	go func() { in <- incarnation(next, 2) }()
	eventually(t, "the login waits", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, s := range b.sessions {
			s.mu.Lock()
			n := len(s.doubt.outside)
			s.mu.Unlock()
			if n == 1 {
				return true
			}
		}
		return false
	})
	select {
	case <-in:
		t.Error("the login was answered")
	default:
	}
	close(d.goOn)
	again := wait(t, "the login", in)
	again.transfer(8, fresh)
	old.good(w.ITT)
	again.blocks(8, fresh)
}
