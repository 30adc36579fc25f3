// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	nc "pathgate/integration/nbdclient"
)

// B70: clients cannot fill the log.
func TestB70LogQuota(t *testing.T) {
	var q quota
	now := time.Unix(1000, 0)
	written, told := 0, 0
	for range 10000 { // ten seconds of a thousand lines each
		if ok, dropped := q.take(now); ok {
			written++
			told += dropped
		}
		now = now.Add(time.Millisecond)
	}
	if want := logBurst + 10*logRate; written < want-1 || written > want {
		t.Errorf("%d lines, want %d", written, want)
	}
	if told+q.dropped != 10000-written {
		t.Errorf("%d dropped lines were counted, want %d", told+q.dropped, 10000-written)
	}
	now = now.Add(time.Hour)
	if ok, dropped := q.take(now); !ok || dropped == 0 {
		t.Errorf("after an hour: %v, %d dropped", ok, dropped)
	}
}

func TestLogOfAConnection(t *testing.T) {
	var out bytes.Buffer
	b := serve(t, Config{
		Exports: newSource().add("x", memory(t, diskSize)),
		Logger:  slog.New(slog.NewTextHandler(&out, nil)),
	})
	if err := b.client(t).Disconnect(t.Context()); err != nil {
		t.Error(err)
	}
	r := b.entered(t)
	r.Send(nc.Request{Magic: 7}.Append(nil))
	closed(t, r)
	b.stop()
	if err := <-b.ended; err != nil {
		t.Error(err)
	}
	for _, want := range []string{"client uses export", "export=x", "reason=\"client disconnected\"", "request magic 0x7", "peer=" + b.path + "#0"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, out.String())
		}
	}
}
