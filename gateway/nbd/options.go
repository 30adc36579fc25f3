// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"pathgate/backends"
)

// zeroes is the reserved tail of the answer to EXPORT_NAME.
const zeroes = 124

// validName tells whether name is a string of the protocol (NBD proto.md
// "Conventions"): UTF-8 without NUL, of bounded length.
func validName(name []byte) bool {
	return len(name) <= maxName && bytes.IndexByte(name, 0) < 0 && utf8.Valid(name)
}

// list answers NBD_OPT_LIST.
func (c *conn) list(data []byte) error {
	if len(data) > 0 {
		return c.replyError(optList, repErrInvalid, "LIST has no data")
	}
	for _, e := range c.srv.cfg.Exports.List(c.peer) {
		b := binary.BigEndian.AppendUint32(nil, uint32(len(e.Name)))
		b = append(b, e.Name...)
		if err := c.reply(optList, repServer, append(b, e.Description...)); err != nil {
			return err
		}
	}
	return c.reply(optList, repAck, nil)
}

// infoRequest is the data of INFO and GO.
type infoRequest struct {
	name              string
	wantName, wantDsc bool
	reconnects        bool
}

// decodeInfo takes all of data (NBD proto.md "NBD_OPT_INFO and NBD_OPT_GO").
// Information requests that are not known are ignored.
func decodeInfo(data []byte) (infoRequest, error) {
	var r infoRequest
	if len(data) < 6 {
		return r, errors.New("option is too short")
	}
	n := binary.BigEndian.Uint32(data)
	if uint64(n) > uint64(len(data)-6) {
		return r, errors.New("name is longer than the option")
	}
	name, rest := data[4:4+n], data[4+n:]
	if !validName(name) {
		return r, errors.New("name is no valid string")
	}
	r.name = string(name)
	count := int(binary.BigEndian.Uint16(rest))
	rest = rest[2:]
	if len(rest) != 2*count {
		return r, errors.New("number of information requests does not fit the option")
	}
	for ; len(rest) > 0; rest = rest[2:] {
		switch binary.BigEndian.Uint16(rest) {
		case infoName:
			r.wantName = true
		case infoDescription:
			r.wantDsc = true
		case infoReconnects:
			r.reconnects = true
		}
	}
	return r, nil
}

// info answers INFO and GO; errTransmission after a successful GO.
func (c *conn) info(o option, data []byte) (waited time.Duration, err error) {
	req, err := decodeInfo(data)
	if err != nil {
		return 0, c.replyError(o, repErrInvalid, err.Error())
	}
	mode := Inspect
	if o == optGo {
		mode = Use
	}
	h, info, waited, err := c.open(req.name, mode)
	if err != nil {
		if errors.Is(err, errGone) {
			return waited, err
		}
		t, text := c.refusalReply(err)
		return waited, c.replyError(o, t, text)
	}
	if err = c.describe(o, &req, &h, &info); err != nil || mode == Inspect {
		h.close() // before the client knows that it has its answer
		if err == nil {
			err = c.reply(o, repAck, nil)
		}
		return waited, err
	}
	if err = c.reply(o, repAck, nil); err != nil {
		h.close()
		return waited, err
	}
	c.enter(&h, &info, req.name)
	c.terms.reconnects = req.reconnects
	return waited, errTransmission
}

// describe sends the information on an export. The ACK is still to be sent.
func (c *conn) describe(o option, req *infoRequest, h *Handle, info *backends.Info) error {
	b := binary.BigEndian.AppendUint16(nil, infoExport)
	b = binary.BigEndian.AppendUint64(b, info.Size)
	tx := c.flags(h, info, req.name)
	if o == optInfo && c.terms.dialect == extended {
		tx |= txStatusPayload // whatever is selected before GO
	}
	b = binary.BigEndian.AppendUint16(b, uint16(tx))
	if err := c.reply(o, repInfo, b); err != nil {
		return err
	}
	// Told unasked too: a client that knows it may keep to it.
	b = binary.BigEndian.AppendUint16(nil, infoBlockSize)
	minimum, preferred, payload := blockSizes(info, c.srv.cfg.MaxPayload)
	b = binary.BigEndian.AppendUint32(b, minimum)
	b = binary.BigEndian.AppendUint32(b, preferred)
	b = binary.BigEndian.AppendUint32(b, payload)
	if err := c.reply(o, repInfo, b); err != nil {
		return err
	}
	if req.wantName {
		b = binary.BigEndian.AppendUint16(nil, infoName)
		if err := c.reply(o, repInfo, append(b, h.Name...)); err != nil {
			return err
		}
	}
	if req.wantDsc && h.Description != "" {
		b = binary.BigEndian.AppendUint16(nil, infoDescription)
		if err := c.reply(o, repInfo, append(b, h.Description...)); err != nil {
			return err
		}
	}
	return nil
}

// exportName answers NBD_OPT_EXPORT_NAME, which knows no errors: what fails ends
// the connection.
func (c *conn) exportName(n int) (waited time.Duration, err error) {
	if n > maxName {
		return 0, fmt.Errorf("%w: export name of %d bytes", errProtocol, n)
	}
	b, err := c.need(n)
	if err != nil {
		return 0, err
	}
	if !validName(b[:n]) {
		return 0, fmt.Errorf("%w: export name is no valid string", errProtocol)
	}
	name := string(b[:n])
	c.in.Discard(n)
	if c.terms.dialect == extended {
		return 0, fmt.Errorf("%w: EXPORT_NAME after extended headers", errProtocol)
	}
	if c.stopping.Load() {
		return 0, errStopped
	}
	h, info, waited, err := c.open(name, Use)
	if err != nil {
		return waited, err
	}
	b = binary.BigEndian.AppendUint64(nil, info.Size)
	b = binary.BigEndian.AppendUint16(b, uint16(c.flags(&h, &info, name)))
	if !c.noZeroes {
		b = append(b, make([]byte, zeroes)...)
	}
	if err := c.send(b); err != nil {
		h.close()
		return waited, err
	}
	c.enter(&h, &info, name)
	return waited, errTransmission
}

// refusalReply gives the option reply for an export that could not be opened.
func (c *conn) refusalReply(err error) (replyType, string) {
	switch {
	case errors.Is(err, ErrTLSRequired) && c.tls == nil && c.from.sec.Mode != TLSOff:
		return repErrTLSReqd, err.Error()
	case errors.Is(err, ErrNotPermitted):
		return repErrPolicy, err.Error()
	case errors.Is(err, ErrShutdown):
		return repErrShutdown, err.Error()
	default:
		return repErrUnknown, err.Error()
	}
}
