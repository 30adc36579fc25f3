// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"pathgate/gateway/nbd"
)

// P14: that a VM has as many clients as it may have is nothing that others learn.
func TestP14FullVM(t *testing.T) {
	dir := t.TempDir()
	text := strings.ReplaceAll(certificateConfig, "DIR", dir) + "limits: {sessions-per-vm: 1}\n"
	g := must[*Gateway](t)(New(mustParse(t, text), Options{}))
	x := boundedExports{(*exports)(g)}
	for i := range g.cfg.VMs {
		if err := g.bounds.enter(g.cfg.VMs[i].Name); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]error{
		"vm1/root": nbd.ErrTLSRequired, "vm1/none": nbd.ErrTLSRequired, "vm3/root": nbd.ErrNotPermitted,
	} {
		if _, err := x.Open(t.Context(), name, nbd.Peer{}, nbd.Use); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
}

// P15: what clients cause is logged at a bounded rate, whatever it is and whoever tries.
func TestP15EventsOfClientsInTheLog(t *testing.T) {
	for _, k := range []Kind{KindClientConnected, KindClientRival, KindDiskOwnedElsewhere, KindDiskTakenOver} {
		var log bytes.Buffer
		g := &Gateway{log: slog.New(slog.NewTextHandler(&log, nil)), bus: NewBus(BusOptions{History: eventHistory})}
		logged := g.startLogging()
		for i := range 2000 {
			g.bus.Publish(Event{Kind: k, Severity: SeverityWarning, VM: "vm1", Disk: "vm1/root", Session: fmt.Sprintf("nbd 192.0.2.1:%d", i)})
		}
		g.bus.Publish(Event{Kind: KindPathDown, Severity: SeverityError, Path: "p1"})
		logged()
		lines := strings.Count(log.String(), "\n")
		if lines > 1000 || !strings.Contains(log.String(), "path-down") {
			t.Errorf("%v: %d lines for 2000 events, the last is %q", k, lines, log.String()[max(log.Len()-200, 0):])
		}
	}
}
