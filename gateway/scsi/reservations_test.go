// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pathgate/internal/scsi"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestReservationsGolden plays testdata/reservations.txt: "NEXUS ACTION [KEY
// [ACTIONKEY]] [TYPE] [flags]" a line, each with its answer and the state behind it. A
// line without a nexus begins a story anew.
func TestReservationsGolden(t *testing.T) {
	const file = "testdata/reservations.txt"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	var r reservations
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "    ") {
			continue // an answer
		}
		out.WriteString(line + "\n")
		switch {
		case strings.HasPrefix(line, "#"):
			r = reservations{}
		case line != "":
			fmt.Fprintf(&out, "    %s\n", play(t, &r, line))
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got := out.String(); got != string(data) {
		t.Errorf("%s differs (-update rewrites it); now:\n%s", file, got)
	}
}

func nexusID(name string) portID {
	i := initiator(name[0] - 'a')
	return portID{i.Name, i.ISID, 1}
}

var types = map[string]scsi.ReservationType{
	"we": 1, "ea": 3, "we-ro": 5, "ea-ro": 6, "we-ar": 7, "ea-ar": 8, "bad": 4,
}

var actions = map[string]scsi.ReserveOutAction{
	"register": scsi.Register, "ignore": scsi.RegisterAndIgnore, "reserve": scsi.Reserve, "release": scsi.Release,
	"clear": scsi.Clear, "preempt": scsi.Preempt, "preempt-abort": scsi.PreemptAndAbort, "move": scsi.RegisterAndMove,
}

// play applies one line and tells the answer and the state.
func play(t *testing.T, r *reservations, line string) string {
	f := strings.Fields(line)
	op := reserveOp{me: nexusID(f[0]), action: actions[f[1]]}
	var keys []uint64
	for _, w := range f[2:] {
		n, err := strconv.ParseUint(w, 10, 64)
		switch {
		case err == nil:
			keys = append(keys, n)
		case types[w] != 0:
			op.kind = types[w]
		case w == "all-ports":
			op.list.AllPorts = true
		case w == "aptpl":
			op.list.Persist, op.move.Persist = true, true
		case w == "unreg":
			op.move.Unregister = true
		case strings.HasPrefix(w, "to="), strings.HasPrefix(w, "with="):
			id := nexusID(w[strings.Index(w, "=")+1:]).transport()
			op.list.Initiators = append(op.list.Initiators, id)
			op.move.Initiator, op.move.RelativePort = id, 1
		default:
			t.Fatalf("%q: what is %q?", line, w)
		}
	}
	keys = append(keys, 0, 0)
	op.list.Key, op.list.ActionKey = keys[0], keys[1]
	op.move.Key, op.move.ActionKey = keys[0], keys[1]
	before := *r
	before.regs = slices.Clone(r.regs)
	next, out := r.apply(op)
	if !reflect.DeepEqual(before.regs, r.regs) && len(before.regs) > 0 {
		t.Errorf("%q changed the state that it was given", line)
	}
	*r = next
	checkReservations(t, line, r)
	return answer(out) + tell(r)
}

func answer(out ruling) string {
	s := out.status.String()
	if out.status == scsi.StatusCheckCondition {
		s = fmt.Sprintf("%x/%02x/%02x", uint8(out.sense.Key), out.sense.ASC, out.sense.ASCQ)
	}
	for _, n := range out.notices {
		s += fmt.Sprintf(" %s:%02x/%02x", short(n.who), n.code.ASC(), n.code.ASCQ())
	}
	for _, p := range out.aborted {
		s += " abort:" + short(p)
	}
	return s
}

func short(p portID) string {
	s := p.Name[len(p.Name)-1:]
	if p.Port == 0 {
		s += "*"
	}
	return s
}

func tell(r *reservations) string {
	s := fmt.Sprintf(" | gen %d", r.generation)
	for i, g := range r.regs {
		s += fmt.Sprintf(" %s=%d", short(g.portID), g.Key)
		if r.holds(i) {
			s += "!"
		}
	}
	for name, k := range types {
		if k == r.kind {
			s += " " + name
		}
	}
	if r.persist {
		s += " aptpl"
	}
	return s
}

// checkReservations checks what always holds.
func checkReservations(t *testing.T, when string, r *reservations) {
	t.Helper()
	holders := 0
	for i, g := range r.regs {
		if r.holds(i) {
			holders++
		}
		if g.Key == 0 || r.find(g.portID) != i {
			t.Errorf("%s: registration %d: key %d, found as %d", when, i, g.Key, r.find(g.portID))
		}
	}
	switch {
	case r.kind == scsi.NoReservation && holders != 0,
		r.kind.AllRegistrants() && (holders == 0 || holders != len(r.regs)),
		r.kind != scsi.NoReservation && !r.kind.AllRegistrants() && holders != 1:
		t.Errorf("%s: type %v with %d holders of %d", when, r.kind, holders, len(r.regs))
	}
	again, err := decodeReservations(r.encode())
	if err != nil {
		t.Errorf("%s: %v", when, err)
	}
	if r.encode() != nil && (!reflect.DeepEqual(again.regs, r.regs) || again.kind != r.kind || again.holder != r.holder) {
		t.Errorf("%s: kept as %+v", when, again)
	}
}

// TestReservationLevels has the table of SPC-4 of what nexuses may do.
func TestReservationLevels(t *testing.T) {
	tests := []struct {
		kind                        string
		holder, registered, outside access
	}{
		{"we", accessWrite, accessRead, accessRead},
		{"ea", accessWrite, accessOpen, accessOpen},
		{"we-ro", accessWrite, accessWrite, accessRead},
		{"ea-ro", accessWrite, accessWrite, accessOpen},
		{"we-ar", accessWrite, accessWrite, accessRead},
		{"ea-ar", accessWrite, accessWrite, accessOpen},
	}
	for _, tt := range tests {
		t.Run(tt.kind, func(t *testing.T) {
			var r reservations
			play(t, &r, "a register 0 1")
			play(t, &r, "b register 0 2")
			play(t, &r, "a reserve 1 "+tt.kind)
			for who, want := range map[string]access{"a": tt.holder, "b": tt.registered, "c": tt.outside} {
				if got := r.level(nexusID(who)); got != want {
					t.Errorf("%s: level %d, want %d", who, got, want)
				}
			}
			if r.outside() != tt.outside {
				t.Errorf("outside %d, want %d", r.outside(), tt.outside)
			}
		})
	}
}

// TestReservationsRandom plays random operations; what always holds is checked
// after each.
func TestReservationsRandom(t *testing.T) {
	kinds := []string{"we", "ea", "we-ro", "ea-ro", "we-ar", "ea-ar", "bad", ""}
	var names []string
	for name := range actions {
		names = append(names, name)
	}
	slices.Sort(names)
	var r reservations
	seed := uint32(1)
	pick := func(n int) int {
		seed = seed*1664525 + 1013904223
		return int(seed>>16) % n
	}
	for range 2000 {
		line := fmt.Sprintf("%c %s %d %d %s", 'a'+pick(4), names[pick(len(names))], pick(4), pick(4), kinds[pick(len(kinds))])
		if pick(4) == 0 {
			line += " all-ports"
		}
		if pick(3) == 0 {
			line += fmt.Sprintf(" to=%c", 'a'+pick(4))
		}
		if pick(2) == 0 {
			line += " aptpl unreg"
		}
		play(t, &r, line)
		if t.Failed() {
			t.Fatalf("after %q", line)
		}
	}
}
