// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"io"
	"net"
	"testing"
	"time"

	wire "pathgate/internal/iscsi"
)

// fuzzed starts a server for all inputs of a fuzz worker. run plays input on a
// connection of its own, behind prefix, and demands that it ends and leaves nothing.
func fuzzed(f *testing.F) (run func(t *testing.T, prefix, input []byte)) {
	b := offer(f, Config{MaxRecvDataSegmentLength: 8192, MaxBurstLength: 8192, FirstBurstLength: 4096, TaskTimeout: time.Second})
	return func(t *testing.T, prefix, input []byte) {
		conn, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		ended := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, conn)
			ended <- err
		}()
		_, _ = conn.Write(append(prefix[:len(prefix):len(prefix)], input...)) // fails when the server has closed
		_ = conn.(*net.TCPConn).CloseWrite()
		if err := <-ended; timedOut(err) {
			t.Fatal("the connection does not end")
		}
		b.idle(t)
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

func FuzzLogin(f *testing.F) {
	add := func(do func(r *raw)) { f.Add(recorded(f, do)) }
	add(func(r *raw) { r.loginPDU(wire.OperationalNegotiation, wire.FullFeaturePhase, r.fast()) })
	add(func(r *raw) {
		r.loginPDU(wire.SecurityNegotiation, wire.OperationalNegotiation, r.fast(kv(wire.KeyAuthMethod, "CHAP,None")))
		r.loginPDU(wire.OperationalNegotiation, wire.FullFeaturePhase, wire.Text{
			kv(wire.KeyHeaderDigest, "CRC32C,None"), kv(wire.KeyMaxBurstLength, "512"), kv(wire.KeyInitialR2T, "No"), kv("X-a", "b"),
		})
		r.pdu(wire.NOPOut{Immediate: true, ITT: 1, TTT: wire.NoTag}, []byte("x"))
	})
	add(func(r *raw) {
		r.pdu(wire.LoginRequest{Continue: true, CurrentStage: wire.OperationalNegotiation, ITT: 1}, []byte("Initia"))
		r.pdu(wire.LoginRequest{Transit: true, CurrentStage: wire.OperationalNegotiation, NextStage: wire.FullFeaturePhase, ITT: 1}, []byte("torName=x\x00"))
	})
	add(func(r *raw) {
		r.loginPDU(wire.OperationalNegotiation, wire.FullFeaturePhase, wire.Text{kv(wire.KeyInitiatorName, testInitiator), kv(wire.KeySessionType, "Discovery")})
		r.pdu(wire.TextRequest{Final: true, ITT: 1, TTT: wire.NoTag, CmdSN: r.cmdSN}, []byte("SendTargets=All\x00"))
	})
	run := fuzzed(f)
	f.Fuzz(func(t *testing.T, input []byte) { run(t, nil, input) })
}

func FuzzFullFeaturePhase(f *testing.F) {
	prefix := recorded(f, func(r *raw) {
		r.loginPDU(wire.OperationalNegotiation, wire.FullFeaturePhase, r.fast(
			kv(wire.KeyInitialR2T, "No"), kv(wire.KeyMaxOutstandingR2T, "2"), kv(wire.KeyMaxRecvDataSegmentLength, "600")))
	})
	add := func(do func(r *raw)) {
		f.Add(recorded(f, func(r *raw) {
			for range 2 { // the first takes the unit attention
				r.pdu(r.command([]byte{0}), nil)
			}
			do(r)
		}))
	}
	add(func(r *raw) { r.pdu(r.scsiRead(3, 8), nil) })
	add(func(r *raw) {
		c := r.scsiWrite(3, 16)
		c.Final = false
		r.pdu(c, make([]byte, 512))
		r.pdu(wire.DataOut{Final: true, ITT: c.ITT, TTT: wire.NoTag, BufferOffset: 512}, make([]byte, 1024))
		r.pdu(wire.DataOut{Final: true, LUN: c.LUN, ITT: c.ITT, TTT: 1, BufferOffset: 1536}, make([]byte, 6656))
		r.pdu(r.scsiRead(3, 16), nil)
	})
	add(func(r *raw) {
		c := r.scsiWrite(3, 16)
		c.CmdSN = c.CmdSN.Next()
		r.pdu(c, make([]byte, 512))
		r.manage(wire.TaskManagementRequest{Function: wire.AbortTask, ReferencedTaskTag: 9, RefCmdSN: c.CmdSN.Prev()})
		r.manage(wire.TaskManagementRequest{Function: wire.LogicalUnitReset})
		r.manage(wire.TaskManagementRequest{Function: wire.TargetColdReset})
	})
	add(func(r *raw) {
		r.pdu(wire.TextRequest{Continue: true, ITT: 1, TTT: wire.NoTag, CmdSN: r.next()}, []byte("Send"))
		r.pdu(wire.TextRequest{Final: true, ITT: 1, TTT: 1, CmdSN: r.next()}, []byte("Targets=\x00"))
		r.pdu(wire.NOPOut{Immediate: true, ITT: 1, TTT: wire.NoTag}, make([]byte, 700))
		r.pdu(wire.SNACK{Type: wire.SNACKStatus, ITT: wire.NoTag, Tag: wire.NoTag}, nil)
		r.pdu(wire.LogoutRequest{ITT: 7, CmdSN: r.next()}, nil)
	})
	add(func(r *raw) {
		c := r.scsiRead(0, 1)
		bidi := wire.CommandAHS{HasBidiRead: true, BidiRead: 5}.Append(nil)
		c.TotalAHSLength = len(bidi)
		r.write(r.bytes(c, bidi, nil))
	})
	run := fuzzed(f)
	f.Fuzz(func(t *testing.T, input []byte) { run(t, prefix, input) })
}
