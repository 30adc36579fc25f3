// SPDX-License-Identifier: Apache-2.0

package netserve

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Clients decide how often they come and go, so what they have logged is bounded: of
// all to logBurst lines, and logRate more per second, of each peer to peerBurst and
// peerRate, so that one leaves room for the others.
const (
	logBurst  = 100
	logRate   = 10
	peerBurst = 20
	peerRate  = 2
	// maxPeers bounds how many peers have a quota of their own; those beyond share one.
	maxPeers = 1024
)

// quota counts log lines. Not safe for concurrent use.
type quota struct {
	burst   float64
	rate    float64 // per second
	left    float64
	at      time.Time // of the last refill; zero: full
	dropped int
}

// take tells whether a line may be written at now, and how many were dropped
// since the last one that was.
func (q *quota) take(now time.Time) (ok bool, dropped int) {
	q.refill(now)
	if q.left < 1 {
		q.dropped++
		return false, 0
	}
	q.left--
	dropped, q.dropped = q.dropped, 0
	return true, dropped
}

func (q *quota) refill(now time.Time) {
	if q.at.IsZero() {
		q.left = q.burst
	} else {
		q.left = min(q.left+q.rate*now.Sub(q.at).Seconds(), q.burst)
	}
	q.at = now
}

// Log writes what clients cause, at a bounded rate. Safe for concurrent use. Make
// it with NewLog.
type Log struct {
	to *slog.Logger

	mu    sync.Mutex
	quota quota
	peers map[string]*quota
	rest  quota // of peers that have none of their own
}

// NewLog makes a log that writes to to; nil: nowhere.
func NewLog(to *slog.Logger) *Log {
	if to == nil {
		to = slog.New(slog.DiscardHandler)
	}
	return &Log{
		to: to, quota: quota{burst: logBurst, rate: logRate},
		peers: make(map[string]*quota), rest: quota{burst: peerBurst, rate: peerRate},
	}
}

// Line writes one line, unless there were too many. A line that is written after
// others were dropped tells how many.
func (l *Log) Line(level slog.Level, msg string, args ...any) {
	l.LineOf("", level, msg, args...)
}

// LineOf writes one line that peer has caused: an address, or another name for those
// who are one to the log; "": nobody in particular.
func (l *Log) LineOf(peer string, level slog.Level, msg string, args ...any) {
	if !l.to.Enabled(context.Background(), level) {
		return
	}
	ok, dropped := l.take(time.Now(), peer)
	if !ok {
		return
	}
	if dropped > 0 {
		args = append(args, "lines-dropped", dropped)
	}
	l.to.Log(context.Background(), level, msg, args...)
}

// take tells whether peer may have a line, and how many were dropped before it.
func (l *Log) take(now time.Time, peer string) (ok bool, dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if peer == "" {
		return l.quota.take(now)
	}
	q := l.peerLocked(now, peer)
	ok, own := q.take(now)
	if !ok {
		return false, 0
	}
	if ok, dropped = l.quota.take(now); !ok { // told with the next line
		l.quota.dropped += own
		return false, 0
	}
	return true, dropped + own
}

// peerLocked gives the quota of a peer.
func (l *Log) peerLocked(now time.Time, peer string) *quota {
	if q := l.peers[peer]; q != nil {
		return q
	}
	if len(l.peers) >= maxPeers {
		for name, q := range l.peers {
			if q.refill(now); q.left == q.burst && q.dropped == 0 {
				delete(l.peers, name)
			}
		}
		if len(l.peers) >= maxPeers {
			return &l.rest
		}
	}
	q := &quota{burst: peerBurst, rate: peerRate}
	l.peers[peer] = q
	return q
}
