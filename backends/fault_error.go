// SPDX-License-Identifier: Apache-2.0

package backends

import "sync"

// ErrorFault is a device that fails chosen requests. Make it with
// NewErrorFault; Close closes the device below too.
type ErrorFault struct {
	Device // below
	choose chooser

	mu   sync.Mutex
	res  Result
	lost bool
	own  map[*Request]*lostAnswer
}

// lostAnswer is a request that is carried out below and reported as failed. It
// is a copy of the client's, which the device below would otherwise complete.
type lostAnswer struct {
	Request
	f     *ErrorFault
	outer *Request
	res   Result
}

// NewErrorFault wraps d. It fails nothing until Set.
func NewErrorFault(d Device) *ErrorFault {
	return &ErrorFault{Device: d, own: map[*Request]*lostAnswer{}}
}

// Set fails the requests that rule chooses with res; nil: none. They do not
// reach the device below.
func (f *ErrorFault) Set(rule *FaultRule, res Result) { f.set(rule, res, false) }

// SetLost has the requests that rule chooses carried out below, and then failed
// with res: what a path does that is lost with the answer. nil: none.
func (f *ErrorFault) SetLost(rule *FaultRule, res Result) { f.set(rule, res, true) }

func (f *ErrorFault) set(rule *FaultRule, res Result, lost bool) {
	f.mu.Lock()
	f.res, f.lost = res, lost
	f.mu.Unlock()
	f.choose.set(rule)
}

// Counts tells what it did.
func (f *ErrorFault) Counts() FaultCounts { return f.choose.get() }

// Submit fails what the rule chooses and passes on the rest.
func (f *ErrorFault) Submit(b *Batch, reqs []*Request) {
	from := 0
	for i, r := range reqs {
		if !f.choose.hit(r) {
			continue
		}
		f.pass(b, reqs[from:i])
		from = i + 1
		f.mu.Lock()
		res := f.res
		var l *lostAnswer
		if f.lost {
			l = &lostAnswer{f: f, outer: r, res: res}
			l.Request = *r
			l.Data, l.Extents, l.Lower, l.Completer = nil, nil, nil, l
			l.Data.AppendVec(r.Data)
			f.own[r] = l
		}
		f.mu.Unlock()
		if l == nil {
			b.Complete(r, res)
			continue
		}
		f.Device.Submit(b, []*Request{&l.Request})
	}
	f.pass(b, reqs[from:])
}

func (f *ErrorFault) pass(b *Batch, reqs []*Request) {
	if len(reqs) > 0 {
		f.Device.Submit(b, reqs)
	}
}

// Complete fails the client's request. One that the device below has not
// carried out keeps its own result.
func (l *lostAnswer) Complete(b *Batch, _ *Request, res Result) {
	l.f.mu.Lock()
	delete(l.f.own, l.outer)
	l.f.mu.Unlock()
	l.Data.Release()
	if res.OK() {
		res = l.res
	}
	b.Complete(l.outer, res)
}

// Abort passes through.
func (f *ErrorFault) Abort(b *Batch, r *Request) {
	f.mu.Lock()
	if l := f.own[r]; l != nil {
		r = &l.Request
	}
	f.mu.Unlock()
	f.Device.Abort(b, r)
}

var _ Device = (*ErrorFault)(nil)
