// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	nc "pathgate/integration/nbdclient"
)

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
