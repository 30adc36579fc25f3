// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"pathgate/backends"
	nc "pathgate/integration/nbdclient"
)

const (
	fuzzDisk     = 1 << 20
	fuzzCommands = 8 // credits, so that back-pressure is met
	fuzzBytes    = 256 << 10
)

// fuzzBed is a server for all inputs of a fuzz worker.
type fuzzBed struct {
	*bed
	dev    *testDevice
	source *source
	pool   *backends.Pool

	mu      sync.Mutex
	resizes []uint64 // sizes that were asked for
	growing int      // of them are under way
	beside  bool     // two were at once
}

// grow takes any size up to twice the disk's, and changes nothing.
func (f *fuzzBed) grow(size uint64) error {
	f.mu.Lock()
	f.resizes = append(f.resizes, size)
	f.growing++
	f.beside = f.beside || f.growing > 1
	f.mu.Unlock()
	runtime.Gosched()
	f.mu.Lock()
	f.growing--
	f.mu.Unlock()
	switch {
	case size < fuzzDisk:
		return ErrShrink
	case size > 2*fuzzDisk:
		return ErrTooLarge
	}
	return nil
}

func newFuzzBed(tb testing.TB) *fuzzBed {
	d := newTestDevice(tb, fuzzDisk)
	d.info.MaxTransfer, d.info.MaxZeroes = 64<<10, 32<<10
	d.info.Degraded = []backends.Range{{Offset: 4096, Length: 8192}}
	f := &fuzzBed{dev: d, pool: backends.NewPool(fuzzCommands, fuzzBytes)}
	f.source = newSource().add("x", &pooled{d, f.pool})
	f.source.grow = f.grow
	f.bed = serve(tb, Config{Exports: f.source, MaxPending: 64 << 10})
	return f
}

func (f *fuzzBed) dial(tb testing.TB) *nc.Raw {
	conn, err := net.Dial("unix", f.path)
	if err != nil {
		tb.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return &nc.Raw{Conn: conn}
}

// say writes b, which fails when the server has closed, and ends the stream.
func say(r *nc.Raw, b []byte) {
	_ = r.Send(b)
	_ = r.Conn.(*net.UnixConn).CloseWrite()
}

// idle demands that nothing of a connection is left, that all credits are back, and
// that the device was asked for nothing outside.
func (f *fuzzBed) idle(t *testing.T) {
	eventually(t, "nothing left", func() bool { return len(f.Connections()) == 0 && f.source.inUse() == 0 })
	if cmds, n := f.pool.Free(); cmds != fuzzCommands || n != fuzzBytes {
		t.Errorf("%d commands and %d bytes are free", cmds, n)
	}
	for _, s := range f.dev.requests() {
		limit := map[backends.Op]uint64{backends.Read: 64 << 10, backends.Write: 64 << 10, backends.WriteZeroes: 32 << 10}[s.op]
		if s.off > fuzzDisk || s.length > fuzzDisk-s.off || limit > 0 && s.length > limit || (s.off|s.length)&511 != 0 {
			t.Errorf("the device was asked for %+v", s)
		}
	}
	f.dev.set(func() { f.dev.log = f.dev.log[:0] })
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, size := range f.resizes {
		if size&511 != 0 {
			t.Errorf("the export was asked to have %d bytes", size)
		}
	}
	if f.growing != 0 || f.beside {
		t.Errorf("%d growths have not ended, several at once: %v", f.growing, f.beside)
	}
	f.resizes = f.resizes[:0]
}

// asked is one request of an input, as the document reads it.
type asked struct {
	nc.Answer
	refuse bool // it cannot succeed
}

// readRequests takes the requests of input apart. Their cookies become their numbers.
// orderly: the server has to answer all of them before it ends.
func readRequests(d nc.Dialect, selected []uint32, input []byte) (list []*asked, orderly bool) {
	header, magic := 28, uint32(nc.MagicRequest)
	if d == nc.Extended {
		header, magic = 32, nc.MagicExtendedRequest
	}
	for len(input) >= header {
		if binary.BigEndian.Uint32(input) != magic {
			return list, false
		}
		a := &asked{Answer: nc.Answer{Dialect: d, Contexts: selected}}
		a.Flags, a.Cmd = nc.Flags(binary.BigEndian.Uint16(input[4:])), nc.Command(binary.BigEndian.Uint16(input[6:]))
		a.Cookie, a.Offset = uint64(len(list)), binary.BigEndian.Uint64(input[16:])
		binary.BigEndian.PutUint64(input[8:], a.Cookie)
		if a.Cmd == nc.CmdDisc {
			return list, true
		}
		payload := uint64(0)
		if d == nc.Extended {
			a.Length = binary.BigEndian.Uint64(input[24:])
			if a.Flags&nc.FlagPayloadLen != 0 {
				payload = a.Length
			}
		} else {
			a.Length = uint64(binary.BigEndian.Uint32(input[24:]))
			if a.Cmd == nc.CmdWrite {
				payload = a.Length
			}
		}
		if payload > 1<<25 || a.Cmd == nc.CmdWrite && payload != a.Length {
			return list, false
		}
		input = input[header:]
		if payload > uint64(len(input)) {
			return list, true
		}
		a.narrow(input[:payload])
		if a.Cmd == nc.CmdResize { // extension-resize: the offset is the new size
			a.refuse = a.refuse || a.Length != 0 || a.Offset&511 != 0 || a.Offset < fuzzDisk || a.Offset > 2*fuzzDisk
		} else {
			a.refuse = a.refuse || a.Length > fuzzDisk || a.Offset > fuzzDisk-a.Length || (a.Offset|a.Length)&511 != 0 ||
				a.Cmd > nc.CmdBlockStatus || a.Cmd == nc.CmdBlockStatus && len(selected) == 0
		}
		input = input[payload:]
		list = append(list, a)
	}
	return list, true
}

// narrow takes the payload of a BLOCK_STATUS.
func (a *asked) narrow(p []byte) {
	if a.Dialect != nc.Extended || a.Flags&nc.FlagPayloadLen == 0 || a.Cmd == nc.CmdWrite {
		return
	}
	if a.Cmd != nc.CmdBlockStatus || len(p) < 12 || len(p)%4 != 0 {
		a.refuse = true
		return
	}
	a.Length, a.Contexts = binary.BigEndian.Uint64(p), nil
	for p = p[8:]; len(p) > 0; p = p[4:] {
		a.Contexts = append(a.Contexts, binary.BigEndian.Uint32(p))
	}
}

// transmission plays input on a connection of d that has selected contexts, and
// holds the server's answers against the protocol: one whole reply for each request,
// and nothing else.
func (f *fuzzBed) transmission(t *testing.T, d nc.Dialect, contexts []string, input []byte) {
	r := f.dial(t)
	defer r.Close()
	var selected []uint32
	if err := f.begin(r, d, contexts, &selected); err != nil {
		t.Fatal(err)
	}
	input = bytes.Clone(input)
	list, orderly := readRequests(d, selected, input)
	ended := make(chan error, 1)
	go func() { ended <- takeReplies(r, list) }()
	say(r, input)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for i, a := range list {
		switch {
		case !a.Done && orderly:
			t.Errorf("request %d, %v: no reply", i, a.Cmd)
		case a.Done && a.refuse && a.Errno == 0:
			t.Errorf("request %d, %v: done", i, a.Cmd)
		}
	}
	f.idle(t)
}

func (f *fuzzBed) begin(r *nc.Raw, d nc.Dialect, contexts []string, selected *[]uint32) error {
	if _, err := r.Greet(); err != nil {
		return err
	}
	if err := r.Speak(d); err != nil {
		return err
	}
	if d != nc.Simple && len(contexts) > 0 {
		ids, err := r.Meta(nc.OptSetMetaContext, "x", contexts...)
		if err != nil {
			return err
		}
		for _, id := range ids {
			*selected = append(*selected, id)
		}
	}
	_, err := r.Info(nc.OptGo, "x")
	return err
}

// takeReplies reads to the end of the stream.
func takeReplies(r *nc.Raw, list []*asked) error {
	for {
		c, err := r.ReadChunk()
		if isTimeout(err) {
			return errors.New("the connection does not end")
		}
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, new(*net.OpError)) {
				return nil
			}
			return err
		}
		if c.Cookie >= uint64(len(list)) {
			return fmt.Errorf("a reply to request %d of %d", c.Cookie, len(list))
		}
		a := list[c.Cookie]
		if err := a.Take(&c, r); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("request %d, %v: %w", c.Cookie, a.Cmd, err)
		}
	}
}

// negotiation plays input from the client's flags on. Every option that is answered
// is answered in its turn, by any number of replies and a final one.
func (f *fuzzBed) negotiation(t *testing.T, input []byte) {
	r := f.dial(t)
	defer r.Close()
	ended := make(chan error, 1)
	go func() { ended <- takeOptionReplies(r, optionsOf(input)) }()
	say(r, input)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	f.idle(t)
}

// optionsOf gives the options of input in turn, as far as they can be told.
func optionsOf(input []byte) (list []uint32) {
	for input = input[min(4, len(input)):]; len(input) >= 16; {
		n := uint64(binary.BigEndian.Uint32(input[12:]))
		list = append(list, binary.BigEndian.Uint32(input[8:]))
		if n > uint64(len(input)-16) {
			break
		}
		input = input[16+n:]
	}
	return list
}

func takeOptionReplies(r *nc.Raw, options []uint32) error {
	if _, err := r.ReadGreeting(); err != nil {
		return err
	}
	for _, o := range options {
		if o == nc.OptExportName {
			break // what follows has no header
		}
		for n := 0; ; n++ {
			rep, err := r.ReadOptionReply()
			if isTimeout(err) {
				return errors.New("the connection does not end")
			}
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, new(*net.OpError)) {
				return nil
			}
			if err != nil || rep.Option != o || len(rep.Data) > 4+2*maxName || n > 8 {
				return fmt.Errorf("option %d: reply %d is to %d, %d bytes: %w", o, n, rep.Option, len(rep.Data), err)
			}
			if rep.Type == nc.RepAck || rep.Type&nc.RepErr != 0 {
				if o == nc.OptGo && rep.Type == nc.RepAck {
					return drained(r)
				}
				break
			}
		}
	}
	return drained(r)
}

// drained reads what is left.
func drained(r *nc.Raw) error {
	if _, err := io.Copy(io.Discard, r.Conn); isTimeout(err) {
		return errors.New("the connection does not end")
	}
	return nil
}

// negotiations are whole ones, up to transmission and beyond.
func negotiations() [][]byte {
	flags := []byte{0, 0, 0, nc.FixedNewstyle | nc.NoZeroes}
	say := func(first []byte, options ...any) []byte {
		b := bytes.Clone(first)
		for i := 0; i < len(options); i += 2 {
			data, _ := options[i+1].([]byte)
			b = nc.AppendOption(b, uint32(options[i].(int)), data)
		}
		return b
	}
	both := nc.MetaData("x", "base:allocation", "pathgate:paths", "x-a:b")
	status := &nc.Asked{Cmd: nc.CmdBlockStatus, Length: 4096}
	return [][]byte{
		say(flags, nc.OptList, nil),
		say(flags, nc.OptGo, goData(1, "x", 2, 1, 3)),
		say(flags, nc.OptInfo, goData(1<<32-6, "x", 0)),
		say(flags, 99, []byte("data"), nc.OptAbort, []byte("x")),
		say([]byte{0, 0, 0, 0}, nc.OptExportName, []byte("x")),
		append(append(bytes.Clone(flags), "IHAVEOPT\x00\x00\x00\x07"...), 0xff, 0xff, 0xff, 0xff),
		nc.Structured.Append(say(flags, nc.OptStructuredReply, nil, nc.OptListMetaContext, nc.MetaData("x"),
			nc.OptSetMetaContext, both, nc.OptInfo, goData(1, "x", 1, 2), nc.OptGo, goData(1, "x", 0)), status),
		nc.Extended.Append(say(flags, nc.OptExtendedHeaders, nil, nc.OptStructuredReply, nil,
			nc.OptSetMetaContext, both, nc.OptGo, goData(1, "x", 0)), status),
		say(flags, nc.OptSetMetaContext, both, nc.OptStructuredReply, []byte{1}, nc.OptSetMetaContext, nc.MetaData("x", "none")),
		say(flags, nc.OptStartTLS, nil, nc.OptExtendedHeaders, nil, nc.OptExportName, []byte("x")),
	}
}

func FuzzNegotiation(f *testing.F) {
	for _, b := range negotiations() {
		f.Add(b)
	}
	bed := newFuzzBed(f)
	f.Fuzz(func(t *testing.T, input []byte) { bed.negotiation(t, input) })
}

// conversations are requests of a connection that is in transmission.
func conversations(d nc.Dialect) [][]byte {
	say := func(list ...nc.Asked) (b []byte) {
		for i := range list {
			b = d.Append(b, &list[i])
		}
		return b
	}
	filter := append(binary.BigEndian.AppendUint64(nil, 65536), 0, 0, 0, 1)
	write := func(off uint64, n int) nc.Asked {
		return nc.Asked{Cmd: nc.CmdWrite, Offset: off, Payload: bytes.Repeat([]byte{1}, n)}
	}
	all := [][]byte{
		say(write(0, 4096), nc.Asked{Cmd: nc.CmdRead, Length: fuzzDisk}, nc.Asked{Cmd: nc.CmdRead, Flags: nc.FlagDF, Length: 131072}),
		say(write(512, 4097), write(fuzzDisk, 512), nc.Asked{Cmd: nc.CmdFlush, Flags: nc.FlagFUA}),
		say(nc.Asked{Cmd: nc.CmdRead, Length: 0xffffffff, Offset: 1<<64 - 1}, nc.Asked{Cmd: nc.CmdRead, Length: 512}),
		say(nc.Asked{Cmd: nc.CmdWriteZeroes, Flags: nc.FlagFastZero | nc.FlagNoHole | nc.FlagFUA, Length: fuzzDisk},
			nc.Asked{Cmd: nc.CmdTrim, Length: fuzzDisk}, nc.Asked{Cmd: nc.CmdCache, Length: 4096}),
		say(nc.Asked{Cmd: nc.CmdBlockStatus, Length: fuzzDisk}, nc.Asked{Cmd: nc.CmdBlockStatus, Flags: nc.FlagReqOne, Offset: 4096, Length: 65536}),
		say(nc.Asked{Cmd: nc.CmdResize, Offset: 2 * fuzzDisk}, nc.Asked{Cmd: nc.CmdResize, Offset: fuzzDisk, Flags: nc.FlagFUA},
			nc.Asked{Cmd: nc.CmdResize, Offset: 1<<64 - 1}, nc.Asked{Cmd: nc.CmdResize, Offset: 2 * fuzzDisk, Length: 512},
			nc.Asked{Cmd: nc.CmdResize}, nc.Asked{Cmd: nc.CmdWriteZeroes, Length: fuzzDisk}),
		append(say(nc.Asked{Cmd: nc.CmdRead, Length: 4096}, nc.Asked{Cmd: nc.CmdDisc}), "more"...),
		nc.Request{Magic: 7}.Append(nil),
		say(nc.Asked{Cmd: nc.CmdWrite, Flags: nc.FlagPayloadLen, Length: 1 << 26}),
		say(write(0, 1<<17))[:100000],
	}
	many := make([]nc.Asked, 40)
	for i := range many {
		many[i] = nc.Asked{Cmd: nc.CmdRead, Offset: uint64(i) * 16384, Length: 65536 * uint64(i%2+1)}
	}
	all = append(all, say(many...))
	if d == nc.Extended {
		all = append(all,
			say(nc.Asked{Cmd: nc.CmdBlockStatus, Payload: filter}, nc.Asked{Cmd: nc.CmdBlockStatus, Payload: append(filter, filter[8:]...)},
				nc.Asked{Cmd: nc.CmdResize, Offset: 2 * fuzzDisk, Payload: filter},
				nc.Asked{Cmd: nc.CmdTrim, Payload: filter}, nc.Asked{Cmd: nc.CmdTrim, Length: 1 << 40}),
			say(nc.Asked{Cmd: nc.CmdWrite, Length: 512}))
	}
	return all
}

// fuzzTerms gives the dialect and the contexts that a byte stands for.
func fuzzTerms(b byte) (nc.Dialect, []string) {
	contexts := [][]string{nil, {"base:allocation"}, {"pathgate:paths"}, {"base:allocation", "pathgate:paths"}}
	return dialects[int(b&3)%len(dialects)], contexts[b>>2&3]
}

func FuzzTransmission(f *testing.F) {
	for i := range byte(16) {
		d, _ := fuzzTerms(i)
		for _, b := range conversations(d) {
			f.Add(i, b)
		}
	}
	bed := newFuzzBed(f)
	f.Fuzz(func(t *testing.T, terms byte, input []byte) {
		d, contexts := fuzzTerms(terms)
		bed.transmission(t, d, contexts, input)
	})
}

// B45 in the newer options: a negotiation that is cut at every byte, and then goes on
// with other bytes.
func TestB45EveryNegotiationCut(t *testing.T) {
	bed := newFuzzBed(t)
	for _, b := range negotiations()[6:9] {
		for cut := range b {
			bed.negotiation(t, b[:cut])
			if cut%4 == 1 {
				bad := bytes.Clone(b)
				bad[cut] ^= 0x81
				bed.negotiation(t, bad)
			}
		}
	}
}

// B46, B53: requests that are cut at every byte of their headers.
func TestB45EveryRequestCut(t *testing.T) {
	bed := newFuzzBed(t)
	for _, d := range dialects {
		msg := d.Append(nil, &nc.Asked{Cmd: nc.CmdRead, Cookie: 1, Length: 4096})
		msg = d.Append(msg, &nc.Asked{Cmd: nc.CmdWrite, Cookie: 2, Payload: []byte("not a block")})
		if d == nc.Extended {
			msg = d.Append(msg, &nc.Asked{Cmd: nc.CmdBlockStatus, Payload: []byte("\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x01")})
		}
		for cut := range msg {
			bed.transmission(t, d, []string{"base:allocation"}, msg[:cut])
		}
	}
}
