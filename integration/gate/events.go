// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Event is one event of the gateway.
type Event struct {
	Seq      uint64
	Time     time.Time
	Kind     string
	Severity string
	Disk     string
	Device   string
	Path     string
	Session  string
	Message  string
	Attrs    map[string]string
}

// String is one line.
func (e Event) String() string {
	return fmt.Sprintf("%s #%d %s %s%s%s %q %v", e.Time.Format("15:04:05.000"), e.Seq, e.Kind, e.Device, e.Path, e.Disk, e.Message, e.Attrs)
}

// Duration is the event's detail "duration", 0 if it has none.
func (e Event) Duration() time.Duration {
	d, _ := time.ParseDuration(e.Attrs["duration"])
	return d
}

// ParseEvent decodes an event from JSON.
func ParseEvent(b []byte) (e Event, err error) {
	return e, json.Unmarshal(b, &e)
}

// Kind matches events of one of the kinds.
func Kind(kinds ...string) func(Event) bool {
	return func(e Event) bool { return slices.Contains(kinds, e.Kind) }
}

// Events are all events of a Gate, over its restarts, in the order in which they
// came. The zero value is ready. Safe for concurrent use.
type Events struct {
	mu   sync.Mutex
	list []Event
	more chan struct{} // closed when list grows
}

// Mark is a place in the list: its end now.
func (x *Events) Mark() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.list)
}

// Since returns what came after mark and matches.
func (x *Events) Since(mark int, match func(Event) bool) []Event {
	list, _ := x.since(mark)
	return slices.DeleteFunc(list, func(e Event) bool { return !match(e) })
}

func (x *Events) since(mark int) ([]Event, <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.more == nil {
		x.more = make(chan struct{})
	}
	return slices.Clone(x.list[mark:]), x.more
}

// Wait returns the first event after mark that matches. It fails the test, with
// all that came instead, when there is none in time.
func (x *Events) Wait(t testing.TB, mark int, timeout time.Duration, match func(Event) bool) Event {
	t.Helper()
	return x.WaitN(t, mark, 1, timeout, match)[0]
}

// WaitN is Wait for n events.
func (x *Events) WaitN(t testing.TB, mark, n int, timeout time.Duration, match func(Event) bool) []Event {
	t.Helper()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		list, more := x.since(mark)
		if found := slices.DeleteFunc(slices.Clone(list), func(e Event) bool { return !match(e) }); len(found) >= n {
			return found[:n]
		}
		select {
		case <-more:
		case <-timer.C:
			t.Fatalf("%d events did not come in %v; what came:%s", n, timeout, show(list))
		}
	}
}

func (x *Events) add(e Event) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.list = append(x.list, e)
	if x.more != nil {
		close(x.more)
	}
	x.more = make(chan struct{})
}

// follow reads the event stream until it ends or ctx does.
func (x *Events) follow(ctx context.Context, client *http.Client) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://gate/v1/events?follow=true", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("events: %s", resp.Status)
	}
	sc := bufio.NewScanner(resp.Body)
	for sc.Scan() {
		data, ok := strings.CutPrefix(sc.Text(), "data: ")
		if !ok {
			continue
		}
		e, err := ParseEvent([]byte(data))
		if err != nil {
			return fmt.Errorf("event %s: %w", data, err)
		}
		x.add(e)
	}
	return sc.Err()
}
