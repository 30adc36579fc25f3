// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbdclient

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// serve starts a foreign NBD server on a unix socket; args may contain SOCKET.
func serve(t *testing.T, prog string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(prog); err != nil {
		t.Skipf("%s is not installed", prog)
	}
	sock := filepath.Join(t.TempDir(), "s")
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "SOCKET", sock)
	}
	cmd := exec.Command(prog, args...)
	var out bytes.Buffer
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %s", prog, out.String())
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := net.Dial("unix", sock); err == nil {
			conn.Close()
			return "unix:" + sock
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s does not listen: %s", prog, out.String())
		}
	}
}

func image(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 16<<20); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestForeignServers(t *testing.T) {
	t.Run("nbdkit", func(t *testing.T) {
		exercise(t, serve(t, "nbdkit", "-f", "-U", "SOCKET", "memory", "16M"))
	})
	t.Run("nbdkit delayed", func(t *testing.T) { // replies come out of order
		exercise(t, serve(t, "nbdkit", "-f", "-U", "SOCKET", "--filter=delay", "memory", "16M", "rdelay=5ms"))
	})
	t.Run("qemu-nbd", func(t *testing.T) {
		exercise(t, serve(t, "qemu-nbd", "-t", "-e", "8", "-f", "raw", "-x", "disk", "--discard=unmap", "-k", "SOCKET", image(t)))
	})
}

func exercise(t *testing.T, addr string) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	list, err := List(ctx, addr)
	if err != nil || len(list) == 0 {
		t.Fatalf("list: %v, %v", list, err)
	}
	name := list[0].Name
	info, err := Info(ctx, addr, name)
	if err != nil || info.Size != 16<<20 {
		t.Fatalf("info: %+v, %v", info, err)
	}
	for _, oldWay := range []bool{false, true} {
		c, err := Connect(ctx, Config{Addr: addr, Export: name, UseExportName: oldWay})
		if err != nil {
			t.Fatal(err)
		}
		if c.Size() != 16<<20 || c.Export().Flags != info.Flags {
			t.Errorf("export %+v, want %+v", c.Export(), info)
		}
		manyInFlight(t, ctx, c)
		everyCommand(t, ctx, c)
		if err := c.Disconnect(ctx); err != nil {
			t.Error(err)
		}
	}
}

func manyInFlight(t *testing.T, ctx context.Context, c *Client) {
	const size = 64 << 10
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			want := bytes.Repeat([]byte{byte(i + 1)}, size)
			off := uint64(i) * size
			if _, err := c.Do(ctx, CmdWrite, 0, off, size, want); err != nil {
				t.Error(err)
				return
			}
			if got, err := c.Do(ctx, CmdRead, 0, off, size, nil); err != nil || !bytes.Equal(got, want) {
				t.Errorf("block %d differs: %v", i, err)
			}
		})
	}
	wg.Wait()
}

func everyCommand(t *testing.T, ctx context.Context, c *Client) {
	if _, err := c.Do(ctx, CmdWrite, FlagFUA, 512, 512, bytes.Repeat([]byte{9}, 512)); err != nil {
		t.Errorf("FUA write: %v", err)
	}
	if err := c.WriteZeroes(ctx, FlagNoHole|FlagFUA, 0, 4096); err != nil {
		t.Errorf("write zeroes: %v", err)
	}
	p := bytes.Repeat([]byte{1}, 4096)
	if _, err := c.ReadAt(p, 0); err != nil || !bytes.Equal(p, make([]byte, 4096)) {
		t.Errorf("not zero after write zeroes: %v", err)
	}
	if err := c.Trim(ctx, 1<<20, 1<<20); err != nil {
		t.Errorf("trim: %v", err)
	}
	if err := c.Flush(); err != nil {
		t.Errorf("flush: %v", err)
	}
	if c.Export().Flags&SendCache != 0 {
		if _, err := c.Do(ctx, CmdCache, 0, 0, 65536, nil); err != nil {
			t.Errorf("cache: %v", err)
		}
	}
	if _, err := c.Do(ctx, CmdRead, 0, 16<<20, 512, nil); !errors.Is(err, EINVAL) {
		t.Errorf("read past the end: got %v, want EINVAL", err)
	}
	if _, err := c.Do(ctx, CmdWrite, 0, 16<<20, 512, make([]byte, 512)); !errors.Is(err, ENOSPC) && !errors.Is(err, EINVAL) {
		t.Errorf("write past the end: got %v, want ENOSPC", err)
	}
}

func TestUnknownExport(t *testing.T) {
	addr := serve(t, "qemu-nbd", "-t", "-f", "raw", "-x", "disk", "-k", "SOCKET", image(t))
	_, err := Connect(t.Context(), Config{Addr: addr, Export: "other"})
	var oe *OptionError
	if !errors.As(err, &oe) || oe.Type != RepErrUnknown {
		t.Errorf("got %v, want NBD_REP_ERR_UNKNOWN", err)
	}
}
