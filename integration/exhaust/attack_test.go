// SPDX-License-Identifier: Apache-2.0

//go:build integration

package exhaust

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"pathgate/integration/nbdclient"
	wire "pathgate/internal/iscsi"
)

// attack is what one hostile connection does, until ctx ends, the gateway closes it, or
// nothing more can be done. did counts what it has done, so that a test knows that it
// was one.
type attack func(ctx context.Context, w where, number uint32, did *atomic.Int64)

// attacks are all of them, and how many connections each has at once.
var attacks = map[string]struct {
	run   attack
	conns int
}{
	"slow logins":        {slowLogin, 24},
	"half logins":        {halfLogin, 24},
	"deaf initiators":    {deafInitiator, 24},
	"deaf NBD clients":   {deafClient, 24},
	"endless writes":     {endlessWrite, 24},
	"endless NBD writes": {endlessNBDWrite, 24},
	"crumbs of data":     {crumbs, 24},
	"early data":         {earlyData, 24},
	"half PDUs":          {halfPDU, 24},
	"options":            {halfOption, 24},
	"pings":              {pings, 8},
	"immediate commands": {immediates, 8},
	"text":               {texts, 8},
	"rejected PDUs":      {rejects, 8},
	"connects":           {connects, 4},
	"NBD connects":       {nbdConnects, 4},
}

// launch runs an attack with as many connections as it has, each again and again, until
// ctx ends.
func launch(ctx context.Context, name string, w where, did *atomic.Int64) {
	a := attacks[name]
	var all sync.WaitGroup
	for i := range a.conns {
		all.Go(func() {
			for n := uint32(i); ctx.Err() == nil; n += uint32(a.conns) {
				before := did.Load()
				a.run(ctx, w, n, did)
				if did.Load() == before { // it was refused
					pause(ctx, 50*time.Millisecond)
				}
			}
		})
	}
	all.Wait()
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// closing closes c when ctx ends; the result is to be called before.
func closing(ctx context.Context, c io.Closer) (end func()) {
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	return func() {
		stop()
		_ = c.Close()
	}
}

// drip dials and says text a byte at a time.
func drip(ctx context.Context, addr string, text []byte, did *atomic.Int64) {
	conn, err := net.DialTimeout("tcp", addr, 30*time.Second)
	if err != nil {
		return
	}
	defer closing(ctx, conn)()
	for i := range text {
		if _, err := conn.Write(text[i : i+1]); err != nil {
			return
		}
		did.Add(1)
		pause(ctx, time.Second)
	}
}

func loginBytes(next wire.Stage, text string) []byte {
	var h wire.BHS
	wire.LoginRequest{Transit: true, NextStage: next, ISID: wire.ISID{0x80}, ITT: 7}.Encode(&h)
	return wire.LoginFraming().AppendPacket(nil, &h, nil, []byte(text))
}

func slowLogin(ctx context.Context, w where, _ uint32, did *atomic.Int64) {
	drip(ctx, w.Portal, loginBytes(wire.OperationalNegotiation, "InitiatorName=iqn.2026-11.test:slow\x00"), did)
}

// halfLogin comes as far as it may without an end.
func halfLogin(ctx context.Context, w where, _ uint32, did *atomic.Int64) {
	conn, err := net.DialTimeout("tcp", w.Portal, 30*time.Second)
	if err != nil {
		return
	}
	defer closing(ctx, conn)()
	text := "InitiatorName=iqn.2026-11.test:half\x00SessionType=Normal\x00TargetName=" + attacked + "\x00"
	if _, err := conn.Write(loginBytes(wire.OperationalNegotiation, text)); err == nil {
		did.Add(1)
		_, _ = io.Copy(io.Discard, conn)
	}
}

// within runs f with a session of its own.
func within(ctx context.Context, w where, number uint32, f func(p *peer) error) {
	p, err := session(w, number)
	if err != nil {
		return
	}
	defer closing(ctx, p)()
	_ = f(p)
}

// repeat sends b until it is not taken.
func repeat(ctx context.Context, c io.Writer, b []byte, did *atomic.Int64) {
	for ctx.Err() == nil {
		if _, err := c.Write(b); err != nil {
			return
		}
		did.Add(1)
	}
}

// deafInitiator asks for a lot and reads nothing.
func deafInitiator(ctx context.Context, w where, number uint32, did *atomic.Int64) {
	within(ctx, w, number, func(p *peer) error {
		for range 16 {
			if err := p.put(p.command(false, 32768), nil); err != nil {
				return err
			}
			did.Add(1)
		}
		<-ctx.Done()
		return nil
	})
}

func deafClient(ctx context.Context, w where, _ uint32, did *atomic.Int64) {
	r, err := transmission(w)
	if err != nil {
		return
	}
	defer closing(ctx, r)()
	for range 8 {
		if err := r.Send(nbdclient.Request{Cmd: nbdclient.CmdRead, Length: 32 << 20}.Append(nil)); err != nil {
			return
		}
		did.Add(1)
	}
	<-ctx.Done()
}

// endlessWrite sends all data of long writes but the last.
func endlessWrite(ctx context.Context, w where, number uint32, did *atomic.Int64) {
	within(ctx, w, number, func(p *peer) error {
		for range 4 {
			c := p.command(true, 32768)
			if err := p.put(c, nil); err != nil {
				return err
			}
			if err := p.feed(c, 256<<10, did); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return nil
	})
}

// errRefused: a write was answered before all of its data was there: no memory is free.
var errRefused = errors.New("refused")

// feed sends what a write is asked for, in parts, but for the last part of all.
func (p *peer) feed(c wire.SCSICommand, part uint32, did *atomic.Int64) error {
	data := make([]byte, part)
	for {
		h, _, err := p.get()
		if err != nil {
			return err
		}
		if h.Opcode() != wire.OpR2T {
			if h.ITT() == c.ITT {
				return errRefused
			}
			continue
		}
		r, err := wire.DecodeR2T(&h)
		if err != nil {
			return err
		}
		sn := wire.Serial{}
		for off := uint32(0); off < r.DesiredDataTransferLength; off += part {
			if r.BufferOffset+off+part >= c.ExpectedDataTransferLength {
				return nil
			}
			n := min(part, r.DesiredDataTransferLength-off)
			d := wire.DataOut{
				Final: off+n == r.DesiredDataTransferLength, LUN: r.LUN, ITT: r.ITT, TTT: r.TTT, DataSN: sn, BufferOffset: r.BufferOffset + off,
			}
			if err := p.put(d, data[:n]); err != nil {
				return err
			}
			sn = sn.Next()
			did.Add(1)
		}
	}
}

func endlessNBDWrite(ctx context.Context, w where, _ uint32, did *atomic.Int64) {
	r, err := transmission(w)
	if err != nil {
		return
	}
	defer closing(ctx, r)()
	const n = 32 << 20
	if err := r.Send(nbdclient.Request{Cmd: nbdclient.CmdWrite, Length: n}.Append(nil)); err != nil {
		return
	}
	part := make([]byte, 256<<10)
	for range n/len(part) - 1 {
		if err := r.Send(part); err != nil {
			return
		}
		did.Add(1)
	}
	<-ctx.Done()
}

// crumbs sends the data of a long write in small parts, with something that is thrown away
// between them, so that each stands alone in what the gateway has received.
func crumbs(ctx context.Context, w where, number uint32, did *atomic.Int64) {
	within(ctx, w, number, func(p *peer) error {
		c := p.command(true, 32768)
		c.Final = false
		if err := p.put(c, nil); err != nil {
			return err
		}
		junk := make([]byte, 60<<10)
		for off := uint32(0); ctx.Err() == nil && off < 250<<10; off += 4 {
			d := wire.DataOut{ITT: c.ITT, TTT: wire.NoTag, DataSN: wire.SerialOf(off / 4), BufferOffset: off}
			if err := p.put(d, junk[:4]); err != nil {
				return err
			}
			if err := p.put(wire.NOPOut{Immediate: true, ITT: wire.NoTag, TTT: wire.NoTag, CmdSN: p.cmdSN}, junk); err != nil {
				return err
			}
			did.Add(1)
		}
		<-ctx.Done()
		return nil
	})
}

// earlyData sends writes whose turn never comes.
func earlyData(ctx context.Context, w where, number uint32, did *atomic.Int64) {
	within(ctx, w, number, func(p *peer) error {
		p.cmdSN = p.cmdSN.Next()
		data := make([]byte, 64<<10)
		for range 64 {
			if err := p.put(p.command(true, 128), data); err != nil {
				return err
			}
			did.Add(1)
		}
		<-ctx.Done()
		return nil
	})
}

// halfPDU begins the longest PDU that there may be.
func halfPDU(ctx context.Context, w where, number uint32, did *atomic.Int64) {
	within(ctx, w, number, func(p *peer) error {
		var h wire.BHS
		wire.NOPOut{Immediate: true, ITT: 1, TTT: wire.NoTag, CmdSN: p.cmdSN}.Encode(&h)
		b := p.send.AppendPacket(nil, &h, nil, make([]byte, p.send.MaxData))
		if _, err := p.Write(b[:len(b)-1]); err != nil {
			return err
		}
		did.Add(1)
		_, err := io.Copy(io.Discard, p)
		return err
	})
}

// halfOption begins the longest option that there may be.
func halfOption(ctx context.Context, w where, _ uint32, did *atomic.Int64) {
	r, err := nbdclient.DialRaw(ctx, w.NBD)
	if err != nil {
		return
	}
	defer closing(ctx, r)()
	if _, err := r.Greet(); err != nil {
		return
	}
	b := nbdclient.AppendOption(nil, nbdclient.OptGo, make([]byte, 64<<10))
	if err := r.Send(b[:len(b)-1]); err != nil {
		return
	}
	did.Add(1)
	_, _ = io.Copy(io.Discard, r.Conn)
}

// flood sends a PDU without end, and throws away what comes.
func flood(ctx context.Context, w where, number uint32, did *atomic.Int64, make func(p *peer) []byte) {
	within(ctx, w, number, func(p *peer) error {
		b := bytes.Repeat(make(p), 16)
		go func() { _, _ = io.Copy(io.Discard, p) }()
		repeat(ctx, p, b, did)
		return nil
	})
}

func (p *peer) bytes(e encoder, data []byte) []byte {
	var h wire.BHS
	e.Encode(&h)
	return p.send.AppendPacket(nil, &h, nil, data)
}

func pings(ctx context.Context, w where, number uint32, did *atomic.Int64) {
	flood(ctx, w, number, did, func(p *peer) []byte {
		return p.bytes(wire.NOPOut{Immediate: true, ITT: 1, TTT: wire.NoTag, CmdSN: p.cmdSN}, make([]byte, 4096))
	})
}

func immediates(ctx context.Context, w where, number uint32, did *atomic.Int64) {
	flood(ctx, w, number, did, func(p *peer) []byte {
		c := p.command(false, 8)
		c.Immediate = true
		return p.bytes(c, nil)
	})
}

func texts(ctx context.Context, w where, number uint32, did *atomic.Int64) {
	flood(ctx, w, number, did, func(p *peer) []byte {
		key := []byte("X-of.nobody=1\x00")
		return p.bytes(wire.TextRequest{Immediate: true, Final: true, ITT: 1, TTT: wire.NoTag, CmdSN: p.cmdSN}, bytes.Repeat(key, 8000/len(key)))
	})
}

// rejects sends what is answered with a Reject.
func rejects(ctx context.Context, w where, number uint32, did *atomic.Int64) {
	flood(ctx, w, number, did, func(p *peer) []byte {
		return p.bytes(wire.SNACK{Type: wire.SNACKStatus, ITT: wire.NoTag, Tag: wire.NoTag}, nil)
	})
}

func connects(ctx context.Context, w where, _ uint32, did *atomic.Int64) {
	storm(ctx, w.Portal, did)
}

func nbdConnects(ctx context.Context, w where, _ uint32, did *atomic.Int64) {
	storm(ctx, w.NBD, did)
}

// storm connects and resets, as often as it can.
func storm(ctx context.Context, addr string, did *atomic.Int64) {
	for ctx.Err() == nil {
		conn, err := net.DialTimeout("tcp", addr, 30*time.Second)
		if err != nil {
			return
		}
		_ = conn.(*net.TCPConn).SetLinger(0) // no TIME_WAIT
		_ = conn.Close()
		did.Add(1)
	}
}
