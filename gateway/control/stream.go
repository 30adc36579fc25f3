// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// flushAfter bounds how long the last events of a stop may take to be read.
const flushAfter = time.Second

// runHeader names the run that the numbers of events belong to.
const runHeader = "Pathgate-Run"

// getEvents answers with the events that are kept, or with a stream.
func (s *Server) getEvents(w http.ResponseWriter, r *http.Request) error {
	q, err := parseEventQuery(r.URL.Query())
	if err != nil {
		return err
	}
	last := s.src.LastEvent()
	from := q.from
	if q.hasLast {
		from = last + 1 - min(q.last, last)
	}
	if !q.follow {
		list := []Event{}
		for e := range s.until(r.Context(), from, last) {
			list = append(list, e)
		}
		return writeList(w, list)
	}
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		from = s.after(id)
	}
	select {
	case s.followers <- struct{}{}:
	default:
		return &Error{CodeBusy, fmt.Sprintf("there are %d event streams already; end one first", s.opt.MaxFollowers)}
	}
	defer func() { <-s.followers }()
	s.stream(w, r, from)
	return nil
}

type eventQuery struct {
	from, last uint64
	hasLast    bool
	follow     bool
}

func parseEventQuery(values url.Values) (q eventQuery, err error) {
	for key, v := range values {
		var err error
		switch key {
		case "from":
			q.from, err = strconv.ParseUint(v[0], 10, 64)
		case "last":
			q.last, err = strconv.ParseUint(v[0], 10, 64)
			q.hasLast = true
		case "follow":
			q.follow, err = strconv.ParseBool(v[0])
		default:
			return q, &Error{CodeBadRequest, fmt.Sprintf("events: there is no parameter %q; there are from, last and follow", shorten(key))}
		}
		if err != nil || len(v) != 1 {
			return q, &Error{CodeBadRequest, fmt.Sprintf("events: the parameter %s is not valid: %q", key, shorten(strings.Join(v, ",")))}
		}
	}
	if q.hasLast && values.Has("from") {
		return q, &Error{CodeBadRequest, "events: from and last exclude each other"}
	}
	return q, nil
}

// after gives the number of the event behind the one with this id; the oldest one
// when the id is of another run.
func (s *Server) after(id string) uint64 {
	run, seq, ok := strings.Cut(id, "-")
	n, err := strconv.ParseUint(seq, 10, 64)
	if !ok || err != nil || run != s.run {
		return 0
	}
	return n + 1
}

// until gives the events from number from to number last, which all exist.
func (s *Server) until(ctx context.Context, from, last uint64) func(yield func(Event) bool) {
	return func(yield func(Event) bool) {
		if last == 0 || from > last {
			return
		}
		for e := range s.src.Events(ctx, from) {
			if e.Seq > last || !yield(e) || e.Seq == last {
				return
			}
		}
	}
}

// follower is one event stream.
type follower struct {
	s   *Server
	w   http.ResponseWriter
	c   *http.ResponseController
	buf []byte
}

// stream sends events from number from on until the client goes, the events end, or
// the server stops.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, from uint64) {
	f := &follower{s: s, w: w, c: http.NewResponseController(w)}
	_ = f.c.SetReadDeadline(time.Time{}) // the request is complete; its end is the client's
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set(runHeader, s.run)
	hello := ": pathgate events\n"
	if from > 0 { // where to go on if nothing comes
		hello += fmt.Sprintf("id: %s-%d\n", s.run, from-1)
	}
	if r.Method == http.MethodHead || !f.send([]byte(hello+"\n")) {
		return
	}
	ctx, stop := context.WithCancel(r.Context())
	events := make(chan Event)
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(events)
		for e := range s.src.Events(ctx, from) {
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
		}
	})
	next, gone := f.pass(ctx, events, from)
	stop()
	reader.Wait()
	if !gone {
		f.finish(next)
	}
}

// pass sends what comes in events, and heartbeats. It returns the number of the
// next event, and whether the client has gone.
func (f *follower) pass(ctx context.Context, events <-chan Event, next uint64) (uint64, bool) {
	beat := time.NewTicker(f.s.opt.Heartbeat)
	defer beat.Stop()
	for {
		select {
		case e, more := <-events:
			if !more {
				return next, false
			}
			if !f.event(e) {
				return next, true
			}
			next = e.Seq + 1
		case <-beat.C:
			if !f.send([]byte(": alive\n\n")) {
				return next, true
			}
		case <-ctx.Done():
			return next, false
		}
	}
}

// finish sends what has happened until now, so that the reader learns why the server
// stops. To a client that has gone the first write fails.
func (f *follower) finish(next uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), min(flushAfter, f.s.opt.Drain))
	defer cancel()
	for e := range f.s.until(ctx, next, f.s.src.LastEvent()) {
		if !f.event(e) {
			return
		}
	}
}

func (f *follower) event(e Event) bool {
	data, err := json.Marshal(e)
	if err != nil {
		f.s.opt.Log.Warn("event left out", "seq", e.Seq, "error", err)
		return true
	}
	f.buf = fmt.Appendf(f.buf[:0], "id: %s-%d\ndata: %s\n\n", f.s.run, e.Seq, data)
	return f.send(f.buf)
}

// send writes and flushes within the write timeout.
func (f *follower) send(b []byte) bool {
	if f.c.SetWriteDeadline(time.Now().Add(f.s.opt.WriteTimeout)) != nil {
		return false
	}
	_, err := f.w.Write(b)
	return err == nil && f.c.Flush() == nil
}
