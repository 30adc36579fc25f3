// SPDX-License-Identifier: Apache-2.0

package netserve

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// B70: clients cannot fill the log.
func TestB70LogQuota(t *testing.T) {
	var q quota
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
