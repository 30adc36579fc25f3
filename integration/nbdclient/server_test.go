// SPDX-License-Identifier: Apache-2.0

package nbdclient

import (
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"testing"
)

// scripted accepts one connection and hands it to script, in the order in
// which a real server speaks. It returns the address to connect to.
func scripted(t *testing.T, script func(*peer)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nbd.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		script(&peer{t: t, conn: conn})
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return "unix:" + path
}

// peer is the server's end of a scripted connection.
type peer struct {
	t    *testing.T
	conn net.Conn
}

func (p *peer) put(fields ...any) {
	for _, f := range fields {
		if err := binary.Write(p.conn, binary.BigEndian, f); err != nil {
			return // the client has gone; its side reports
		}
	}
}

func (p *peer) take(n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(p.conn, b); err != nil {
		return nil
	}
	return b
}

func (p *peer) greet() {
	p.put(uint64(MagicInit), uint64(MagicOption), uint16(FixedNewstyle|NoZeroes))
	p.take(4)
}

// option reads one option request.
func (p *peer) option() (number uint32, data []byte) {
	h := p.take(16)
	if h == nil {
		return 0, nil
	}
	return binary.BigEndian.Uint32(h[8:]), p.take(int(binary.BigEndian.Uint32(h[12:])))
}

func (p *peer) answer(option, kind uint32, data []byte) {
	p.put(uint64(MagicOptionReply), option, kind, uint32(len(data)), data)
}

// negotiate serves a whole handshake that ends with NBD_OPT_GO.
func (p *peer) negotiate(size uint64) {
	p.greet()
	opt, _ := p.option()
	info := binary.BigEndian.AppendUint16(nil, InfoExport)
	info = binary.BigEndian.AppendUint64(info, size)
	info = binary.BigEndian.AppendUint16(info, uint16(HasFlags|SendFlush|SendFUA))
	p.answer(opt, RepInfo, info)
	p.answer(opt, RepAck, nil)
}

type seen struct {
	Request
	payload []byte
}

func (p *peer) request() (seen, bool) {
	h := p.take(requestLen)
	if h == nil {
		return seen{}, false
	}
	r := seen{Request: Request{
		Magic: binary.BigEndian.Uint32(h), Flags: Flags(binary.BigEndian.Uint16(h[4:])),
		Cmd: Command(binary.BigEndian.Uint16(h[6:])), Cookie: binary.BigEndian.Uint64(h[8:]),
		Offset: binary.BigEndian.Uint64(h[16:]), Length: binary.BigEndian.Uint32(h[24:]),
	}}
	if r.Cmd == CmdWrite {
		r.payload = p.take(int(r.Length))
	}
	return r, true
}

func (p *peer) reply(cookie uint64, errno Errno, payload []byte) {
	p.put(uint32(MagicSimpleReply), uint32(errno), cookie, payload)
}
