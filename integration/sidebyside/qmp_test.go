// SPDX-License-Identifier: Apache-2.0

package sidebyside

import (
	"bufio"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// TestMonitor: what is said to QEMU, and that events between answers are passed over.
func TestMonitor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "q")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	said := make(chan string, 3)
	go func() {
		defer close(said)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprintln(c, `{"QMP": {"version": {}}}`)
		answers := []string{`{"return": {}}`, `{"event": "X"}` + "\n" + `{"return": {}}`, `{"error": {"class": "GenericError", "desc": "no such card"}}`}
		for sc := bufio.NewScanner(c); len(answers) > 0 && sc.Scan(); answers = answers[1:] {
			said <- sc.Text()
			fmt.Fprintln(c, answers[0])
		}
	}()
	m, err := dialMonitor(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.conn.Close()
	if err := m.link("card1", false); err != nil {
		t.Error(err)
	}
	if err := m.link("card9", true); err == nil || !strings.Contains(err.Error(), "no such card") {
		t.Errorf("got %v", err)
	}
	want := []string{
		`{"arguments":{},"execute":"qmp_capabilities"}`,
		`{"arguments":{"name":"card1","up":false},"execute":"set_link"}`,
		`{"arguments":{"name":"card9","up":true},"execute":"set_link"}`,
	}
	for _, w := range want {
		if got := <-said; got != w {
			t.Errorf("got %s, want %s", got, w)
		}
	}
}
