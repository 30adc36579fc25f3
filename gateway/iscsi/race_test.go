// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

// B28, B69, P5: sessions that end, abort and reset each other at random while their
// commands complete elsewhere leave nothing, and no command is answered twice.
func TestB28Races(t *testing.T) { raceSessions(t, 60) }

// raceSessions has each of four clients log in that often.
func raceSessions(t *testing.T, logins int) {
	hold := backends.NewHoldFault(memory(t))
	b := serve(t, Config{TaskTimeout: 10 * time.Second, LoginTimeout: 30 * time.Second}, newSource().add(t, testTarget, hold))
	before := runtime.NumGoroutine()
	hold.Hold(&backends.FaultRule{})
	stop := make(chan struct{})
	var releasing sync.WaitGroup
	releasing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				hold.ReleaseNext(2)
				runtime.Gosched()
			}
		}
	})
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 28))
			for range logins {
				chaos(t, b, rng, byte(i/2)) // two clients to an ISID: they reinstate each other
			}
		})
	}
	clients.Wait()
	close(stop)
	releasing.Wait()
	hold.Release()
	b.idle(t)
	eventually(t, "no goroutine is left over", func() bool { return runtime.NumGoroutine() <= before })
}

// chaos logs in, sends commands and functions, and goes away at once or later.
func chaos(t *testing.T, b *bench, rng *rand.Rand, id byte) {
	r := b.dial(t)
	defer r.conn.Close()
	r.isid[5] = id
	r.loginPDU(wire.OperationalNegotiation, wire.FullFeaturePhase, r.fast(kv(wire.KeyInitialR2T, "No")))
	answered := map[wire.InitiatorTaskTag]int{}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			h, _, err := r.read()
			if err != nil {
				return
			}
			if h.Opcode() == wire.OpSCSIResponse || h.Opcode() == wire.OpDataIn && h.Flags()&1 != 0 {
				if answered[h.ITT()]++; answered[h.ITT()] > 1 {
					t.Errorf("tag %d was answered twice", h.ITT())
				}
			}
		}
	}()
	var sent []wire.SCSICommand
	send := func(p encoder, data []byte) { _, _ = r.conn.Write(r.bytes(p, nil, data)) }
	for range rng.IntN(30) {
		switch rng.IntN(6) {
		case 0, 1:
			c := r.scsiRead(rng.IntN(100), 1+rng.IntN(8))
			sent = append(sent, c)
			send(c, nil)
		case 2, 3:
			c := r.scsiWrite(rng.IntN(100), 16)
			sent = append(sent, c)
			send(c, make([]byte, 512)) // the R2T is never answered
		case 4:
			if len(sent) > 0 {
				c := sent[rng.IntN(len(sent))]
				send(wire.TaskManagementRequest{
					Immediate: true, Function: wire.AbortTask, ITT: r.tag(), ReferencedTaskTag: c.ITT, RefCmdSN: c.CmdSN, CmdSN: r.cmdSN,
				}, nil)
			}
		case 5:
			if rng.IntN(4) == 0 {
				f := []wire.TaskFunction{wire.AbortTaskSet, wire.ClearTaskSet, wire.LogicalUnitReset, wire.TargetWarmReset}[rng.IntN(4)]
				send(wire.TaskManagementRequest{Immediate: true, Function: f, ITT: r.tag(), ReferencedTaskTag: wire.NoTag, CmdSN: r.cmdSN}, nil)
			}
		}
	}
	if rng.IntN(2) == 0 {
		send(wire.LogoutRequest{Immediate: true, ITT: r.tag(), CmdSN: r.cmdSN}, nil)
	} else {
		_ = r.conn.Close()
	}
	<-ended
}

// B66: an initiator that does not read stops being read, within its bound, and
// others go on.
func TestB66DeafInitiator(t *testing.T) {
	b := offer(t, Config{MaxPending: 1 << 20})
	deaf, r := b.session(t), b.dial(t)
	r.isid[5]++
	r.login(nil)
	r.attention()
	flood := deaf.bytes(wire.NOPOut{Immediate: true, ITT: 1, TTT: wire.NoTag, CmdSN: deaf.cmdSN}, nil, make([]byte, 64<<10))
	_ = deaf.conn.SetWriteDeadline(time.Now().Add(time.Hour))
	wrote := make(chan error, 1)
	go func() {
		for {
			if _, err := deaf.conn.Write(flood); err != nil {
				wrote <- err
				return
			}
		}
	}()
	var most int64
	eventually(t, "it is not read any more", func() bool {
		for _, s := range b.Sessions() {
			most = max(most, s.Pending)
		}
		return most > 1<<19 // where it is read again
	})
	for range 100 {
		r.ping()
	}
	for _, s := range b.Sessions() {
		most = max(most, s.Pending)
	}
	if most > 2<<20 {
		t.Errorf("%d bytes wait for it", most)
	}
	_ = deaf.conn.Close()
	if err := <-wrote; errors.Is(err, io.ErrShortWrite) {
		t.Error(err)
	}
	_ = r.conn.Close()
	b.idle(t)
}

// One unit over its credits answers TASK SET FULL; the session lives, and its window
// is as wide as its units together allow.
func TestCredits(t *testing.T) {
	d := &stuck{Memory: memory(t), open: 3}
	other := &stuck{Memory: memory(t), open: 4}
	b := serve(t, Config{}, newSource().add(t, testTarget, d).addLUN(t, testTarget, other))
	r := b.session(t)
	d.hold()
	var running []wire.SCSICommand
	for range 4 {
		c := r.scsiRead(0, 1)
		r.pdu(c, nil)
		running = append(running, c)
	}
	p, _ := r.status(running[3].ITT)
	if p.Status != 0x28 {
		t.Errorf("status %#x, want TASK SET FULL", p.Status)
	}
	if got := p.MaxCmdSN.Sub(p.ExpCmdSN) + 1; got != 4 {
		t.Errorf("%d places in the window with 3 of 7 busy", got)
	}
	c := r.scsiRead(0, 1)
	c.LUN[1] = 1
	r.pdu(c, nil)
	h, _ := r.expect(wire.OpSCSIResponse) // a unit attention of the other unit
	if h.ITT() != c.ITT {
		t.Errorf("answer for %d", h.ITT())
	}
	d.release()
	for _, c := range running[:3] {
		if data, _ := r.readData(c.ITT); !bytes.Equal(data, make([]byte, 512)) {
			t.Error("wrong data")
		}
	}
}
