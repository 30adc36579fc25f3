// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"context"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pathgate/integration/nbdclient"
)

// served starts a server of a memory disk in this process.
func served(t *testing.T, serve func(context.Context, string, uint64) error) *contender {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, socket, diskBytes) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	c := (&contender{}).nbd(socket, "disk")
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for c.opens(t.Context()) != nil {
		select {
		case err := <-done:
			done <- err
			t.Fatal(err)
		case <-tick.C:
		}
	}
	return c
}

// Every dialect reads all that it asks for from the gateway's server, and simple
// replies from that of go-nbd, which knows nothing else.
func TestSpeakers(t *testing.T) {
	ours, theirs := served(t, ServeMemory), served(t, ServeGoNBD)
	cl, err := nbdclient.Connect(t.Context(), nbdclient.Config{Addr: "unix:" + ours.socket, Export: "disk"})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	const block = 64 << 10
	for at := int64(0); at < 16*block; at += block { // the part that is read
		if _, err := cl.WriteAt(bytes.Repeat([]byte{7}, block), at); err != nil {
			t.Fatal(err)
		}
	}
	for d, c := range map[nbdclient.Dialect]*contender{nbdclient.Structured: ours, nbdclient.Extended: ours, nbdclient.Simple: theirs} {
		raw, err := speaker{d, "test"}.dial(t.Context(), c)
		if err != nil {
			t.Fatalf("dialect %d: %v", d, err)
		}
		l := &reading{raw: raw, dialect: d, job: Job{BlockBytes: block, Depth: 16}, random: rand.New(rand.NewPCG(1, 1)), buf: make([]byte, 9000)}
		if err := l.run(time.Time{}); err != nil || l.ended != 16 || l.content != 16*block || l.left != 0 {
			t.Errorf("dialect %d: %d reads of %d bytes ended, %d left, %v", d, l.ended, l.content, l.left, err)
		}
		raw.Close()
	}
	s, err := (speaker{nbdclient.Simple, "test"}).run(t.Context(), theirs, Job{Random: true, BlockBytes: 4096, Depth: 4}, 0.01, 1)
	if err != nil || s.IOs < 4 || s.Seconds <= 0 {
		t.Errorf("got %+v, %v", s, err)
	}
	if _, err := (speaker{nbdclient.Structured, "test"}).run(t.Context(), theirs, Job{BlockBytes: 4096, Depth: 1}, 0.01, 1); err == nil {
		t.Error("go-nbd speaks structured replies")
	}
}

// TestParseReply: a reply that is not the content of a READ is an error.
func TestParseReply(t *testing.T) {
	simple := "\x67\x44\x66\x98\x00\x00\x00\x00cookieXX"
	chunk := "\x66\x8e\x33\xef\x00\x01\x00\x01cookieXX\x00\x00\x10\x08offsetXX"
	part := "\x66\x8e\x33\xef\x00\x00\x00\x01cookieXX\x00\x00\x02\x08offsetXX"
	long := "\x6e\x8a\x27\x8c\x00\x01\x00\x01cookieXXrequest!\x00\x00\x00\x00\x00\x00\x10\x08offsetXX"
	for _, c := range []struct {
		name       string
		d          nbdclient.Dialect
		b          string
		n, content int
		last, ok   bool
	}{
		{"simple", nbdclient.Simple, simple, 16, 4096, true, true},
		{"chunk", nbdclient.Structured, chunk + "x", 28, 4096, true, true},
		{"first of two chunks", nbdclient.Structured, part, 28, 512, false, true},
		{"extended", nbdclient.Extended, long, 40, 4096, true, true},
		{"simple, cut", nbdclient.Simple, simple[:15], 0, 0, false, true},
		{"chunk, cut", nbdclient.Structured, chunk[:27], 0, 0, false, true},
		{"extended, cut", nbdclient.Extended, long[:39], 0, 0, false, true},
		{"error", nbdclient.Simple, strings.Replace(simple, "\x98\x00", "\x98\x05", 1), 0, 0, false, false},
		{"hole", nbdclient.Structured, strings.Replace(chunk, "\x01cookie", "\x02cookie", 1), 0, 0, false, false},
		{"longer than asked for", nbdclient.Structured, strings.Replace(chunk, "\x10\x08", "\x10\x09", 1), 0, 0, false, false},
		{"empty", nbdclient.Structured, strings.Replace(chunk, "\x10\x08", "\x00\x08", 1), 0, 0, false, false},
		{"of another dialect", nbdclient.Structured, simple + simple, 0, 0, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, content, last, err := parseReply(c.d, []byte(c.b), 4096)
			if (err == nil) != c.ok || n != c.n || content != c.content || last != c.last {
				t.Errorf("got %d, %d, %v, %v", n, content, last, err)
			}
		})
	}
}

// Only fio makes several connections, and only speakers choose a dialect, where one is
// known.
func TestClientsOfFrontEnd(t *testing.T) {
	plain, two := (&contender{}).nbd("s", "disk"), &contender{socket: "s", dialects: 2}
	for _, cl := range allClients() {
		_, speaks := cl.(speaker)
		if got := cl.can(plain); got == speaks && cl.name() != "iscsi-perf" {
			t.Errorf("%s over NBD: %v", cl.name(), got)
		}
		if got, want := cl.can(two), speaks && cl.name() != "extended headers"; got != want {
			t.Errorf("%s where two dialects are known: %v", cl.name(), got)
		}
		for _, j := range nbdJobs() {
			if got, want := cl.does(j), cl.name() == "fio"; j.Connections == 4 && got != want {
				t.Errorf("%s: %s: %v", cl.name(), j.Name, got)
			}
		}
	}
	if n := len(nbdJobs()); n != 8 {
		t.Errorf("%d jobs", n)
	}
	for _, j := range dialectJobs() {
		if j.Write {
			t.Errorf("%s tells no dialect from another", j.Name)
		}
	}
}

// TestMarkdownOfFrontEnd pins the bars of every job, those of depth 32, and a client
// that the reference has no figures of.
func TestMarkdownOfFrontEnd(t *testing.T) {
	ours, other, theirs := &contender{name: "ours"}, &contender{name: "other"}, &contender{name: "theirs"}
	fast := []Sample{{20000, 1, 0.2, 0}, {30000, 1, 0.3, 0}, {40000, 1, 0.5, 0}}
	slow := []Sample{{10000, 1, 0.2, 0}, {15000, 1, 0.3, 0}, {10000, 1, 0.2, 0}}
	g := &group{title: "NBD", contenders: []*contender{ours, other, theirs}, reference: 2, thrift: 1, thriftOfAll: true, deepBar: 2.5}
	r := &Report{Options: Options{Rounds: 3}, groups: []*group{g}}
	for _, j := range Jobs()[:2] {
		r.rows = append(r.rows, &row{group: g, client: "fio", job: j, series: []series{{ours, fast}, {other, fast}, {theirs, slow}}})
	}
	r.rows = append(r.rows, &row{group: g, client: "extended headers", job: Jobs()[0], series: []series{{ours, fast}}})
	text := r.Markdown()
	for _, want := range []string{
		"| 4k random read, depth 1 | 30.0 kIOPS | 30.0 kIOPS | 10.0 kIOPS | 2.00 (2.00-4.00) | faster | 2.00 (2.00-4.00) | faster |",
		"| 4k random read, depth 32 | 30.0 kIOPS | 30.0 kIOPS | 10.0 kIOPS | 2.00 (2.00-4.00) | faster; 2.50: not met, within noise | 2.00 (2.00-4.00) | faster |",
		"| job | ours | other | theirs | ours / theirs | other / theirs | bar for ours |",
		"| 4k random read, depth 1 | 100.0k | 100.0k | 50.0k | 2.00 (1.60-2.00) | 2.00 (1.60-2.00) | 1.00: met |",
		"### Rate, extended headers\n\n| job | ours |\n|---|---:|\n| 4k random read, depth 1 | 30.0 kIOPS |\n",
		"### CPU time of the server for each I/O, in microseconds, extended headers\n\n| job | ours |\n|---|---:|\n| 4k random read, depth 1 | 10.0 |\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "CPU time, extended headers") {
		t.Error("a bar without a reference")
	}
}
