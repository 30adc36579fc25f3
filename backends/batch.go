// SPDX-License-Identifier: Apache-2.0

package backends

// batchTurn is how many completions Run delivers before it flushes: endless work
// must not keep a queue waiting, and what has been delivered is forgotten.
const batchTurn = 256

// Flusher is a send queue that was appended to: Flush hands its content to the
// kernel without waiting. Flushers are compared by identity.
type Flusher interface{ Flush() }

// Runner is work that Batch.Run does later, such as pulling the next queued
// requests after a completion.
type Runner interface{ RunBatch(b *Batch) }

// Batch collects what the work of one goroutine leaves to be done together:
// completions, deferred work, and send queues to flush. The zero Batch is
// ready. It belongs to one goroutine and is used again and again.
type Batch struct {
	work    []deferred
	next    int
	flush   []Flusher
	running bool
}

type deferred struct {
	r      *Request
	res    Result
	runner Runner
}

// Complete has r completed with res by Run. The device gives r back to its
// owner: it must not touch r afterwards.
func (b *Batch) Complete(r *Request, res Result) {
	b.work = append(b.work, deferred{r: r, res: res})
}

// Defer has w run by Run, in order with the completions.
func (b *Batch) Defer(w Runner) {
	b.work = append(b.work, deferred{runner: w})
}

// Touch has f flushed once at the end of Run.
func (b *Batch) Touch(f Flusher) {
	for _, have := range b.flush {
		if have == f {
			return
		}
	}
	b.flush = append(b.flush, f)
}

// Run delivers the completions and deferred work in order, those too that come
// up meanwhile, and flushes every touched queue, now and then and at the end,
// until nothing is left.
// No lock may be held. A Run inside Run does nothing: the outer one goes on.
func (b *Batch) Run() {
	if b.running {
		return
	}
	b.running = true
	for b.next < len(b.work) || len(b.flush) > 0 {
		for n := 0; n < batchTurn && b.next < len(b.work); n++ {
			d := b.work[b.next]
			b.work[b.next] = deferred{}
			b.next++
			if d.r != nil {
				d.r.Completer.Complete(b, d.r, d.res)
			} else {
				d.runner.RunBatch(b)
			}
		}
		if left := len(b.work) - b.next; left <= b.next {
			copy(b.work, b.work[b.next:])
			clear(b.work[left:])
			b.work, b.next = b.work[:left], 0
		}
		for i := 0; i < len(b.flush); i++ {
			b.flush[i].Flush()
			b.flush[i] = nil
		}
		b.flush = b.flush[:0]
	}
	b.running = false
}

// Empty tells whether Run would have nothing to do.
func (b *Batch) Empty() bool { return b.next == len(b.work) && len(b.flush) == 0 }
