// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"iter"
	"strconv"
	"sync"
	"time"
)

// BusOptions are the bounds of a Bus. Zero fields take the defaults.
type BusOptions struct {
	// History is how many events are kept for readers; default 4096. A reader that
	// is further behind loses events, and is told how many.
	History int
	// Burst is how many events of one kind about one object pass in each Window;
	// defaults 10 and 1 s. Negative Burst: all pass.
	Burst  int
	Window time.Duration
	// MaxObjects bounds the objects that are counted at once; default 4096. Objects
	// beyond it share one count for each kind.
	MaxObjects int
}

// Bus carries events from where they happen to all who want to know: the log, the
// control API, alerts. Publish never waits for a reader. All methods are safe for
// concurrent use.
type Bus struct {
	mu     sync.Mutex
	ring   []Event // event seq is at (seq-1) % len
	last   uint64  // Seq of the newest event, 0 before the first
	wake   chan struct{}
	closed bool
	limit  limiter
	timer  *time.Timer // runs flush when due, while some event is held
	due    time.Time
}

// NewBus makes a bus. Close stops its timer.
func NewBus(o BusOptions) *Bus {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&o.History, 4096)
	def(&o.Burst, 10)
	def(&o.MaxObjects, 4096)
	if o.Window == 0 {
		o.Window = time.Second
	}
	return &Bus{
		ring:  make([]Event, 0, o.History),
		limit: limiter{burst: o.Burst, window: o.Window, max: o.MaxObjects, objects: make(map[objectKey]*objectLimit)},
	}
}

// Publish gives e to the readers, now or ever. It sets Seq, and Time when it is
// zero. When e is one too many of its kind about its object, it is held back: the
// newest of those held is published at the end of the window, or before the next
// event about that object, with the detail "suppressed": the number of those before
// it that nobody will see. So what an object came to in the end is always told.
func (b *Bus) Publish(e Event) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.scheduleLocked(b.limit.admit(time.Now(), e, b.appendLocked))
}

func (b *Bus) appendLocked(e Event) {
	b.last++
	e.Seq = b.last
	if len(b.ring) < cap(b.ring) {
		b.ring = append(b.ring, e)
	} else {
		b.ring[(e.Seq-1)%uint64(len(b.ring))] = e
	}
	if b.wake != nil {
		close(b.wake)
		b.wake = nil
	}
}

// scheduleLocked sees to it that flush runs at or before at; zero: not needed.
func (b *Bus) scheduleLocked(at time.Time) {
	switch {
	case at.IsZero():
	case b.timer == nil:
		b.due = at
		b.timer = time.AfterFunc(max(0, time.Until(at)), b.flush)
	case at.Before(b.due):
		b.due = at
		b.timer.Reset(max(0, time.Until(at)))
	}
}

// flush is the timer's work. Running once more than needed does no harm.
func (b *Bus) flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.timer = nil
	b.scheduleLocked(b.limit.expire(time.Now(), b.appendLocked))
}

// Last is the Seq of the newest event, 0 before the first.
func (b *Bus) Last() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

// Close publishes what is held back, stops the timer and ends all readers when they
// have read to the end. Publish does nothing afterwards. Twice is safe.
func (b *Bus) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.limit.drain(b.appendLocked)
	b.closed = true
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	if b.wake != nil {
		close(b.wake)
		b.wake = nil
	}
}

// Subscribe gives the events from Seq from on, for ever: those that are kept, then
// new ones as they come, until ctx or the bus ends or the loop is left. from 0 is the
// oldest that is kept; Last()+1 is only new ones. Where events were lost to the
// reader, because it was slow or from was too old, there is one KindEventsLost
// instead; its Seq is that of the last one lost.
//
// The loop's body may take as long as it wants. No goroutine is started.
func (b *Bus) Subscribe(ctx context.Context, from uint64) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		next := from
		for {
			e, wait, ok := b.read(next)
			switch {
			case ok:
				if ctx.Err() != nil || !yield(e) {
					return
				}
				next = e.Seq + 1
			case wait == nil:
				return
			default:
				select {
				case <-ctx.Done():
					return
				case <-wait:
				}
			}
		}
	}
}

// Recent gives up to n of the newest events that keep accepts, oldest first. keep
// nil accepts all.
func (b *Bus) Recent(n int, keep func(Event) bool) []Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []Event
	for i := range len(b.ring) {
		if len(found) == n {
			break
		}
		e := b.ring[(b.last-1-uint64(i))%uint64(len(b.ring))]
		if keep == nil || keep(e) {
			found = append(found, e)
		}
	}
	for i, j := 0, len(found)-1; i < j; i, j = i+1, j-1 {
		found[i], found[j] = found[j], found[i]
	}
	return found
}

// read gives event number next, or a gap, or a channel that is closed when there is
// more. Nothing of the three: the bus is closed and read to its end.
func (b *Bus) read(next uint64) (e Event, wait <-chan struct{}, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	oldest := b.last - uint64(len(b.ring)) + 1
	if next == 0 {
		next = oldest
	}
	if next > b.last {
		if b.closed {
			return e, nil, false
		}
		if b.wake == nil {
			b.wake = make(chan struct{})
		}
		return e, b.wake, false
	}
	if next < oldest {
		lost := oldest - next
		gap := Event{
			Seq: oldest - 1, Time: time.Now(), Kind: KindEventsLost, Severity: SeverityNotice,
			Message: strconv.FormatUint(lost, 10) + " events were lost to this reader",
		}
		return gap.With("lost", lost), nil, true
	}
	return b.ring[(next-1)%uint64(len(b.ring))], nil, true
}
