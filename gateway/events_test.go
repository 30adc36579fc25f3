// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// texts makes events short to compare.
func texts(events []Event) []string {
	var out []string
	for _, e := range events {
		s := e.Kind.String() + " " + e.Path + e.Message
		if n := e.Attr("suppressed"); n != "" {
			s += " +" + n
		}
		out = append(out, s)
	}
	return out
}

// take reads n events of a subscription.
func take(b *Bus, from uint64, n int) []Event {
	var got []Event
	for e := range b.Subscribe(context.Background(), from) {
		if got = append(got, e); len(got) == n {
			break
		}
	}
	return got
}

func TestKindAndSeverityNames(t *testing.T) {
	seen := make(map[string]bool)
	for k := Kind(1); int(k) < len(kindNames); k++ {
		name := k.String()
		if name == "" || seen[name] || strings.ToLower(name) != name {
			t.Errorf("kind %d: name %q", k, name)
		}
		seen[name] = true
		var back Kind
		if err := back.UnmarshalText([]byte(name)); err != nil || back != k {
			t.Errorf("%s reads back as %v, %v", name, back, err)
		}
	}
	for r := Reason(1); int(r) < len(reasonNames); r++ {
		if r.String() == "" {
			t.Errorf("reason %d has no name", r)
		}
	}
	for _, bad := range []string{"", "kind(0)", "nonsense"} {
		var k Kind
		var s Severity
		if k.UnmarshalText([]byte(bad)) == nil || s.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if got := fmt.Sprint(Kind(0), Kind(200), Severity(9), Reason(0)); got != "kind(0) kind(200) severity(9) reason(0)" {
		t.Error(got)
	}
}

func TestEventWithDoesNotShare(t *testing.T) {
	base := Event{Attrs: make([]Attr, 0, 4)}.With("a", 1)
	x, y := base.With("b", 2), base.With("b", 3)
	if x.Attr("b") != "2" || y.Attr("b") != "3" || base.Attr("b") != "" {
		t.Errorf("%v %v %v", base, x, y)
	}
}

func TestBusHistoryAndFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBus(BusOptions{})
		defer b.Close()
		b.Publish(Event{Kind: KindPathUp, Path: "p1"})
		b.Publish(Event{Kind: KindPathUp, Path: "p2"})
		var got []Event
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for e := range b.Subscribe(ctx, 2) {
				got = append(got, e)
			}
		}()
		synctest.Wait()
		start := time.Now()
		time.Sleep(time.Second)
		b.Publish(Event{Kind: KindPathDown, Path: "p2"})
		synctest.Wait()
		cancel()
		<-done
		if diff := cmp.Diff([]string{"path-up p2", "path-down p2"}, texts(got)); diff != "" {
			t.Error(diff)
		}
		if got[0].Seq != 2 || got[1].Seq != 3 || got[1].Time.Sub(start) != time.Second {
			t.Errorf("got %+v", got)
		}
	})
}

func TestBusSlowReaderLosesAndIsTold(t *testing.T) {
	b := NewBus(BusOptions{History: 4, Burst: -1})
	publish := func(n int) {
		for range n {
			b.Publish(Event{Kind: KindSessionUp})
		}
	}
	publish(1)
	var got []string
	for e := range b.Subscribe(context.Background(), 1) {
		got = append(got, fmt.Sprint(e.Seq, " ", e.Kind, e.Attr("lost")))
		switch e.Seq {
		case 1:
			publish(10) // while the reader is busy with the first
		case 9:
			publish(2) // still within the history
			b.Close()
		}
	}
	want := []string{"1 session-up", "7 events-lost6", "8 session-up", "9 session-up"}
	for seq := 10; seq <= 13; seq++ {
		want = append(want, fmt.Sprint(seq, " session-up"))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBusGap(t *testing.T) {
	b := NewBus(BusOptions{History: 4, Burst: -1})
	defer b.Close()
	for i := range 10 {
		b.Publish(Event{Kind: KindSessionUp, Message: fmt.Sprint(i + 1)})
	}
	for name, tt := range map[string]struct {
		from uint64
		lost string
		want []uint64
	}{
		"oldest kept": {0, "", []uint64{7, 8, 9, 10}},
		"from 1":      {1, "6", []uint64{6, 7, 8, 9, 10}},
		"from 6":      {6, "1", []uint64{6, 7, 8, 9, 10}},
		"from 7":      {7, "", []uint64{7, 8, 9, 10}},
		"from 10":     {10, "", []uint64{10}},
	} {
		t.Run(name, func(t *testing.T) {
			got := take(b, tt.from, len(tt.want))
			var seqs []uint64
			for _, e := range got {
				seqs = append(seqs, e.Seq)
			}
			if !slices.Equal(seqs, tt.want) {
				t.Errorf("got %v, want %v", seqs, tt.want)
			}
			if got[0].Attr("lost") != tt.lost || (tt.lost != "") != (got[0].Kind == KindEventsLost) {
				t.Errorf("first event %+v, want lost %q", got[0], tt.lost)
			}
		})
	}
}

func TestBusLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBus(BusOptions{Burst: 2, Window: time.Second})
		for i := range 6 {
			b.Publish(Event{Kind: KindPathDown, Path: "p", Message: fmt.Sprint(i)})
		}
		b.Publish(Event{Kind: KindPathDown, Path: "q"}) // another object has its own count
		want := []string{"path-down p0", "path-down p1", "path-down q"}
		if diff := cmp.Diff(want, texts(b.Recent(99, nil))); diff != "" {
			t.Error(diff)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		want = append(want, "path-down p5 +3")
		if diff := cmp.Diff(want, texts(b.Recent(99, nil))); diff != "" {
			t.Error(diff)
		}
		// The one that was held is the first of the next window.
		for i := range 2 {
			b.Publish(Event{Kind: KindPathDown, Path: "p", Message: fmt.Sprint(10 + i)})
		}
		want = append(want, "path-down p10")
		if diff := cmp.Diff(want, texts(b.Recent(99, nil))); diff != "" {
			t.Error(diff)
		}
		b.Close() // tells what it still holds
		want = append(want, "path-down p11")
		if diff := cmp.Diff(want, texts(b.Recent(99, nil))); diff != "" {
			t.Error(diff)
		}
	})
}

// TestBusLimitKeepsOrder: a flapping path's last event is what it came to.
func TestBusLimitKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBus(BusOptions{Burst: 2, Window: time.Second})
		defer b.Close()
		for range 5 {
			b.Publish(Event{Kind: KindPathDown, Path: "p"})
			b.Publish(Event{Kind: KindPathUp, Path: "p"})
		}
		b.Publish(Event{Kind: KindPathDown, Path: "p"})
		b.Publish(Event{Kind: KindPathQuarantined, Path: "p"}) // passes, after what was held before it
		got := texts(b.Recent(99, nil))
		want := []string{"path-down p", "path-up p", "path-down p", "path-up p", "path-up p +2", "path-down p +3", "path-quarantined p"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if diff := cmp.Diff(want, texts(b.Recent(99, nil))); diff != "" {
			t.Error(diff)
		}
	})
}

// TestBusLimitDeliversAll: passed + suppressed = published, and the last event of
// each object is always seen.
func TestBusLimitDeliversAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBus(BusOptions{History: 1 << 16, Burst: 3, Window: 100 * time.Millisecond})
		defer b.Close()
		const objects, each = 20, 300
		for i := range each {
			for o := range objects {
				b.Publish(Event{Kind: KindQueuePark, Disk: fmt.Sprint(o), Message: fmt.Sprint(i)})
			}
			time.Sleep(time.Duration(i%7) * time.Millisecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		total, last := 0, map[string]string{}
		for _, e := range b.Recent(1<<16, nil) {
			var n int
			_, _ = fmt.Sscan(e.Attr("suppressed"), &n)
			total += n + 1
			last[e.Disk] = e.Message
		}
		if total != objects*each {
			t.Errorf("%d events are accounted for, want %d", total, objects*each)
		}
		for o := range objects {
			if last[fmt.Sprint(o)] != fmt.Sprint(each-1) {
				t.Errorf("object %d ended with %s", o, last[fmt.Sprint(o)])
			}
		}
	})
}

func TestBusLimitTableIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBus(BusOptions{History: 64, Burst: 1, Window: time.Second, MaxObjects: 8})
		defer b.Close()
		for i := range 1000 {
			b.Publish(Event{Kind: KindClientConnected, Session: fmt.Sprint(i)})
		}
		if n := len(b.limit.objects); n > 9 {
			t.Errorf("%d objects are counted, want at most 8 and the common one", n)
		}
		if n := b.Last(); n != 9 {
			t.Errorf("%d events passed, want 9", n)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if got := take(b, 10, 1)[0]; got.Session != "999" || got.Attr("suppressed") != "990" {
			t.Errorf("got %+v", got)
		}
		b.Publish(Event{Kind: KindClientConnected, Session: "new"})
		if n := len(b.limit.objects); n > 2 {
			t.Errorf("quiet objects are still counted: %d", n)
		}
	})
}

func TestBusCloseEndsReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBus(BusOptions{})
		b.Publish(Event{Kind: KindGatewayStarted})
		var got []Event
		done := make(chan struct{})
		go func() {
			defer close(done)
			for e := range b.Subscribe(context.Background(), 0) {
				got = append(got, e)
			}
		}()
		synctest.Wait()
		b.Publish(Event{Kind: KindGatewayStopping})
		b.Close()
		b.Close()
		<-done
		b.Publish(Event{Kind: KindPathUp})
		if diff := cmp.Diff([]string{"gateway-started ", "gateway-stopping "}, texts(got)); diff != "" {
			t.Error(diff)
		}
		if b.Last() != 2 {
			t.Error("an event was published after Close")
		}
	})
}

// TestBusConcurrency: each reader gets every event in order, or a gap that says
// how many it did not.
func TestBusConcurrency(t *testing.T) {
	const writers, events, readers = 4, 2000, 3
	b := NewBus(BusOptions{History: 128, Burst: -1})
	var wg, rg sync.WaitGroup
	for range readers {
		rg.Go(func() {
			next := uint64(1)
			for e := range b.Subscribe(context.Background(), 1) {
				if e.Kind == KindEventsLost {
					if e.Attr("lost") != fmt.Sprint(e.Seq-next+1) {
						t.Errorf("gap to %d after %d says %s", e.Seq, next-1, e.Attr("lost"))
					}
				} else if e.Seq != next {
					t.Errorf("event %d after %d", e.Seq, next-1)
				}
				next = e.Seq + 1
			}
			if next != writers*events+1 {
				t.Errorf("reader ended before %d", next)
			}
		})
	}
	for range writers {
		wg.Go(func() {
			for range events {
				b.Publish(Event{Kind: KindSessionUp})
			}
		})
	}
	wg.Wait()
	b.Close()
	rg.Wait()
}

func TestExplanations(t *testing.T) {
	x := NewExplanations(4)
	at := time.Unix(1000, 0)
	for i := range 6 {
		x.Explain(Explanation{Time: at.Add(time.Duration(i) * time.Second), VM: fmt.Sprint("vm", i%2), Disk: "root", Path: "p", Reason: WhyFence, Detail: int64(i)})
	}
	for name, tt := range map[string]struct {
		q    ExplainQuery
		want []int64
	}{
		"all that is kept": {ExplainQuery{}, []int64{2, 3, 4, 5}},
		"one VM":           {ExplainQuery{VM: "vm1"}, []int64{3, 5}},
		"newest two":       {ExplainQuery{Disk: "root", Limit: 2}, []int64{4, 5}},
		"since":            {ExplainQuery{Path: "p", Since: at.Add(4 * time.Second)}, []int64{4, 5}},
		"none":             {ExplainQuery{Path: "q"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []int64
			for _, e := range x.Query(tt.q) {
				got = append(got, e.Detail)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestExplainDoesNotAllocate(t *testing.T) {
	x := NewExplanations(64)
	now := time.Now()
	if n := testing.AllocsPerRun(1000, func() {
		x.Explain(Explanation{Time: now, VM: "vm1", Disk: "root", Path: "vmhba0:0:1", Reason: WhyNoPath})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestExplainConcurrency(t *testing.T) {
	x := NewExplanations(16)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				x.Explain(Explanation{VM: "vm", Detail: int64(w*2000 + i), Offset: uint64(w*2000 + i)})
			}
		})
	}
	wg.Go(func() {
		for range 200 {
			for _, e := range x.Query(ExplainQuery{VM: "vm"}) {
				if uint64(e.Detail) != e.Offset {
					t.Error("a torn record")
				}
			}
		}
	})
	wg.Wait()
	got := x.Query(ExplainQuery{})
	if len(got) != 16 || got[0].Seq != 8000-15 || got[15].Seq != 8000 {
		t.Errorf("%d records, %d to %d", len(got), got[0].Seq, got[len(got)-1].Seq)
	}
}

func BenchmarkExplain(b *testing.B) {
	x := NewExplanations(0)
	now := time.Now()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			x.Explain(Explanation{Time: now, VM: "vm1", Disk: "root", Reason: WhyWindow})
		}
	})
}

func BenchmarkPublish(b *testing.B) {
	bus := NewBus(BusOptions{})
	defer bus.Close()
	b.ReportAllocs()
	for b.Loop() {
		bus.Publish(Event{Kind: KindQueuePark, VM: "vm1", Disk: "root"})
	}
}

// TestBusOperatorsAreNotHeld: each request of an administrator is told, however many
// there are, and in its place among the events of the object.
func TestBusOperatorsAreNotHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBus(BusOptions{Burst: 1})
		defer b.Close()
		for range 2 {
			b.Publish(Event{Kind: KindPathDown, Path: "p"})
		}
		for range 5 {
			b.Publish(Event{Kind: KindOperator, Path: "p"})
		}
		want := []string{"path-down p", "path-down p", "operator p", "operator p", "operator p", "operator p", "operator p"}
		if diff := cmp.Diff(want, texts(b.Recent(99, nil))); diff != "" {
			t.Error(diff)
		}
	})
}
