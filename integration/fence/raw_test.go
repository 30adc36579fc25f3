// SPDX-License-Identifier: Apache-2.0

//go:build integration

package fence

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// raw is one iSCSI connection of which a test makes every byte itself: a session
// of one connection, without digests (RFC 7143).
type raw struct {
	t    *testing.T
	conn net.Conn
	lun  byte
	cmd  uint32
	stat uint32
	itt  uint32
	sn   map[uint32]uint32 // CmdSN of each tag
}

// Opcodes and functions that the tests use.
const (
	opCommand, opTMF, opLogin, opDataOut         = 0x01, 0x02, 0x03, 0x05
	opResponse, opTMFResponse, opLoginResponse   = 0x21, 0x22, 0x23
	opDataIn, opR2T, opNopIn, opReject, opAsync  = 0x25, 0x31, 0x20, 0x3f, 0x32
	abortTask, abortTaskSet, clearTaskSet        = 1, 2, 4
	lunReset, warmReset, reassign, unknownNumber = 5, 6, 8, 0xff
)

// login makes a session of the initiator port that isid stands for.
func login(t *testing.T, addr, target string, lun, isid byte) *raw {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(context.Background(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	r := &raw{t: t, conn: conn, lun: lun, cmd: 1, itt: uint32(isid) << 16, sn: map[uint32]uint32{}}
	// Security, then operational negotiation, with all keys that a target may ask for.
	text := [2][]string{
		{"InitiatorName=iqn.2026-11.test:raw", "SessionType=Normal", "TargetName=" + target, "AuthMethod=None"},
		{
			"HeaderDigest=None", "DataDigest=None", "InitialR2T=Yes", "ImmediateData=Yes", "MaxConnections=1", "ErrorRecoveryLevel=0",
			"DefaultTime2Wait=2", "DefaultTime2Retain=0", "MaxOutstandingR2T=1", "DataPDUInOrder=Yes", "DataSequenceInOrder=Yes",
			"MaxRecvDataSegmentLength=65536", "FirstBurstLength=65536", "MaxBurstLength=65536",
		},
	}
	stage := byte(0)
	for range 8 {
		var h [48]byte
		h[0], h[1] = 0x40|opLogin, 0x80|stage<<2|nextStage(stage)
		h[8], h[13] = 0x80, isid
		binary.BigEndian.PutUint32(h[16:], 1)
		binary.BigEndian.PutUint32(h[24:], r.cmd)
		binary.BigEndian.PutUint32(h[28:], r.stat)
		var data []byte
		for _, k := range text[stage] {
			data = append(append(data, k...), 0)
		}
		text[stage] = nil
		if err := r.send(h, data); err != nil {
			t.Fatal(err)
		}
		p, _, err := r.recv(20 * time.Second)
		if err != nil || p[0]&0x3f != opLoginResponse || p[36] != 0 {
			t.Fatalf("login: %v, % x", err, p)
		}
		if p[1]&0x80 != 0 {
			stage = p[1] & 3
		}
		if stage == 3 {
			return r
		}
	}
	t.Fatal("login without end")
	return r
}

func nextStage(s byte) byte {
	if s == 0 {
		return 1
	}
	return 3
}

// send writes one PDU.
func (r *raw) send(h [48]byte, data []byte) error {
	_, err := r.conn.Write(pdu(h, data))
	return err
}

func pdu(h [48]byte, data []byte) []byte {
	h[5], h[6], h[7] = byte(len(data)>>16), byte(len(data)>>8), byte(len(data))
	out := append(h[:], data...)
	for len(out)%4 != 0 {
		out = append(out, 0)
	}
	return out
}

// recv reads the next PDU but NOP-Ins.
func (r *raw) recv(limit time.Duration) (h [48]byte, data []byte, err error) {
	_ = r.conn.SetReadDeadline(time.Now().Add(limit))
	for {
		if _, err = io.ReadFull(r.conn, h[:]); err != nil {
			return h, nil, err
		}
		n := int(h[5])<<16 | int(h[6])<<8 | int(h[7])
		data = make([]byte, (n+3)&^3)
		if _, err = io.ReadFull(r.conn, data); err != nil {
			return h, nil, err
		}
		if h[0]&0x3f == opNopIn {
			continue
		}
		if h[0]&0x3f != opR2T {
			r.stat = binary.BigEndian.Uint32(h[24:]) + 1
		}
		return h, data[:n], nil
	}
}

// command makes a SCSI command of n bytes, with data as immediate data.
func (r *raw) command(cdb [16]byte, flags byte, n int) (h [48]byte) {
	r.itt++
	h[0], h[1] = opCommand, 0x80|flags|1
	h[9] = r.lun
	binary.BigEndian.PutUint32(h[16:], r.itt)
	binary.BigEndian.PutUint32(h[20:], uint32(n))
	binary.BigEndian.PutUint32(h[24:], r.cmd)
	binary.BigEndian.PutUint32(h[28:], r.stat)
	copy(h[32:], cdb[:])
	r.sn[r.itt] = r.cmd
	r.cmd++
	return h
}

// writeCDB is WRITE(10) of blocks of 512 bytes.
func writeCDB(lba uint32, blocks int) (cdb [16]byte) {
	cdb[0] = 0x2a
	binary.BigEndian.PutUint32(cdb[2:], lba)
	cdb[8] = byte(blocks)
	return cdb
}

// write makes a WRITE of fill at lba, all of it immediate data, as bytes.
func (r *raw) write(lba uint32, fill byte) []byte {
	data := block(fill)
	return pdu(r.command(writeCDB(lba, len(data)/512), 0x20, len(data)), data)
}

// put sends b and fails the test if it cannot.
func (r *raw) put(b []byte) {
	r.t.Helper()
	if _, err := r.conn.Write(b); err != nil {
		r.t.Fatal(err)
	}
}

// status waits for a SCSI response: status, and sense as key/ASC/ASCQ.
func (r *raw) status(limit time.Duration) (status byte, sense string) {
	r.t.Helper()
	h, data, err := r.recv(limit)
	if err != nil || h[0]&0x3f != opResponse {
		r.t.Fatalf("no SCSI response: %v, % x", err, h)
	}
	if len(data) >= 2+14 {
		sense = fmt.Sprintf("%x/%02x/%02x", data[2+2]&0xf, data[2+12], data[2+13])
	}
	return h[3], sense
}

// ready clears unit attentions.
func (r *raw) ready() *raw {
	r.t.Helper()
	for range 8 {
		if err := r.send(r.command([16]byte{}, 0, 0), nil); err != nil {
			r.t.Fatal(err)
		}
		if s, _ := r.status(20 * time.Second); s == 0 {
			return r
		}
	}
	r.t.Fatal("unit attentions without end")
	return r
}

// must writes fill at lba and wants GOOD.
func (r *raw) must(lba uint32, fill byte) {
	r.t.Helper()
	r.put(r.write(lba, fill))
	if s, sense := r.status(20 * time.Second); s != 0 {
		r.t.Fatalf("write: status %x, %s", s, sense)
	}
}

// first reads the first byte at lba.
func (r *raw) first(lba uint32) byte {
	r.t.Helper()
	cdb := writeCDB(lba, 1)
	cdb[0] = 0x28
	if err := r.send(r.command(cdb, 0x40, 512), nil); err != nil {
		r.t.Fatal(err)
	}
	var got byte
	for {
		h, data, err := r.recv(20 * time.Second)
		if err != nil {
			r.t.Fatal(err)
		}
		switch h[0] & 0x3f {
		case opDataIn:
			got = data[0]
			if h[1]&1 != 0 { // with status
				return got
			}
		case opResponse:
			return got
		default:
			r.t.Fatalf("read: % x", h)
		}
	}
}

// tmf sends a task management function; tag is the task's, where it names one.
func (r *raw) tmf(function byte, tag uint32, lun [8]byte) {
	r.t.Helper()
	var h [48]byte
	r.itt++
	h[0], h[1] = 0x40|opTMF, 0x80|function
	copy(h[8:], lun[:])
	binary.BigEndian.PutUint32(h[16:], r.itt)
	binary.BigEndian.PutUint32(h[20:], tag)
	binary.BigEndian.PutUint32(h[24:], r.cmd)
	binary.BigEndian.PutUint32(h[28:], r.stat)
	binary.BigEndian.PutUint32(h[32:], r.sn[tag])
	if err := r.send(h, nil); err != nil {
		r.t.Fatal(err)
	}
}

func (r *raw) field() (f [8]byte) { f[1] = r.lun; return f }

const noTag = 0xffffffff

// errNoAnswer: neither an answer nor the end of the connection came in time.
var errNoAnswer = errors.New("no answer")

// code waits for the response to a task management function, past what else comes.
func (r *raw) code(limit time.Duration) (code byte, took time.Duration, err error) {
	begin := time.Now()
	for {
		h, _, err := r.recv(limit - time.Since(begin))
		var ne net.Error
		switch {
		case errors.As(err, &ne) && ne.Timeout():
			return 0, time.Since(begin), errNoAnswer
		case err != nil:
			return 0, time.Since(begin), err
		case h[0]&0x3f == opTMFResponse:
			return h[2], time.Since(begin), nil
		}
	}
}

// closed waits for the target to close the connection.
func (r *raw) closed(limit time.Duration) bool {
	end := time.Now().Add(limit)
	for {
		_, _, err := r.recv(time.Until(end))
		var ne net.Error
		if err != nil {
			return !errors.As(err, &ne) || !ne.Timeout()
		}
	}
}
