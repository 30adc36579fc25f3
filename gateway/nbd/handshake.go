// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"pathgate/internal/stream"
)

const (
	// maxName is the longest string (NBD proto.md "Conventions").
	maxName = 4096
	// maxOptionData is the most data of an option that is kept: a name of full
	// length and thousands of information requests.
	maxOptionData = 16 << 10
	// maxOptionSkip is the most data of an option that is read over; more is
	// answered with a disconnect, since nobody may have us read 4 GiB.
	maxOptionSkip = 64 << 10
	// maxOptions is the most options of one handshake, so that it ends.
	maxOptions = 128
)

// errTransmission tells that the transmission phase begins.
var errTransmission = errors.New("transmission")

// handshake negotiates. It returns nil when the client has entered the
// transmission phase, with handle, dev, grant and terms set.
func (c *conn) handshake() error {
	limit := time.Now().Add(c.srv.cfg.HandshakeTimeout)
	if err := c.greet(limit); err != nil {
		return err
	}
	for range maxOptions {
		waited, err := c.option()
		if errors.Is(err, errTransmission) {
			c.setDeadlines(time.Time{})
			return nil
		}
		if err != nil {
			if timedOut(err) {
				return fmt.Errorf("handshake took too long: %w", err)
			}
			return err
		}
		if waited > 0 {
			limit = limit.Add(waited)
			c.setDeadlines(limit)
		}
	}
	return fmt.Errorf("%w: more than %d options", errProtocol, maxOptions)
}

func (c *conn) setDeadlines(t time.Time) {
	c.setReadDeadline(t)
	_ = c.nc.SetWriteDeadline(t)
}

// greet exchanges magic numbers and flags (NBD proto.md "Newstyle negotiation").
func (c *conn) greet(limit time.Time) error {
	c.setDeadlines(limit)
	b := binary.BigEndian.AppendUint64(nil, magicInit)
	b = binary.BigEndian.AppendUint64(b, magicOption)
	b = binary.BigEndian.AppendUint16(b, flagFixedNewstyle|flagNoZeroes)
	if err := c.send(b); err != nil {
		return err
	}
	b, err := c.need(4)
	if err != nil {
		return err
	}
	flags := binary.BigEndian.Uint32(b)
	c.in.Discard(4)
	if unknown := flags &^ uint32(flagFixedNewstyle|flagNoZeroes); unknown != 0 {
		return fmt.Errorf("%w: unknown client flags %#x", errProtocol, unknown)
	}
	c.fixed = flags&uint32(flagFixedNewstyle) != 0
	c.noZeroes = flags&uint32(flagNoZeroes) != 0
	return nil
}

// option takes one option and answers it. waited is the time that was spent on
// waiting for an export.
func (c *conn) option() (waited time.Duration, err error) {
	if err := c.out.Drain(c.srv.cfg.MaxPending); err != nil {
		return 0, err
	}
	b, err := c.need(optionHeaderLen)
	if err != nil {
		return 0, err
	}
	h := decodeOptionHeader(b)
	if h.magic != magicOption {
		return 0, fmt.Errorf("%w: option magic %#x", errProtocol, h.magic)
	}
	c.in.Discard(optionHeaderLen)
	switch {
	case h.length > maxOptionSkip:
		return 0, fmt.Errorf("%w: option %d with %d bytes", errProtocol, h.option, h.length)
	case !c.fixed && h.option != optExportName: // of TLS it must not be told either
		return 0, fmt.Errorf("%w: option %d without fixed newstyle", errProtocol, h.option)
	case c.needsTLS() && h.option != optStartTLS && h.option != optAbort:
		return 0, c.refuseWithoutTLS(&h)
	case h.option == optExportName:
		return c.exportName(int(h.length))
	case h.length > maxOptionData:
		if err := c.passOver(int(h.length)); err != nil {
			return 0, err
		}
		return 0, c.replyError(h.option, repErrTooBig, "option is too long")
	}
	data, err := c.need(int(h.length))
	if err != nil {
		return 0, err
	}
	data = append([]byte(nil), data[:h.length]...)
	c.in.Discard(int(h.length))
	return c.choose(h.option, data)
}

// choose carries out an option other than EXPORT_NAME.
func (c *conn) choose(o option, data []byte) (waited time.Duration, err error) {
	switch {
	case o == optAbort:
		if err := c.reply(o, repAck, nil); err != nil {
			return 0, err
		}
		return 0, errDone
	case c.stopping.Load():
		return 0, c.replyError(o, repErrShutdown, "server is being stopped")
	}
	switch o {
	case optStartTLS:
		return 0, c.startTLS(data)
	case optList:
		return 0, c.list(data)
	case optInfo, optGo:
		return c.info(o, data)
	case optStructuredReply, optExtendedHeaders:
		return 0, c.improve(o, data)
	case optListMetaContext, optSetMetaContext:
		return 0, c.meta(o, data)
	default:
		return 0, c.replyError(o, repErrUnsup, "option is not supported")
	}
}

// need waits until n bytes are buffered and gives all that is.
func (c *conn) need(n int) ([]byte, error) {
	for len(c.in.Buffered()) < n {
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
	return c.in.Buffered(), nil
}

// passOver consumes n bytes.
func (c *conn) passOver(n int) error {
	for {
		n -= c.in.Discard(n)
		if n == 0 {
			return nil
		}
		if err := c.fill(); err != nil {
			return err
		}
	}
}

// send hands b to the socket, or leaves it to the queue's writer.
func (c *conn) send(b []byte) error {
	_, err := c.out.Append(&stream.Message{Header: b})
	c.out.Flush()
	return err
}

// reply answers option o.
func (c *conn) reply(o option, t replyType, payload []byte) error {
	return c.send(append(appendOptionReply(nil, o, t, len(payload)), payload...))
}

// replyError answers o with an error and a text for people.
func (c *conn) replyError(o option, t replyType, text string) error {
	return c.reply(o, t, []byte(text))
}
