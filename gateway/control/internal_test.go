// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	names := []string{"vmhba0:0:1", "vmhba0:0:2", "vmhba1:0:1", "gold", "a"}
	for _, tt := range []struct{ wrong, want string }{
		{"vmhba0:0:9", "vmhba0:0:1"},  // a tie: the first
		{"vmhba1:0:2", "vmhba0:0:2"},  // likewise
		{"vmbha0:0:2", "vmhba0:0:2"},  // swapped
		{"VMHBA1:0:1", "vmhba1:0:1"},  // in another case
		{"vmhba0:0:12", "vmhba0:0:1"}, // one too many
		{"vmhba:0:1", "vmhba0:0:1"},
		{"god", "gold"},
		{"b", "a"},
		{"", "a"},
		{"tin", ""},
		{strings.Repeat("x", maxNameLength+1), ""},
	} {
		if got := nearest(tt.wrong, slices.Values(names)); got != tt.want {
			t.Errorf("nearest(%q) = %q, want %q", tt.wrong, got, tt.want)
		}
	}
	long := strings.Repeat("x", maxNameLength)
	if got := nearest(long[1:], slices.Values([]string{long + "x", long})); got != long {
		t.Error("the longest name was not found")
	}
}

// distanceSlow is the definition: recursive, without a table.
func distanceSlow(a, b string) int {
	if a == "" || b == "" {
		return len(a) + len(b)
	}
	x, y := a[:len(a)-1], b[:len(b)-1]
	cost := 1
	if a[len(a)-1] == b[len(b)-1] {
		cost = 0
	}
	d := min(distanceSlow(x, b)+1, distanceSlow(a, y)+1, distanceSlow(x, y)+cost)
	if i, j := len(a), len(b); i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
		d = min(d, distanceSlow(a[:i-2], b[:j-2])+1)
	}
	return d
}

func TestDistance(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	word := func() string {
		b := make([]byte, r.IntN(7))
		for i := range b {
			b[i] = "abc"[r.IntN(3)]
		}
		return string(b)
	}
	for range 500 {
		a, b := word(), word()
		if got, want := distance(a, b), distanceSlow(a, b); got != want {
			t.Fatalf("distance(%q, %q) = %d, want %d (seed %d)", a, b, got, want, seed)
		}
	}
}

func TestBuildVersion(t *testing.T) {
	for _, tt := range []struct {
		info debug.BuildInfo
		want string // with the platform cut off
	}{
		{debug.BuildInfo{GoVersion: "go1.26"}, "pathgate devel (go1.26"},
		{debug.BuildInfo{GoVersion: "go1.26", Main: debug.Module{Version: "(devel)"}}, "pathgate devel (go1.26"},
		{debug.BuildInfo{GoVersion: "go1.26", Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "0123456789abcdef"},
			{Key: "vcs.modified", Value: "true"},
			{Key: "vcs.time", Value: "2026-11-22T12:00:00Z"},
		}}, "pathgate v1.2.3 0123456789ab with changes (go1.26"},
	} {
		v := buildVersion(&tt.info)
		if got, _, _ := strings.Cut(v.String(), ","); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
		if v.Revision != "" && v.Time.IsZero() {
			t.Errorf("no time in %+v", v)
		}
	}
}

func TestAttrs(t *testing.T) {
	for _, bad := range []string{`[]`, `{"a":1}`, `{"a":{}}`, `"x"`, `{"a"`} {
		var a Attrs
		if err := json.Unmarshal([]byte(bad), &a); err == nil {
			t.Errorf("%s was taken: %v", bad, a)
		}
	}
	a := Attrs{{"x", "1"}}
	if err := json.Unmarshal([]byte("null"), &a); err != nil {
		t.Error(err)
	}
	if err := json.Unmarshal([]byte(`{"k":"v"}`), &a); err != nil || len(a) != 1 || a[0] != (Attr{"k", "v"}) {
		t.Errorf("got %v, %v", a, err)
	}
}

// FuzzStream: whatever a server sends, the reader ends, gives valid events only, and
// holds no more than a bounded line.
func FuzzStream(f *testing.F) {
	f.Add(": hello\nid: R-1\n\nid: R-2\ndata: {\"seq\":2}\n\n")
	f.Add("data: {\"seq\":\ndata: 3}\n\n\n\n")
	f.Add("data\nid\n:\n\nevent: x\ndata:{}\n\n")
	f.Add("data: [1]\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		n := 0
		fl := &following{c: &Client{addr: "unix:/x"}, ctx: context.Background(), yield: func(_ Event, err error) bool {
			if err != nil {
				t.Errorf("an event with %v", err)
			}
			n++
			return n < 3
		}}
		lines := 0
		err := fl.read(strings.NewReader(text), func() { lines++ })
		if (err == nil) != fl.left {
			t.Errorf("left %v, %v", fl.left, err)
		}
		if n > lines || fl.left && n != 3 || strings.ContainsAny(fl.id, "\n") {
			t.Errorf("%d events of %d lines, id %q", n, lines, fl.id)
		}
	})
}

func TestStreamLines(t *testing.T) {
	var got []uint64
	fl := &following{c: &Client{addr: "unix:/x"}, ctx: context.Background(), yield: func(e Event, _ error) bool {
		got = append(got, e.Seq)
		return true
	}}
	err := fl.read(strings.NewReader("id: R-4\n\n: alive\n\nid: R-5\ndata: {\"seq\":\ndata: 5}\n\ndata: {\"seq\":6}\nid: R-6\n\nid: R-7\ndata: {\"seq\":7}\n"), func() {})
	if !errors.Is(err, ErrUnreachable) || !slices.Equal(got, []uint64{5, 6}) || fl.id != "R-6" {
		t.Errorf("events %v, id %q, %v", got, fl.id, err)
	}
	if err := fl.read(strings.NewReader("data: "+strings.Repeat("x", maxEventLine)), func() {}); err == nil {
		t.Error("a line without end was taken")
	}
	if err := fl.read(strings.NewReader(strings.Repeat("data: xxxxxxxxxxxxxxxx\n", maxEventLine/8)), func() {}); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("an event without end: %v", err)
	}
}
