// SPDX-License-Identifier: Apache-2.0

package nbdclient

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// maxOptionReply bounds the payload of one option reply, so that a broken
// server cannot make the client allocate 4 GiB.
const maxOptionReply = 1 << 20

// Raw is an NBD connection without any state of its own: each method sends or
// reads one message, and Conn takes arbitrary bytes. Not safe for concurrent use.
type Raw struct {
	// Conn is the transport; the caller may read, write and close it.
	Conn net.Conn
}

// DialRaw connects to addr, which is "unix:PATH" or "HOST:PORT". Nothing is
// sent or read yet. A deadline of ctx stays in force for the whole Raw until
// the caller changes it on Conn.
func DialRaw(ctx context.Context, addr string) (*Raw, error) {
	network := "tcp"
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, addr = "unix", path
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, fmt.Errorf("connect to NBD server %s: %w", addr, err)
	}
	if d, ok := ctx.Deadline(); ok {
		conn.SetDeadline(d)
	}
	return &Raw{Conn: conn}, nil
}

// Close closes the transport at once, without DISC or ABORT.
func (r *Raw) Close() error { return r.Conn.Close() }

// Send writes b as it is.
func (r *Raw) Send(b []byte) error {
	_, err := r.Conn.Write(b)
	return err
}

// Read reads exactly n bytes. On an error it returns what had arrived.
func (r *Raw) Read(n int) ([]byte, error) {
	b := make([]byte, n)
	m, err := io.ReadFull(r.Conn, b)
	return b[:m], err
}

// ReadGreeting reads the 18 bytes a fixed newstyle server begins with and
// returns its handshake flags (NBD proto.md "Fixed newstyle negotiation").
func (r *Raw) ReadGreeting() (flags uint16, err error) {
	b, err := r.Read(18)
	if err != nil {
		return 0, fmt.Errorf("read NBD greeting: %w", err)
	}
	if m := binary.BigEndian.Uint64(b); m != MagicInit {
		return 0, fmt.Errorf("NBD greeting has magic %#x, want NBDMAGIC", m)
	}
	if m := binary.BigEndian.Uint64(b[8:]); m != MagicOption {
		return 0, fmt.Errorf("NBD greeting has option magic %#x, want IHAVEOPT (newstyle)", m)
	}
	return binary.BigEndian.Uint16(b[16:]), nil
}

// SendClientFlags sends the 32 client flags that answer the greeting.
func (r *Raw) SendClientFlags(flags uint32) error {
	return r.Send(binary.BigEndian.AppendUint32(nil, flags))
}

// Greet reads the greeting and answers with every flag the server offered
// that this client knows. noZeroes tells whether NO_ZEROES is in force.
func (r *Raw) Greet() (noZeroes bool, err error) {
	offered, err := r.ReadGreeting()
	if err != nil {
		return false, err
	}
	if offered&FixedNewstyle == 0 {
		return false, fmt.Errorf("NBD server flags %#x lack FIXED_NEWSTYLE", offered)
	}
	flags := uint32(offered) & (FixedNewstyle | NoZeroes)
	return flags&NoZeroes != 0, r.SendClientFlags(flags)
}

// AppendOption adds an option request to b: magic, number, length, data.
func AppendOption(b []byte, option uint32, data []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, MagicOption)
	b = binary.BigEndian.AppendUint32(b, option)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

// SendOption sends one option request with a truthful length.
func (r *Raw) SendOption(option uint32, data []byte) error {
	return r.Send(AppendOption(nil, option, data))
}

// OptionReply is one reply of the handshake.
type OptionReply struct {
	Option uint32 // the option that is answered
	Type   uint32 // RepAck, RepInfo, ...; bit 31 set: error
	Data   []byte // owned by the receiver of the struct
}

// OptionError is an error reply to an option; Message is the server's text, if any.
type OptionError struct {
	Option  uint32
	Type    uint32
	Message string
}

// Error names option, reply type and the server's text.
func (e *OptionError) Error() string {
	return fmt.Sprintf("NBD option %d: error reply 2^31+%d %q", e.Option, e.Type&^RepErr, e.Message)
}

// ReadOptionReply reads one reply. Error replies are returned as replies, not as errors.
func (r *Raw) ReadOptionReply() (OptionReply, error) {
	b, err := r.Read(20)
	if err != nil {
		return OptionReply{}, fmt.Errorf("read NBD option reply: %w", err)
	}
	if m := binary.BigEndian.Uint64(b); m != MagicOptionReply {
		return OptionReply{}, fmt.Errorf("NBD option reply has magic %#x", m)
	}
	rep := OptionReply{Option: binary.BigEndian.Uint32(b[8:]), Type: binary.BigEndian.Uint32(b[12:])}
	n := binary.BigEndian.Uint32(b[16:])
	if n > maxOptionReply {
		return OptionReply{}, fmt.Errorf("NBD option reply of %d bytes", n)
	}
	if rep.Data, err = r.Read(int(n)); err != nil {
		return OptionReply{}, fmt.Errorf("read NBD option reply data: %w", err)
	}
	return rep, nil
}

// Ask sends an option and collects the replies up to the final ACK, which is
// not part of the result. An error reply ends it as an *OptionError.
func (r *Raw) Ask(option uint32, data []byte) ([]OptionReply, error) {
	if err := r.SendOption(option, data); err != nil {
		return nil, fmt.Errorf("send NBD option %d: %w", option, err)
	}
	var reps []OptionReply
	for {
		rep, err := r.ReadOptionReply()
		switch {
		case err != nil:
			return reps, err
		case rep.Option != option:
			return reps, fmt.Errorf("NBD reply to option %d while %d was asked", rep.Option, option)
		case rep.Type&RepErr != 0:
			return reps, &OptionError{Option: option, Type: rep.Type, Message: string(rep.Data)}
		case rep.Type == RepAck:
			return reps, nil
		}
		reps = append(reps, rep)
	}
}

// Abort ends the handshake with NBD_OPT_ABORT, waits for the ACK (the server
// may close without one) and closes the connection.
func (r *Raw) Abort() error {
	defer r.Close()
	r.Conn.SetDeadline(time.Now().Add(5 * time.Second))
	_, err := r.Ask(OptAbort, nil)
	return err
}

// ReadSimpleReply reads one simple reply header; the payload of a successful
// READ is left in the stream.
func (r *Raw) ReadSimpleReply() (cookie uint64, errno Errno, err error) {
	b, err := r.Read(simpleReplyLen)
	if err != nil {
		return 0, 0, fmt.Errorf("read NBD reply: %w", err)
	}
	if m := binary.BigEndian.Uint32(b); m != MagicSimpleReply {
		return 0, 0, fmt.Errorf("NBD reply has magic %#x", m)
	}
	return binary.BigEndian.Uint64(b[8:]), Errno(binary.BigEndian.Uint32(b[4:])), nil
}
