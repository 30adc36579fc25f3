// SPDX-License-Identifier: Apache-2.0

package linear

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// input is one operation on one register; output is not used: the value that a
// read saw is in it.
type input struct {
	sector int
	write  bool
	id     uint64
	call   int64
	// until is, of a write that failed, its error: it takes no effect after a write
	// that began later and was acknowledged. never for others.
	until int64
}

// register is the state of a sector.
type register struct {
	id uint64
	// newest is when the latest acknowledged write that took effect began.
	newest int64
}

// model is a disk of independent registers.
func model() porcupine.Model {
	return porcupine.Model{
		Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
			var parts [][]porcupine.Operation
			at := map[int]int{}
			for _, op := range all {
				s := op.Input.(input).sector
				if _, ok := at[s]; !ok {
					at[s] = len(parts)
					parts = append(parts, nil)
				}
				parts[at[s]] = append(parts[at[s]], op)
			}
			return parts
		},
		Init: func() any { return register{} },
		Step: func(state, in, _ any) (bool, any) { return step(state.(register), in.(input)) },
		DescribeOperation: func(in, _ any) string {
			return in.(input).String()
		},
		DescribeState: func(state any) string { return fmt.Sprint("write ", state.(register).id) },
	}
}

// step carries out one operation: whether it is possible in the state, and the next.
func step(s register, in input) (bool, register) {
	switch {
	case !in.write:
		return s.id == in.id, s
	case in.until == never:
		return true, register{in.id, max(s.newest, in.call)}
	default:
		return s.newest < in.until, register{in.id, s.newest}
	}
}

// String is the operation in the picture.
func (in input) String() string {
	switch {
	case !in.write:
		return fmt.Sprintf("sector %d: read saw write %d", in.sector, in.id)
	case in.until != never:
		return fmt.Sprintf("sector %d: write %d, failed", in.sector, in.id)
	}
	return fmt.Sprintf("sector %d: write %d", in.sector, in.id)
}

// operations are the history as porcupine takes it.
func (h *History) operations() (ops []porcupine.Operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	type key struct {
		id     uint64
		sector int
	}
	seen := map[key]bool{}
	for _, r := range h.reads {
		seen[key{r.id, r.sector}] = true
		ops = append(ops, porcupine.Operation{
			ClientId: r.client, Call: r.call, Return: r.end,
			Input: input{sector: r.sector, id: r.id, until: never},
		})
	}
	for _, w := range h.writes {
		for s := w.first; s < w.first+w.count; s++ {
			if (w.failed || w.end == never) && !seen[key{w.id, s}] {
				continue
			}
			op := porcupine.Operation{ClientId: w.client, Call: w.call, Return: w.end}
			in := input{sector: s, write: true, id: w.id, call: w.call, until: never}
			switch {
			case w.failed:
				in.until, op.Return = w.end, h.closeLocked(w, s)
			case w.end == never:
				op.Return = h.now + 1
			}
			op.Input = in
			ops = append(ops, op)
		}
	}
	return ops
}

// closeLocked is when a failed write can take effect no more: the acknowledgement
// of the next write to the sector that began after its error.
func (h *History) closeLocked(failed *Write, sector int) int64 {
	for _, w := range h.closed[sector] { // in order of their end
		if !w.failed && w.call > failed.end {
			return w.end
		}
	}
	return h.now + 1
}

// Verdict is what Check found.
type Verdict struct {
	Requests   int      // of clients that ended
	Operations int      // on registers
	Races      int      // sectors read in the middle of a write
	Faults     []string // torn, misdirected, unknown: found without a search
	Result     porcupine.CheckResult

	info porcupine.LinearizationInfo
}

// OK tells whether the history is that of a disk. A search that did not end in its
// time is none.
func (v *Verdict) OK() bool { return v.Result == porcupine.Ok && len(v.Faults) == 0 }

// String is one line, and the first faults.
func (v *Verdict) String() string {
	s := fmt.Sprintf("linearizable: %s; %d requests, %d operations on registers, %d sectors read in the middle of a write, %d faults",
		v.Result, v.Requests, v.Operations, v.Races, len(v.Faults))
	return strings.Join(append([]string{s}, v.Faults[:min(len(v.Faults), 20)]...), "\n  ")
}

// WriteHTML draws the history with the longest order that was found.
func (v *Verdict) WriteHTML(w io.Writer) error { return porcupine.Visualize(model(), v.info, w) }

// Check searches for an order, for at most limit. All requests must have ended, or
// never end.
func (h *History) Check(limit time.Duration) *Verdict {
	ops := h.operations()
	h.mu.Lock()
	v := &Verdict{Requests: h.asked, Operations: len(ops), Races: h.races, Faults: slices.Clone(h.faults)}
	h.mu.Unlock()
	v.Result, v.info = porcupine.CheckOperationsVerbose(model(), ops, limit)
	return v
}
