// SPDX-License-Identifier: Apache-2.0

package qmp

import (
	"bufio"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMonitor: what is said to QEMU, and that events between answers are kept.
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
		answers := []string{
			`{"return": {}}`,
			`{"event": "X"}` + "\n" + `{"event": "Y", "data": {"n": 7}}` + "\n" + `{"return": {"size": 9}}` + "\n" + `{"event": "Z"}`,
			`{"error": {"class": "GenericError", "desc": "no such card"}}`,
		}
		for sc := bufio.NewScanner(c); len(answers) > 0 && sc.Scan(); answers = answers[1:] {
			said <- sc.Text()
			fmt.Fprintln(c, answers[0])
		}
	}()
	m, err := Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var got struct{ Size int }
	if err := m.Do("query", map[string]any{"name": "card1"}, &got); err != nil || got.Size != 9 {
		t.Errorf("got %+v, %v", got, err)
	}
	if e, err := m.Wait(time.Minute, "Y", "Q"); err != nil || e.Name != "Y" || string(e.Data) != `{"n": 7}` {
		t.Errorf("got %+v, %v", e, err)
	}
	if e, err := m.Wait(time.Minute, "Z"); err != nil || e.Name != "Z" {
		t.Errorf("got %+v, %v", e, err)
	}
	if err := m.Do("set_link", map[string]any{"name": "card9", "up": true}, nil); err == nil || !strings.Contains(err.Error(), "no such card") {
		t.Errorf("got %v", err)
	}
	want := []string{
		`{"arguments":{},"execute":"qmp_capabilities"}`,
		`{"arguments":{"name":"card1"},"execute":"query"}`,
		`{"arguments":{"name":"card9","up":true},"execute":"set_link"}`,
	}
	for _, w := range want {
		if got := <-said; got != w {
			t.Errorf("got %s, want %s", got, w)
		}
	}
	if _, err := m.Wait(time.Minute, "Y"); err == nil {
		t.Error("an event came of a QEMU that is gone")
	}
}
