// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bytes"
	"fmt"
	"io"
	"testing"
)

// TestUrgentOvertakes fills a socket and adds urgent messages: one that may go
// anywhere comes long before the last message, one that has to stay behind a
// message comes right behind it, and every message is whole.
func TestUrgentOvertakes(t *testing.T) {
	for _, tt := range []struct {
		name string
		size int // of a payload
		pad  int // bytes of trailer
		tag  uint64
		n    int
	}{
		{"payloads", 256 << 10, 0, NoTag, 100},
		{"payloads with digests", 256<<10 - 1, 5, NoTag, 100},
		{"tagged", 256 << 10, 4, 7, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			near, far := pair(t)
			q := NewQueue(near, func(err error) { t.Errorf("writing failed: %v", err) })
			var starts []uint64
			add := func(id int) {
				m := Message{Header: bytes.Repeat([]byte{byte(id)}, 48), Trailer: bytes.Repeat([]byte{byte(id)}, tt.pad), Tag: tt.tag}
				m.Data.AppendBytes(bytes.Repeat([]byte{byte(id)}, tt.size))
				start, err := q.Append(&m)
				if err != nil {
					t.Fatal(err)
				}
				starts = append(starts, start)
				m.Data.Release()
			}
			for id := range tt.n {
				add(id)
			}
			q.Flush()
			behind := tt.n - 10
			for i, after := range []uint64{starts[behind] + 1, 0, 0} {
				if err := q.Urgent(bytes.Repeat([]byte{byte(200 + i)}, 48), after); err != nil {
					t.Fatal(err)
				}
			}
			if q.UrgentPending() != 3 {
				t.Errorf("%d urgent messages wait, want 3: the socket took all", q.UrgentPending())
			}
			total := tt.n * (48 + tt.size + tt.pad)
			got := make([]byte, total+3*48)
			read := make(chan error, 1)
			go func() {
				_, err := io.ReadFull(far, got)
				read <- err
			}()
			if err := q.Drain(0); err != nil {
				t.Fatal(err)
			}
			if err := <-read; err != nil {
				t.Fatal(err)
			}
			if q.Sent() != uint64(total) || q.Offered() != uint64(total) || q.UrgentPending() != 0 {
				t.Errorf("sent %d, offered %d, want %d; %d urgent left", q.Sent(), q.Offered(), total, q.UrgentPending())
			}
			q.Close()
			var order []int
			for len(got) > 0 {
				id := got[0]
				n := 48
				if id < 200 {
					n += tt.size + tt.pad
				}
				if !bytes.Equal(got[:n], bytes.Repeat([]byte{id}, n)) {
					t.Fatalf("message %d is torn", id)
				}
				got = got[n:]
				order = append(order, int(id))
			}
			at := map[int]int{}
			for i, id := range order {
				at[id] = i
			}
			// The writer may go on between the two, so others may stand between them.
			if at[202] > tt.n/2 || at[202] < at[201] {
				t.Errorf("the messages that may go anywhere did not overtake: %v", order)
			}
			if order[at[200]-1] != behind {
				t.Errorf("the message that stays behind message %d: %v", behind, order)
			}
		})
	}
}

// TestUrgentAmongSmall: headers that share an entry, and an urgent message between
// them, stay whole and in order.
func TestUrgentAmongSmall(t *testing.T) {
	near, far := pair(t)
	q := NewQueue(near, nil)
	var want string
	for i := range 6 {
		s := fmt.Sprintf("message %d;", i)
		if _, err := q.Append(&Message{Header: []byte(s)}); err != nil {
			t.Fatal(err)
		}
		want += s
		if i == 3 {
			if err := q.Urgent([]byte("URGENT;"), 1); err != nil {
				t.Fatal(err)
			}
			want += "URGENT;"
		}
	}
	q.Flush()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(far, got); err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if q.Sent() != uint64(len(want)-len("URGENT;")) {
		t.Errorf("sent %d", q.Sent())
	}
	q.Close()
	if err := q.Urgent([]byte("late"), 0); err != ErrClosed {
		t.Errorf("after Close: %v", err)
	}
}
