// SPDX-License-Identifier: Apache-2.0

package netserve

import (
	"bytes"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"
)

// B70: clients cannot fill the log.
func TestB70LogQuota(t *testing.T) {
	q := quota{burst: logBurst, rate: logRate}
	now := time.Unix(1000, 0)
	written, told := 0, 0
	for range 10000 { // ten seconds of a thousand lines each
		if ok, dropped := q.take(now); ok {
			written++
			told += dropped
		}
		now = now.Add(time.Millisecond)
	}
	if want := logBurst + 10*logRate; written < want-1 || written > want {
		t.Errorf("%d lines, want %d", written, want)
	}
	if told+q.dropped != 10000-written {
		t.Errorf("%d dropped lines were counted, want %d", told+q.dropped, 10000-written)
	}
	now = now.Add(time.Hour)
	if ok, dropped := q.take(now); !ok || dropped == 0 {
		t.Errorf("after an hour: %v, %d dropped", ok, dropped)
	}
}

func TestLog(t *testing.T) {
	var out bytes.Buffer
	l := NewLog(slog.New(slog.NewTextHandler(&out, nil)))
	l.Line(slog.LevelDebug, "too fine")
	l.quota.dropped = 7
	l.Line(slog.LevelInfo, "seen", "peer", "x")
	for range 2 * logBurst {
		l.Line(slog.LevelInfo, "more")
	}
	got := out.String()
	if strings.Contains(got, "too fine") || !strings.Contains(got, "msg=seen peer=x lines-dropped=7") {
		t.Errorf("got %s", got)
	}
	if n := strings.Count(got, "\n"); n > logBurst+1 { // one more in case a tenth of a second has passed
		t.Errorf("%d lines, want about %d", n, logBurst)
	}
	NewLog(nil).Line(slog.LevelError, "nowhere")
}

// B70: a peer that causes line after line leaves room for others, and what was dropped
// is counted. The memory for peers is bounded.
func TestB70LogOfPeers(t *testing.T) {
	var out bytes.Buffer
	l := NewLog(slog.New(slog.NewTextHandler(&out, nil)))
	for range 10 * logBurst {
		l.LineOf("noisy", slog.LevelInfo, "noise")
	}
	l.LineOf("quiet", slog.LevelInfo, "heard")
	noise := strings.Count(out.String(), "noise")
	if noise < peerBurst || noise > peerBurst+peerRate*2 || !strings.Contains(out.String(), "heard") {
		t.Errorf("%d lines of noise:\n%s", noise, out.String())
	}
	now := time.Now().Add(time.Hour)
	if ok, dropped := l.take(now, "noisy"); !ok || dropped != 10*logBurst-noise {
		t.Errorf("%v, %d dropped, want %d", ok, dropped, 10*logBurst-noise)
	}
	written, told, all := 0, 0, 0
	line := func(peer int) {
		ok, dropped := l.take(now, strconv.Itoa(peer))
		if ok {
			written++
		}
		told += dropped
		all++
	}
	for i := range 10000 { // many peers are bounded as all are
		line(i % 50)
	}
	if written > logBurst {
		t.Errorf("%d lines of 50 peers in a moment", written)
	}
	for i := range 5 * maxPeers {
		line(i)
	}
	now = now.Add(time.Minute)
	line(7)
	if len(l.peers) > maxPeers {
		t.Errorf("%d peers are remembered", len(l.peers))
	}
	rest := l.quota.dropped + l.rest.dropped
	for _, q := range l.peers {
		rest += q.dropped
	}
	if written+told+rest != all || told == 0 {
		t.Errorf("%d lines written, %d and %d dropped, of %d", written, told, rest, all)
	}
}
