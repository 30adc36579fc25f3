// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
	spc "pathgate/internal/scsi"
)

// P5: in a session that lives each command is answered once, whatever it is, whether
// the device carries it out or fails it, and in which order; one that was aborted has no
// answer after that of the function.
func TestP05OneAnswerEach(t *testing.T) {
	const rounds, depth = 40, 12
	hold := backends.NewHoldFault(memory(t))
	faults := backends.NewErrorFault(hold)
	faults.Set(&backends.FaultRule{Every: 7}, backends.Failed(backends.Medium))
	r := serve(t, Config{}, newSource().add(t, testTarget, faults)).session(t)
	hold.Hold(&backends.FaultRule{Every: 2})
	stop := make(chan struct{})
	var releasing sync.WaitGroup
	releasing.Go(func() {
		for {
			select {
			case <-stop:
				hold.Release()
				return
			default:
				hold.ReleaseNext(1)
				runtime.Gosched()
			}
		}
	})
	rng := rand.New(rand.NewPCG(5, 5))
	for n := range rounds {
		x := &exchange{raw: r, answers: map[wire.InitiatorTaskTag]int{}}
		for range depth {
			x.start(rng)
		}
		if n%2 == 0 {
			x.abort(x.sent[rng.IntN(depth)])
		}
		x.collect()
		r.ping() // what is too many would be before this
		for _, c := range x.sent {
			if got := x.answers[c.ITT]; got != 1 && !(got == 0 && x.over && c.ITT == x.victim) {
				t.Fatalf("round %d: %v has %d answers", n, spc.Opcode(c.CDB[0]), got)
			}
		}
	}
	close(stop)
	releasing.Wait()
}

// exchange is some commands that are sent at once, and what comes of them.
type exchange struct {
	*raw
	sent     []wire.SCSICommand
	answers  map[wire.InitiatorTaskTag]int
	victim   wire.InitiatorTaskTag // of the function
	function wire.InitiatorTaskTag // 0: none is on its way
	over     bool                  // it has been answered: the victim is gone
}

// start sends a command of any kind.
func (x *exchange) start(rng *rand.Rand) {
	var c wire.SCSICommand
	var data []byte
	switch rng.IntN(6) {
	case 0:
		c = x.scsiRead(rng.IntN(64), 1+rng.IntN(8))
	case 1: // beyond the end: ended before it reaches the device
		c = x.scsiRead(1<<30, 1)
	case 2: // all data at once
		c, data = x.scsiWrite(rng.IntN(64), 1), make([]byte, 512)
	case 3: // the rest is asked for
		c, data = x.scsiWrite(rng.IntN(64), 8), make([]byte, 512)
	case 4:
		c = x.command([]byte{byte(spc.OpSynchronizeCache10)})
	case 5:
		c = x.command([]byte{0})
	}
	x.sent = append(x.sent, c)
	x.pdu(c, data)
}

func (x *exchange) abort(c wire.SCSICommand) {
	x.victim = c.ITT
	x.function = x.manage(wire.TaskManagementRequest{Function: wire.AbortTask, ReferencedTaskTag: c.ITT, RefCmdSN: c.CmdSN})
}

// collect reads until each command has its answer or was aborted.
func (x *exchange) collect() {
	x.tb.Helper()
	for left := len(x.sent); left > 0 || x.function != 0; {
		h, _, err := x.read()
		if err != nil {
			x.tb.Fatalf("%d of %d commands have no answer: %v", left, len(x.sent), err)
		}
		switch op := h.Opcode(); {
		case op == wire.OpR2T:
			p, err := wire.DecodeR2T(h)
			if err != nil {
				x.tb.Fatal(err)
			}
			x.answer(p, make([]byte, 8*512), 1024)
		case op == wire.OpTaskManagementResponse && h.ITT() == x.function:
			x.function, x.over = 0, true
			if x.answers[x.victim] == 0 {
				left--
			}
		case op == wire.OpSCSIResponse || op == wire.OpDataIn && h.Flags()&1 != 0:
			if x.over && h.ITT() == x.victim {
				x.tb.Fatal("an aborted command is answered")
			}
			x.answers[h.ITT()]++
			left--
		case op != wire.OpDataIn:
			x.tb.Fatalf("got %v", op)
		}
		if h.Opcode() != wire.OpR2T && (h.Opcode() != wire.OpDataIn || h.Flags()&1 != 0) {
			x.statSN = h.StatSN().Next()
		}
	}
}
