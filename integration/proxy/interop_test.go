// SPDX-License-Identifier: Apache-2.0

//go:build integration

package proxy

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// tgtd starts a target with LUN 1 of 16 MiB and returns its address and URL path.
func tgtd(t *testing.T) (addr, path string) {
	t.Helper()
	return tgtdTries(t, 5)
}

func tgtdTries(t *testing.T, tries int) (addr, path string) {
	t.Helper()
	for _, prog := range []string{"tgtd", "tgtadm", "qemu-io"} {
		if _, err := exec.LookPath(prog); err != nil {
			t.Skipf("%s is not installed", prog)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = ln.Addr().String()
	ln.Close()
	_, port, _ := net.SplitHostPort(addr)
	disk := filepath.Join(t.TempDir(), "lun")
	if err := os.WriteFile(disk, make([]byte, 16<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	control := strconv.Itoa(20000 + n%30000) // tgtd makes a socket file of this name
	admin := func(args string) error {
		return exec.Command("tgtadm", append([]string{"-C", control, "--lld", "iscsi"}, strings.Fields(args)...)...).Run()
	}
	const name = "iqn.2026-11.test.proxy:t"
	cmd := exec.Command("tgtd", "-f", "-C", control, "--iscsi", "portal="+addr)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := func() { cmd.Process.Kill(); cmd.Wait() }
	tick, give := time.NewTicker(20*time.Millisecond), time.After(4*time.Second)
	defer tick.Stop()
	for admin("--mode target --op new --tid 1 -T "+name) != nil {
		select {
		case <-tick.C:
		case <-give:
			stop()
			if tries > 1 {
				return tgtdTries(t, tries-1) // somebody else may have taken the port meanwhile
			}
			t.Fatal("tgtd takes no orders")
		}
	}
	t.Cleanup(stop)
	for _, args := range []string{"--mode logicalunit --op new --tid 1 --lun 1 -b " + disk, "--mode target --op bind --tid 1 -I ALL"} {
		if err := admin(args); err != nil {
			t.Fatalf("tgtadm %s: %v", args, err)
		}
	}
	return addr, name + "/1"
}

// The framer agrees with a real target and a real initiator, with and without
// digests: it would lose the borders within one PDU if it did not.
func TestFramesOfRealPeers(t *testing.T) {
	addr, path := tgtd(t)
	for _, digest := range []string{"none", "crc32c"} {
		t.Run(digest, func(t *testing.T) {
			p := MustNew(t, Options{Target: addr, Protocol: ISCSI})
			url := "file.driver=iscsi,file.transport=tcp,file.portal=" + p.Addr() + ",file.target=" + strings.TrimSuffix(path, "/1") +
				",file.lun=1,file.header-digest=" + digest
			out, err := exec.Command("qemu-io", "--image-opts", "driver=raw,"+url,
				"-c", "write -P 7 0 2M", "-c", "write -P 8 4k 4k", "-c", "read -P 8 4k 4k", "-c", "read -P 7 8k 1M", "-c", "flush").CombinedOutput()
			if err != nil || strings.Contains(string(out), "failed") {
				t.Fatalf("qemu-io: %v\n%s", err, out)
			}
			if err := p.Wait(func(c Counters) bool { return c.Active == 0 }, 5*time.Second); err != nil {
				t.Fatal(err)
			}
			got := p.Counters()
			for o := range got.ToTarget.PDUs {
				if strings.HasPrefix(o, "0x") {
					t.Errorf("opcode %s: the framer is out of step", o)
				}
			}
			if got.PDUs(Logout) == 0 || got.PDUs(LogoutResponse) != got.PDUs(Logout) {
				t.Errorf("the last PDUs were not seen: %v", got)
			}
			if got.ToTarget.DataBytes < 2<<20 || got.ToClient.DataBytes < 1<<20 || got.PDUs(SCSIResponse)+got.PDUs(DataIn) == 0 {
				t.Errorf("counters %v", got)
			}
		})
	}
}

// A WRITE whose second half is held lands when it is released, although its
// initiator was killed meanwhile.
func TestHeldWriteLandsAfterItsInitiatorDied(t *testing.T) {
	addr, path := tgtd(t)
	p := MustNew(t, Options{Target: addr, Protocol: ISCSI})
	p.MustSet(Fault{Kind: Hold, Dir: ToTarget, At: &Trigger{When: func(p PDU) bool {
		return p.DataLen >= 4096 && (p.Opcode == SCSICommand || p.Opcode == DataOut)
	}, HalfData: true}})
	cmd := exec.Command("qemu-io", "-f", "raw", "-c", "write -P 66 0 4k", "iscsi://"+p.Addr()+"/"+path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(func(c Counters) bool { return c.Fault(Hold).Bytes >= 2048 }, 10*time.Second); err != nil {
		t.Error(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	read := func(pattern string) bool {
		out, err := exec.Command("qemu-io", "-f", "raw", "-r", "-c", "read -P "+pattern+" 0 4k", "iscsi://"+addr+"/"+path).CombinedOutput()
		return err == nil && !strings.Contains(string(out), "failed")
	}
	if !read("0") {
		t.Error("the write landed although half of it was held")
	}
	p.Clear()
	if err := p.Wait(func(c Counters) bool { e := c.Fault(Hold); return e.Released == e.Bytes }, 5*time.Second); err != nil {
		t.Error(err)
	}
	tick, give := time.NewTicker(10*time.Millisecond), time.After(5*time.Second)
	defer tick.Stop()
	for !read("66") {
		select {
		case <-tick.C:
		case <-give:
			t.Fatalf("the write never landed: %v", p.Counters())
		}
	}
}
