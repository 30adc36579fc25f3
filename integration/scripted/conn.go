// SPDX-License-Identifier: Apache-2.0

package scripted

import (
	"io"
	"net"
	"sync"
	"sync/atomic"

	wire "pathgate/internal/iscsi"
	"pathgate/internal/scsi"
)

// conn is one connection, and so one session: the target has MaxConnections 1.
type conn struct {
	t      *Target
	p      *portal
	portal int
	sock   net.Conn
	gone   chan struct{} // closed when it has ended
	once   sync.Once
	full   atomic.Bool // full feature phase

	// Of the reading goroutine, set at login.
	params wire.Params
	recvF  wire.Framing
	sendF  wire.Framing
	nexus  string // initiator name, ISID and portal group
	born   uint64

	mu       sync.Mutex
	statSN   wire.Serial
	expCmdSN wire.Serial
	tasks    map[wire.InitiatorTaskTag]*Command
	seen     map[*Unit]uint64 // the last event that it was told, by unit
	ttt      wire.TargetTransferTag
}

func newConn(p *portal, sock net.Conn) *conn {
	return &conn{
		t: p.t, p: p, portal: p.index, sock: sock, gone: make(chan struct{}),
		seen: map[*Unit]uint64{}, tasks: map[wire.InitiatorTaskTag]*Command{}, statSN: wire.SerialOf(1),
	}
}

func (c *conn) ready() bool { return c.full.Load() }

// end resets the connection. Twice is safe.
func (c *conn) end() {
	c.once.Do(func() { close(c.gone) })
	reset(c.sock)
}

func (c *conn) run() {
	defer c.p.forget(c)
	defer c.end()
	if c.login() != nil {
		return
	}
	c.full.Store(true)
	defer c.full.Store(false)
	for {
		var h wire.BHS
		data, err := readPDU(c.sock, c.recvF, &h)
		if err != nil || !c.p.gate(c) || !c.take(&h, data) {
			return
		}
	}
}

func readPDU(r io.Reader, fr wire.Framing, h *wire.BHS) ([]byte, error) {
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return nil, err
	}
	l, err := fr.Lengths(h)
	if err != nil {
		return nil, err
	}
	rest := make([]byte, l.Total())
	copy(rest, h[:])
	if _, err := io.ReadFull(r, rest[wire.HeaderLength:]); err != nil {
		return nil, err
	}
	if err := fr.CheckHead(rest[:l.Head()]); err != nil {
		return nil, err
	}
	body := rest[l.Head():]
	return body[:l.Data], fr.CheckBody(l, body)
}

// take handles one PDU; false ends the connection.
func (c *conn) take(h *wire.BHS, data []byte) bool {
	c.mu.Lock()
	if !h.Immediate() && h.Opcode() != wire.OpDataOut {
		c.expCmdSN = h.CmdSN().Next()
	}
	c.mu.Unlock()
	switch h.Opcode() {
	case wire.OpNOPOut:
		c.t.count(c.portal, func(s *Stats) { s.NOPs++ })
		if h.ITT() != wire.NoTag {
			c.send(wire.NOPIn{ITT: h.ITT(), TTT: wire.NoTag}, data, advance)
		}
	case wire.OpSCSICommand:
		p, err := wire.DecodeSCSICommand(h)
		if err != nil {
			return false
		}
		c.command(p, data)
	case wire.OpDataOut:
		d, err := wire.DecodeDataOut(h)
		if err != nil {
			return false
		}
		c.dataOut(d, data)
	case wire.OpTaskManagementRequest:
		p, err := wire.DecodeTaskManagementRequest(h)
		if err != nil {
			return false
		}
		c.manage(p)
	case wire.OpTextRequest:
		c.text(h)
	case wire.OpLogoutRequest:
		c.t.count(c.portal, func(s *Stats) { s.Logouts++ })
		c.send(wire.LogoutResponse{ITT: h.ITT()}, nil, advance)
		return false
	default:
		c.send(wire.Reject{Reason: wire.RejectCommandNotSupported}, h[:], advance)
	}
	return true
}

// PDU is what a target sends.
type PDU interface{ Encode(h *wire.BHS) }

// numbering tells what a PDU does to StatSN.
type numbering uint8

const (
	carry   numbering = iota // it carries the next one and leaves it
	advance                  // it takes it
	own                      // the numbers of the PDU stand
)

// send sends one PDU with the session's numbers.
func (c *conn) send(p PDU, data []byte, n numbering) {
	var h wire.BHS
	p.Encode(&h)
	if !c.p.gate(c) {
		return
	}
	c.t.mu.Lock()
	window := c.t.window
	c.t.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if n != own {
		h.SetCommandWindow(c.expCmdSN, c.expCmdSN.Add(window).Prev())
		if h.Opcode() != wire.OpDataIn || n == advance {
			h.SetStatSN(c.statSN)
		}
	}
	if n == advance {
		c.statSN = c.statSN.Next()
	}
	_, _ = c.sock.Write(c.sendF.AppendPacket(nil, &h, nil, data)) // the reader sees the end
}

// raw sends bytes as they are.
func (c *conn) raw(b []byte) {
	if !c.p.gate(c) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.sock.Write(b)
}

// field is the LUN as commands carry it.
func field(f wire.LUNField) scsi.LUNField { return scsi.LUNField(f) }
