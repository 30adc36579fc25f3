// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"net"
	"sync"
	"time"
)

const (
	// rateSlack is how much of the time that a link lay idle it makes up for: more
	// than a timer is late on a busy machine, and little beside a second.
	rateSlack = 50 * time.Millisecond
	// rateChunk and rateChunkMost bound what a pump takes the link for at once, so
	// that the connections and directions take turns.
	rateChunk     = 5 * time.Millisecond
	rateChunkMost = 16 << 10
)

// rate is a link of so many bytes per second, first come, first served, for all
// connections and both directions together. Safe for concurrent use.
type rate struct {
	perSecond int64 // more than 0

	mu   sync.Mutex
	free time.Time // when all that was taken is across
}

func newRate(perSecond int64) *rate { return &rate{perSecond: perSecond} }

// chunk is how many bytes to take at most.
func (l *rate) chunk() int {
	n := float64(l.perSecond) * rateChunk.Seconds()
	return int(max(1, min(n, rateChunkMost)))
}

// take gives the link to n bytes behind all that were before, and tells when the last
// of them is across. The times follow from each other and not from when the sleepers
// wake up: within any time t at most perSecond*(t+rateSlack) bytes get across, and
// while somebody always waits no less than perSecond*t.
func (l *rate) take(now time.Time, n int) (across time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if idle := now.Add(-rateSlack); l.free.Before(idle) {
		l.free = idle
	}
	l.free = l.free.Add(time.Duration(float64(n) / float64(l.perSecond) * float64(time.Second)))
	return l.free
}

// copy carries bytes until from ends or either fails.
func (l *rate) copy(to, from *net.TCPConn) error {
	buf := make([]byte, l.chunk())
	for {
		n, err := from.Read(buf)
		if n > 0 {
			time.Sleep(time.Until(l.take(time.Now(), n)))
			if _, err := to.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}
