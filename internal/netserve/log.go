// SPDX-License-Identifier: Apache-2.0

package netserve

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Clients decide how often they come and go, so what they have logged is
// bounded: logBurst lines, and logRate more per second.
const (
	logBurst = 100
	logRate  = 10
)

// quota counts log lines. Not safe for concurrent use.
type quota struct {
	left    float64
	at      time.Time // of the last refill; zero: full
	dropped int
}

// take tells whether a line may be written at now, and how many were dropped
// since the last one that was.
func (q *quota) take(now time.Time) (ok bool, dropped int) {
	if q.at.IsZero() {
		q.left = logBurst
	} else {
		q.left = min(q.left+logRate*now.Sub(q.at).Seconds(), logBurst)
	}
	q.at = now
	if q.left < 1 {
		q.dropped++
		return false, 0
	}
	q.left--
	dropped, q.dropped = q.dropped, 0
	return true, dropped
}

// Log writes what clients cause, at a bounded rate. Safe for concurrent use. Make
// it with NewLog.
type Log struct {
	to *slog.Logger

	mu    sync.Mutex
	quota quota
}

// NewLog makes a log that writes to to; nil: nowhere.
func NewLog(to *slog.Logger) *Log {
	if to == nil {
		to = slog.New(slog.DiscardHandler)
	}
	return &Log{to: to}
}

// Line writes one line, unless there were too many. A line that is written after
// others were dropped tells how many.
func (l *Log) Line(level slog.Level, msg string, args ...any) {
	if !l.to.Enabled(context.Background(), level) {
		return
	}
	l.mu.Lock()
	ok, dropped := l.quota.take(time.Now())
	l.mu.Unlock()
	if !ok {
		return
	}
	if dropped > 0 {
		args = append(args, "lines-dropped", dropped)
	}
	l.to.Log(context.Background(), level, msg, args...)
}
