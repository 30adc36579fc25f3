// SPDX-License-Identifier: Apache-2.0

package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// EventQuery says which events are wanted. The zero value: all that are kept.
type EventQuery struct {
	// From is the number of the first event, 0 the oldest that is kept.
	From uint64
	// Newest, when not nil, wants that many of the newest events instead; 0 none.
	Newest *uint64
}

func (q EventQuery) values() url.Values {
	v := url.Values{}
	switch {
	case q.Newest != nil:
		v.Set("last", strconv.FormatUint(*q.Newest, 10))
	case q.From > 0:
		v.Set("from", strconv.FormatUint(q.From, 10))
	}
	return v
}

// Events gives the events that are kept.
func (c *Client) Events(ctx context.Context, q EventQuery) (list []Event, err error) {
	u := "events"
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address(u)+"?"+q.values().Encode(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&list); err != nil {
		return nil, fmt.Errorf("answer of the gateway at %s: %w", c.addr, err)
	}
	return list, nil
}

// FollowOptions say how a stream that breaks is taken up again.
type FollowOptions struct {
	// Lost is called when the stream has broken, before the first attempt to
	// connect again. Restored is called when it goes on; restarted tells that the
	// gateway has been restarted meanwhile, so that events are numbered from 1
	// again. Either may be nil.
	Lost     func(err error)
	Restored func(restarted bool)
}

const (
	reconnectMin = 100 * time.Millisecond
	reconnectMax = 2 * time.Second
	// maxEventLine bounds a line of an event stream and the data of one event, in bytes.
	maxEventLine = 1 << 20
)

// Follow gives events as they come, until ctx ends, the loop is left, or the gateway
// refuses; only a refusal, and a gateway that cannot be reached at first, is given as
// an error, once, at the end. A stream that breaks later is taken up again behind the
// last event that was given, so that none comes twice and none is left out that the
// gateway has kept.
func (c *Client) Follow(ctx context.Context, q EventQuery, o FollowOptions) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		f := &following{c: c, ctx: ctx, yield: yield, opt: o}
		pause := reconnectMin
		for {
			before := f.count
			err := f.once(q)
			var refused *Error
			switch {
			case f.left || ctx.Err() != nil:
				return
			case errors.As(err, &refused) && refused.Code != CodeBusy, !f.reached:
				yield(Event{}, err)
				return
			}
			if !f.lost {
				f.lost = true
				if o.Lost != nil {
					o.Lost(err)
				}
			}
			if f.count != before {
				pause = reconnectMin
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			pause = min(2*pause, reconnectMax)
		}
	}
}

// following is the state of a Follow over its connections.
type following struct {
	c     *Client
	ctx   context.Context
	yield func(Event, error) bool
	opt   FollowOptions

	id      string // where to go on: behind this event
	run     string // of the gateway, "" before the first answer
	count   int    // events given
	reached bool   // a stream was there once
	lost    bool   // and is gone
	left    bool   // the loop was left
}

// once reads one connection to its end.
func (f *following) once(q EventQuery) error {
	ctx, cancel := context.WithCancelCause(f.ctx)
	defer cancel(nil)
	idle := time.AfterFunc(f.c.idle, func() {
		cancel(fmt.Errorf("%w at %s: silent for %v", ErrUnreachable, f.c.addr, f.c.idle))
	})
	defer idle.Stop()
	v := q.values()
	v.Set("follow", "true")
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address("events")+"?"+v.Encode(), nil)
	if err != nil {
		return err
	}
	if f.id != "" {
		r.Header.Set("Last-Event-ID", f.id)
	}
	resp, err := f.c.do(r)
	if err != nil {
		return or(context.Cause(ctx), err)
	}
	defer resp.Body.Close()
	f.connected(resp.Header.Get(runHeader))
	err = f.read(resp.Body, func() { idle.Reset(f.c.idle) })
	return or(context.Cause(ctx), err)
}

// or prefers the cause of a cancelled request over what it looks like.
func or(cause, err error) error {
	if cause != nil {
		return cause
	}
	return err
}

func (f *following) connected(run string) {
	f.reached = true
	restarted := f.run != "" && f.run != run
	if restarted {
		f.id = ""
	}
	f.run = run
	if f.lost {
		f.lost = false
		if f.opt.Restored != nil {
			f.opt.Restored(restarted)
		}
	}
}

// read takes events until the stream ends or the loop is left. alive is called for
// every line.
func (f *following) read(body io.Reader, alive func()) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxEventLine)
	var id string
	var data []byte
	for lines.Scan() {
		alive()
		field, value, _ := bytes.Cut(lines.Bytes(), []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "id":
			id = string(value)
		case "data":
			if len(data)+len(value) > maxEventLine {
				return fmt.Errorf("event stream of %s: an event is too long", f.c.addr)
			}
			data = append(data, value...)
		}
		if len(lines.Bytes()) > 0 {
			continue
		}
		if id != "" {
			f.id = id
		}
		if len(data) == 0 {
			continue
		}
		var e Event
		if err := json.Unmarshal(data, &e); err != nil {
			return fmt.Errorf("event stream of %s: %w", f.c.addr, err)
		}
		data = data[:0]
		f.count++
		if !f.yield(e, nil) {
			f.left = true
			return nil
		}
	}
	if err := lines.Err(); err != nil {
		return f.c.explain(f.ctx, err)
	}
	return fmt.Errorf("%w at %s: the gateway ended the stream", ErrUnreachable, f.c.addr)
}
