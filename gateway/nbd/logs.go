// SPDX-License-Identifier: Apache-2.0

package nbd

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

// clientLog writes what clients cause. Safe for concurrent use.
type clientLog struct {
	to *slog.Logger

	mu    sync.Mutex
	quota quota
}

// line writes one line, unless there were too many.
func (l *clientLog) line(level slog.Level, msg string, args ...any) {
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
