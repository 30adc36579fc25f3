// SPDX-License-Identifier: Apache-2.0

package nbdattach

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"pathgate/backends"
	"pathgate/gateway/nbd"
)

const diskSize = 8 << 20

// exports offers one disk as "vm1/root", or refuses it.
type exports struct {
	mu     sync.Mutex
	dev    backends.Device
	refuse error
	secure nbd.Security
}

// set makes the disk another one.
func (e *exports) set(dev backends.Device) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dev = dev
}

// deny refuses the disk.
func (e *exports) deny(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refuse = err
}

func (e *exports) List(nbd.Peer) []nbd.Export { return []nbd.Export{{Name: "vm1/root"}} }

func (e *exports) Open(_ context.Context, name string, _ nbd.Peer, _ nbd.Mode) (nbd.Handle, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.refuse != nil:
		return nbd.Handle{}, e.refuse
	case name != "vm1/root":
		return nbd.Handle{}, nbd.ErrUnknownExport
	}
	return nbd.Handle{Export: nbd.Export{Name: name}, Device: e.dev}, nil
}

// serve runs the gateway's server at ln until the test ends.
func serve(t *testing.T, e *exports, ln net.Listener) {
	t.Helper()
	if e.dev == nil {
		dev, err := backends.NewMemory(diskSize)
		if err != nil {
			t.Fatal(err)
		}
		e.dev = dev
	}
	srv, err := nbd.New(nbd.Config{Exports: e})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.ServeSecure(ctx, ln, e.secure) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// pipes is a listener of net.Pipe.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: "pipe"} }

func (p *pipes) dial() net.Conn {
	a, b := net.Pipe()
	p.conns <- b
	return a
}

// TestNegotiateWithServer: what the gateway's server tells comes out, and it serves the
// connection afterwards.
func TestNegotiateWithServer(t *testing.T) {
	p := newPipes()
	e := &exports{}
	serve(t, e, p)
	want := Export{
		Size: diskSize, MinBlock: 512, Preferred: 4096, MaxPayload: 32 << 20,
		Flags: HasFlags | SendFlush | SendFUA | SendTrim | SendWriteZeroes | CanMultiConn,
	}
	const kernelKnows = HasFlags | ReadOnly | SendFlush | SendFUA | Rotational | SendTrim | SendWriteZeroes | CanMultiConn
	for _, talk := range []func(io.ReadWriter, string) (Export, error){Inspect, Negotiate} {
		c := p.dial()
		got, err := talk(c, "vm1/root")
		got.Flags &= kernelKnows
		got.MinBlock = max(got.MinBlock, 512)
		if got.Preferred == 0 || err != nil {
			t.Fatalf("%+v, %v", got, err)
		}
		got.Preferred = want.Preferred
		if got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		c.Close()
	}

	c := p.dial()
	defer c.Close()
	if _, err := Negotiate(c, "vm1/root"); err != nil {
		t.Fatal(err)
	}
	if err := readBlock(c, 7); err != nil {
		t.Error(err)
	}

	c = p.dial()
	defer c.Close()
	if _, err := Negotiate(c, "vm1/data"); !errors.Is(err, ErrUnknown) {
		t.Errorf("another disk: %v", err)
	}
	for _, tt := range []struct{ from, want error }{{nbd.ErrNotPermitted, ErrRefused}, {nbd.ErrShutdown, ErrShutdown}} {
		e.deny(tt.from)
		c = p.dial()
		if _, err := Negotiate(c, "vm1/root"); !errors.Is(err, tt.want) {
			t.Errorf("%v: %v", tt.from, err)
		}
		c.Close()
	}
}

// readBlock reads the disk's first 512 bytes as the kernel does, with simple replies.
func readBlock(c io.ReadWriter, cookie uint64) error {
	b := binary.BigEndian.AppendUint32(nil, 0x25609513)
	b = binary.BigEndian.AppendUint32(b, 0) // no flags, READ
	b = binary.BigEndian.AppendUint64(b, cookie)
	b = binary.BigEndian.AppendUint64(b, 0)
	b = binary.BigEndian.AppendUint32(b, 512)
	if _, err := c.Write(b); err != nil {
		return err
	}
	r := make([]byte, 16+512)
	if _, err := io.ReadFull(c, r); err != nil {
		return err
	}
	if binary.BigEndian.Uint32(r) != 0x67446698 || binary.BigEndian.Uint32(r[4:]) != 0 || binary.BigEndian.Uint64(r[8:]) != cookie {
		return errors.New("no simple reply without error")
	}
	return nil
}

// script is a server that says what it says, whatever it is told.
type script struct {
	io.Reader
	told bytes.Buffer
}

func (s *script) Write(b []byte) (int, error) { return s.told.Write(b) }

func optReply(t uint32, data ...byte) []byte {
	b := binary.BigEndian.AppendUint64(nil, magicOptionReply)
	b = binary.BigEndian.AppendUint32(b, optGo)
	b = binary.BigEndian.AppendUint32(b, t)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

func hello(option uint64, flags uint16) []byte {
	b := binary.BigEndian.AppendUint64(nil, magicInit)
	b = binary.BigEndian.AppendUint64(b, option)
	return binary.BigEndian.AppendUint16(b, flags)
}

var (
	goodHello = hello(magicOption, 3)
	sizeInfo  = optReply(repInfo, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 1, 0x25)          // 8 MiB
	blockInfo = optReply(repInfo, 0, 3, 0, 0, 2, 0, 0, 0, 0x10, 0, 2, 0, 0, 0)       // 512, 4096, 32 MiB
	otherInfo = optReply(repInfo, 0, 2, 'd', 'i', 's', 'k')                          // a description
	goodWords = bytes.Join([][]byte{goodHello, blockInfo, otherInfo, sizeInfo}, nil) // ACK is to follow
)

// TestBadServers: what no server may say ends the negotiation, and says why.
func TestBadServers(t *testing.T) {
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	change := func(b []byte, at int, v byte) []byte {
		b = bytes.Clone(b)
		b[at] = v
		return b
	}
	for _, tt := range []struct {
		name  string
		words []byte
		want  string // part of the error
	}{
		{"silent", nil, "greeting"},
		{"another protocol", []byte("SSH-2.0-OpenSSH_9.2 Debian\r\n"), "no NBD server"},
		{"oldstyle", hello(magicOldstyle, 0), "oldstyle"},
		{"option magic", hello(1, 3), "option magic 0x1"},
		{"not fixed", hello(magicOption, 2), "fixed newstyle"},
		{"ends after the greeting", goodHello, "answer"},
		{"reply magic", join(goodHello, change(sizeInfo, 0, 9)), "option reply magic"},
		{"another option", join(goodHello, change(sizeInfo, 11, 6)), "a reply to option 6"},
		{"long reply", join(goodHello, change(sizeInfo, 16, 0xff)), "an option reply of"},
		{"no size", join(goodHello, blockInfo, optReply(repAck)), "did not tell its size"},
		{"reply type", join(goodHello, optReply(2)), "option reply 2"},
		{"short information", join(goodHello, optReply(repInfo, 0)), "information of 1 bytes"},
		{"short size", join(goodHello, optReply(repInfo, 0, 0, 1)), "information of 3 bytes, want 12"},
		{"short block size", join(goodHello, optReply(repInfo, 0, 3, 1)), "information of 3 bytes, want 14"},
		{"no flags", join(goodHello, change(sizeInfo, len(sizeInfo)-1, 4), optReply(repAck)), "transmission flags 0x104"},
		{"negative size", join(goodHello, change(sizeInfo, 22, 0x80), optReply(repAck)), "a size of"},
		{"odd block", join(goodHello, change(blockInfo, 25, 3), sizeInfo, optReply(repAck)), "minimum block size of 515"},
		{"great block", join(goodHello, change(change(blockInfo, 23, 2), 24, 0), sizeInfo, optReply(repAck)), "minimum block size of 131072"},
		{"small payload", join(goodHello, change(change(blockInfo, 30, 0), 33, 1), sizeInfo, optReply(repAck)), "below the minimum"},
		{"unknown", join(goodHello, optReply(repErrUnknown, []byte("no \x1b[31mdisk")...)), "no such export: no ?[31mdisk"},
		{"refused", join(goodHello, optReply(repErrPolicy)), "refused"},
		{"wants TLS", join(goodHello, optReply(repErrTLS)), "wants TLS"},
		{"stops", join(goodHello, optReply(repErrShutdown)), "being stopped"},
		{"unsupported", join(goodHello, optReply(repError+1)), "refused (0x80000001)"},
		{"no end", join(goodHello, bytes.Repeat(otherInfo, 100)), "more than 64 replies"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Negotiate(&script{Reader: bytes.NewReader(tt.words)}, "vm1/root")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestNegotiateBytes: what is sent, and that not one byte beyond the last reply is read.
func TestNegotiateBytes(t *testing.T) {
	words := bytes.Join([][]byte{goodWords, optReply(repAck)}, nil)
	s := &script{Reader: bytes.NewReader(append(bytes.Clone(words), "rest"...))}
	e, err := Negotiate(s, "vm1/root")
	if want := (Export{8 << 20, 0x125, 512, 4096, 32 << 20}); e != want || err != nil {
		t.Errorf("%+v, %v, want %+v", e, err, want)
	}
	if rest, _ := io.ReadAll(s.Reader); string(rest) != "rest" {
		t.Errorf("%q is left", rest)
	}
	want := "\x00\x00\x00\x03" + // fixed newstyle, no zeroes
		"IHAVEOPT\x00\x00\x00\x07\x00\x00\x00\x12" + // GO
		"\x00\x00\x00\x08vm1/root\x00\x02\x00\x03pg" // with the block size, by one that reconnects
	if got := s.told.String(); got != want {
		t.Errorf("sent %q, want %q", got, want)
	}
	for n := range len(words) {
		if _, err := Negotiate(&script{Reader: bytes.NewReader(words[:n])}, "vm1/root"); err == nil {
			t.Errorf("%d of %d bytes are enough", n, len(words))
		}
	}
	if _, err := Negotiate(s, strings.Repeat("x", 5000)); err == nil {
		t.Error("a name of 5000 bytes")
	}
}

// FuzzNegotiate: no server makes the negotiation panic, read on without end, or
// accept what the kernel cannot use.
func FuzzNegotiate(f *testing.F) {
	f.Add(append(bytes.Clone(goodWords), optReply(repAck)...))
	f.Add(append(bytes.Clone(goodHello), optReply(repErrTLS, 'x')...))
	f.Fuzz(func(t *testing.T, words []byte) {
		e, err := Negotiate(&script{Reader: bytes.NewReader(words)}, "vm1/root")
		if err == nil && (e.Flags&HasFlags == 0 || e.Size > 1<<63-1 || e.MinBlock > 64<<10) {
			t.Errorf("accepted %+v", e)
		}
	})
}
