// SPDX-License-Identifier: Apache-2.0

package nbdattach

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
)

const (
	maxName = 4096
	// maxReply is the longest option reply that is read: a server may not have us read
	// 4 GiB.
	maxReply = 64 << 10
	// maxReplies is the most replies to one option, so that it ends.
	maxReplies = 64
	// maxText is how much of a server's text is shown.
	maxText = 300
)

// Why a server does not give an export. Errors wrap one of them.
var (
	ErrUnknown     = errors.New("no such export")
	ErrRefused     = errors.New("refused")
	ErrTLSRequired = errors.New("the server wants TLS")
	ErrShutdown    = errors.New("the server is being stopped")
	errProtocol    = errors.New("protocol error of the server")
)

// Export is what a server says of an export.
type Export struct {
	Size  uint64 // bytes
	Flags Flags
	// MinBlock, Preferred and MaxPayload are the block size constraints in bytes; 0: the
	// server tells none.
	MinBlock, Preferred, MaxPayload uint32
}

// Negotiate opens an export on a new connection. After it the connection is in the
// transmission phase with simple replies, and no byte more than that is read.
func Negotiate(c io.ReadWriter, name string) (Export, error) { return negotiate(c, name, optGo) }

// Inspect asks what an export is like, on a new connection that is of no use after it.
// Nothing is opened by that.
func Inspect(c io.ReadWriter, name string) (Export, error) { return negotiate(c, name, optInfo) }

func negotiate(c io.ReadWriter, name string, option uint32) (Export, error) {
	flags, err := greeting(c)
	if err != nil {
		return Export{}, err
	}
	return ask(c, binary.BigEndian.AppendUint32(nil, uint32(flags)), name, option)
}

// ask sends what begins with out, and INFO or GO.
func ask(c io.ReadWriter, out []byte, name string, option uint32) (Export, error) {
	if len(name) > maxName {
		return Export{}, fmt.Errorf("export name of %d bytes, the longest is %d", len(name), maxName)
	}
	if _, err := c.Write(appendOption(out, option, infoRequest(name))); err != nil {
		// The server may have said why it closed: TLS 1.3 tells of a certificate that is
		// refused when the client thinks that all is done.
		_, _, why := optionReply(c, option)
		return Export{}, errors.Join(err, why)
	}
	e, err := answer(c, option)
	if err == nil && option == optInfo {
		// A courtesy; the answer, if any, is not waited for.
		_, _ = c.Write(appendOption(nil, optAbort, nil))
	}
	return e, err
}

// greeting reads what the server begins with and gives the flags to answer.
func greeting(r io.Reader) (uint16, error) {
	var b [greetingLen]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, fmt.Errorf("read the greeting: %w", err)
	}
	switch m := binary.BigEndian.Uint64(b[8:]); {
	case binary.BigEndian.Uint64(b[:]) != magicInit:
		return 0, fmt.Errorf("%w: this is no NBD server", errProtocol)
	case m == magicOldstyle:
		return 0, fmt.Errorf("%w: it speaks oldstyle negotiation alone", errProtocol)
	case m != magicOption:
		return 0, fmt.Errorf("%w: option magic %#x", errProtocol, m)
	}
	flags := binary.BigEndian.Uint16(b[16:])
	if flags&flagFixedNewstyle == 0 {
		return 0, fmt.Errorf("%w: it does not speak fixed newstyle negotiation", errProtocol)
	}
	return flags & (flagFixedNewstyle | flagNoZeroes), nil
}

func appendOption(b []byte, option uint32, data []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, magicOption)
	b = binary.BigEndian.AppendUint32(b, option)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

// infoRequest is the data of INFO and GO: the name, and that the block size constraints
// are wanted and will be kept, and infoReconnects.
func infoRequest(name string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(name)))
	b = append(b, name...)
	b = binary.BigEndian.AppendUint16(b, 2)
	b = binary.BigEndian.AppendUint16(b, infoBlockSize)
	return binary.BigEndian.AppendUint16(b, infoReconnects)
}

// answer reads the replies to INFO or GO up to the last one.
func answer(r io.Reader, option uint32) (e Export, err error) {
	known := false
	for range maxReplies {
		t, data, err := optionReply(r, option)
		if err != nil {
			return e, err
		}
		switch {
		case t >= repError:
			return e, refusal(t, data)
		case t == repAck && known:
			return e, e.check()
		case t == repAck:
			return e, fmt.Errorf("%w: it opened the export and did not tell its size", errProtocol)
		case t != repInfo:
			return e, fmt.Errorf("%w: option reply %d", errProtocol, t)
		}
		is, err := e.info(data)
		if err != nil {
			return e, err
		}
		known = known || is
	}
	return e, fmt.Errorf("%w: more than %d replies to an option", errProtocol, maxReplies)
}

func optionReply(r io.Reader, option uint32) (t uint32, data []byte, err error) {
	var h [optionReplyLen]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, nil, fmt.Errorf("read the server's answer: %w", err)
	}
	if m := binary.BigEndian.Uint64(h[:]); m != magicOptionReply {
		return 0, nil, fmt.Errorf("%w: option reply magic %#x", errProtocol, m)
	}
	if o := binary.BigEndian.Uint32(h[8:]); o != option {
		return 0, nil, fmt.Errorf("%w: a reply to option %d", errProtocol, o)
	}
	n := binary.BigEndian.Uint32(h[16:])
	if n > maxReply {
		return 0, nil, fmt.Errorf("%w: an option reply of %d bytes", errProtocol, n)
	}
	data = make([]byte, n)
	if _, err := io.ReadFull(r, data); err != nil {
		return 0, nil, fmt.Errorf("read the server's answer: %w", err)
	}
	return binary.BigEndian.Uint32(h[12:]), data, nil
}

// info takes an information reply, and tells whether it was the one with the size.
// Types that were not asked for are passed over.
func (e *Export) info(b []byte) (size bool, err error) {
	if len(b) < 2 {
		return false, fmt.Errorf("%w: an information of %d bytes", errProtocol, len(b))
	}
	want := 0
	switch t := binary.BigEndian.Uint16(b); t {
	case infoExport:
		want = 12
	case infoBlockSize:
		want = 14
	default:
		return false, nil
	}
	if len(b) != want {
		return false, fmt.Errorf("%w: an information of %d bytes, want %d", errProtocol, len(b), want)
	}
	if want == 12 {
		e.Size = binary.BigEndian.Uint64(b[2:])
		e.Flags = Flags(binary.BigEndian.Uint16(b[10:]))
		return true, nil
	}
	e.MinBlock = binary.BigEndian.Uint32(b[2:])
	e.Preferred = binary.BigEndian.Uint32(b[6:])
	e.MaxPayload = binary.BigEndian.Uint32(b[10:])
	return false, nil
}

// check finds what proto.md "Block size constraints" does not allow.
func (e *Export) check() error {
	switch {
	case e.Flags&HasFlags == 0:
		return fmt.Errorf("%w: transmission flags %#x", errProtocol, uint16(e.Flags))
	case e.Size > 1<<63-1:
		return fmt.Errorf("%w: a size of %d bytes", errProtocol, e.Size)
	case e.MinBlock&(e.MinBlock-1) != 0 || e.MinBlock > 64<<10:
		return fmt.Errorf("%w: a minimum block size of %d bytes", errProtocol, e.MinBlock)
	case e.MaxPayload != 0 && e.MaxPayload < e.MinBlock:
		return fmt.Errorf("%w: a maximum block size of %d bytes below the minimum", errProtocol, e.MaxPayload)
	}
	return nil
}

// refusal makes an error of an error reply.
func refusal(t uint32, text []byte) error {
	err := fmt.Errorf("%w (%#x)", ErrRefused, t)
	switch t {
	case repErrUnknown:
		err = ErrUnknown
	case repErrPolicy:
		err = ErrRefused
	case repErrTLS:
		err = ErrTLSRequired
	case repErrShutdown:
		err = ErrShutdown
	}
	if len(text) == 0 {
		return err
	}
	text = text[:min(len(text), maxText)]
	plain := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, string(text))
	return fmt.Errorf("%w: %s", err, plain)
}
