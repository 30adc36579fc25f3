// SPDX-License-Identifier: Apache-2.0

package nbdattach

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"
)

var update = flag.Bool("update", false, "write testdata anew")

// TestMessages: the bytes of every message, those of include/uapi/linux/nbd-netlink.h.
func TestMessages(t *testing.T) {
	var b strings.Builder
	show := func(title string, cmd uint8, s settings) {
		req := request(0x1d, cmd, s.data()...)
		req.Seq = 1
		fmt.Fprintf(&b, "# %s\n%s\n", title, hex.Dump(req.Serialize()))
	}
	show("CONNECT /dev/nbd3, two sockets", cmdConnect, settings{
		index: 3, size: 1 << 30, blockSize: 512, timeout: 30, deadTimeout: 300, flags: 0x16d,
		clientFlags: clientDestroyOnDisconnect | clientDisconnectOnClose, backend: "pathgate:vm1/root", sockets: []int{7, 8},
	})
	show("CONNECT a free device", cmdConnect, settings{index: AnyDevice, size: 4096, blockSize: 4096, timeout: 1, flags: 1, sockets: []int{9}})
	show("RECONFIGURE with a socket", cmdReconfigure, settings{index: 0, backend: "pathgate:a/b", sockets: []int{5}})
	show("RECONFIGURE the size", cmdReconfigure, settings{index: 15, size: 2 << 30, blockSize: 512, backend: "pathgate:a/b"})
	show("DISCONNECT", cmdDisconnect, settings{index: 15})
	name := filepath.Join("testdata", "messages.txt")
	if *update {
		if err := os.WriteFile(name, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", &b, want)
	}
}

func message(cmd uint8, attrs ...*nl.RtAttr) []byte {
	b := []byte{cmd, 0, 0, 0}
	for _, a := range attrs {
		b = append(b, a.Serialize()...)
	}
	return b
}

func status(connected uint8) []byte {
	list := nl.NewRtAttr(attrDevices, nil)
	item := list.AddRtAttr(attrDeviceItem, nil)
	item.AddRtAttr(attrDeviceIndex, nl.Uint32Attr(2))
	item.AddRtAttr(attrDeviceConnected, nl.Uint8Attr(connected))
	return message(cmdStatus, list)
}

func TestAnswers(t *testing.T) {
	dead := message(cmdLinkDead, nl.NewRtAttr(attrIndex, nl.Uint32Attr(12)))
	if n, err := decodeIndex(dead, cmdLinkDead); n != 12 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for _, bad := range [][]byte{nil, dead[:3], dead[:4], dead[:len(dead)-1], message(cmdConnect), message(cmdLinkDead, nl.NewRtAttr(attrIndex, nl.Uint64Attr(1)))} {
		if _, err := decodeIndex(bad, cmdLinkDead); !errors.Is(err, errMessage) {
			t.Errorf("%x: %v", bad, err)
		}
	}
	for v, want := range map[uint8]bool{0: false, 1: true} {
		if got, err := decodeStatus(status(v)); got != want || err != nil {
			t.Errorf("%d: %v, %v", v, got, err)
		}
	}
	if got, err := decodeStatus(message(cmdStatus, nl.NewRtAttr(attrDevices, nil))); got || err != nil {
		t.Errorf("no device: %v, %v", got, err)
	}
}

// FuzzAnswers: no message makes the decoders panic.
func FuzzAnswers(f *testing.F) {
	f.Add(message(cmdLinkDead, nl.NewRtAttr(attrIndex, nl.Uint32Attr(12))))
	f.Add(status(1))
	f.Fuzz(func(t *testing.T, b []byte) {
		own := bytes.Clone(b)
		if n, err := decodeIndex(own, cmdLinkDead); err == nil && (n < 0 || len(b) < 12) {
			t.Errorf("index %d of %x", n, b)
		}
		_, _ = decodeStatus(own) // any answer will do
	})
}

func TestParseDevice(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "disk")
	if err := os.Symlink("/dev/null", link); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		want int
		err  string
	}{
		{"auto", AnyDevice, ""},
		{"/dev/nbd15", 15, ""},
		{"/dev/nbd4095", 4095, ""},
		{"/dev/nbd", 0, "want /dev/nbdN"},
		{"/dev/nbd01", 0, "want /dev/nbdN"},
		{"/dev/nbd0p1", 0, "want /dev/nbdN"},
		{"/dev/nbd99999", 0, "want /dev/nbdN"},
		{"nbd0", 0, "want /dev/nbdN"},
		{"/dev/sda", 0, "want /dev/nbdN"},
		{link, 0, "want /dev/nbdN"},
		{"", 0, "want /dev/nbdN"},
	} {
		n, err := ParseDevice(tt.name)
		if tt.err == "" && (n != tt.want || err != nil) || tt.err != "" && (!errors.Is(err, ErrNotDevice) || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%q: %d, %v, want %d, %q", tt.name, n, err, tt.want, tt.err)
		}
	}
}

func TestConfigBounds(t *testing.T) {
	good := Config{Addresses: []string{"127.0.0.1:1"}, Export: "a/b"}
	for name, change := range map[string]func(*Config){
		"no server":            func(c *Config) { c.Addresses = nil },
		"no export":            func(c *Config) { c.Export = "" },
		"negative connections": func(c *Config) { c.Connections = -1 },
		"many connections":     func(c *Config) { c.Connections = MaxConnections + 1 },
		"short timeout":        func(c *Config) { c.Timeout = 100 * time.Millisecond },
		"broken seconds":       func(c *Config) { c.DeadTimeout = 1500 * time.Millisecond },
		"negative":             func(c *Config) { c.DeadTimeout = -time.Second },
	} {
		c := good
		change(&c)
		if c.setDefaults() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if err := good.setDefaults(); err != nil || good.Connections != DefaultConnections || good.Timeout != 30*time.Second {
		t.Errorf("%+v, %v", good, err)
	}
}
