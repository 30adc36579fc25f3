// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"io"
	"net"
	"testing"
	"time"

	nc "pathgate/integration/nbdclient"
)

// fuzzed starts a server for all inputs of a fuzz worker. run plays input on a
// connection of its own that has said prefix, and demands that it ends.
func fuzzed(f *testing.F, prefix []byte) (run func(t *testing.T, input []byte)) {
	d := newTestDevice(f, 1<<20)
	d.info.MaxTransfer, d.info.MaxZeroes = 64<<10, 32<<10
	s := newSource().add("x", d)
	b := serve(f, Config{Exports: s, MaxPending: 1 << 20})
	return func(t *testing.T, input []byte) {
		conn, err := net.Dial("unix", b.path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		ended := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, conn)
			ended <- err
		}()
		_, _ = conn.Write(append(prefix[:len(prefix):len(prefix)], input...)) // fails when the server has closed
		_ = conn.(*net.UnixConn).CloseWrite()
		if err := <-ended; isTimeout(err) {
			t.Fatal("the connection does not end")
		}
		eventually(t, "nothing left", func() bool { return len(b.Connections()) == 0 && s.inUse() == 0 })
		d.set(func() { d.log = d.log[:0] })
	}
}

func FuzzNegotiation(f *testing.F) {
	flags := []byte{0, 0, 0, nc.FixedNewstyle | nc.NoZeroes}
	f.Add(nc.AppendOption(flags, nc.OptList, nil))
	f.Add(nc.AppendOption(flags, nc.OptGo, goData(1, "x", 2, 1, 3)))
	f.Add(nc.AppendOption(flags, nc.OptInfo, goData(1<<32-6, "x", 0)))
	f.Add(nc.AppendOption(nc.AppendOption(flags, 99, []byte("data")), nc.OptAbort, []byte("x")))
	f.Add(nc.AppendOption([]byte{0, 0, 0, 0}, nc.OptExportName, []byte("x")))
	f.Add(append(append(flags, "IHAVEOPT\x00\x00\x00\x07"...), 0xff, 0xff, 0xff, 0xff))
	run := fuzzed(f, nil)
	f.Fuzz(func(t *testing.T, input []byte) { run(t, input) })
}

func FuzzTransmission(f *testing.F) {
	write := func(n int) []byte {
		return append(nc.Request{Cmd: nc.CmdWrite, Length: uint32(n)}.Append(nil), make([]byte, n)...)
	}
	f.Add(write(4096))
	f.Add(write(4097))
	f.Add(write(0))
	f.Add(nc.Request{Cmd: nc.CmdRead, Length: 1 << 20}.Append(write(512)))
	f.Add(nc.Request{Cmd: nc.CmdRead, Length: 0xffffffff, Offset: 1<<64 - 1}.Append(nil))
	f.Add(nc.Request{Cmd: nc.CmdWriteZeroes, Flags: nc.FlagFastZero | nc.FlagFUA, Length: 1 << 20}.Append(nil))
	f.Add(nc.Request{Cmd: nc.CmdTrim, Length: 1 << 20}.Append(nc.Request{Cmd: nc.CmdFlush, Flags: nc.FlagFUA}.Append(nil)))
	f.Add(append(nc.Request{Cmd: nc.CmdDisc}.Append(nil), "more"...))
	f.Add(nc.Request{Magic: 7}.Append(nil))
	f.Add(nc.Request{Cmd: nc.CmdWrite, Length: 1 << 26}.Append(nil))
	f.Add(write(1 << 17)[:100000])
	prefix := nc.AppendOption([]byte{0, 0, 0, nc.FixedNewstyle | nc.NoZeroes}, nc.OptGo, goData(1, "x", 0))
	run := fuzzed(f, prefix)
	f.Fuzz(func(t *testing.T, input []byte) { run(t, input) })
}
