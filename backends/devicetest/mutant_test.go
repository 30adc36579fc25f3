// SPDX-License-Identifier: Apache-2.0

package devicetest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/backends/devicetest"
)

const mutantEnv = "PATHGATE_MUTANT"

// mutant is a device with one fault, made of a sound one.
type mutant struct {
	backends.Device
	submit func(d backends.Device, b *backends.Batch, reqs []*backends.Request)
	info   func(*backends.Info)
}

func (m *mutant) Submit(b *backends.Batch, reqs []*backends.Request) {
	if m.submit == nil {
		m.Device.Submit(b, reqs)
		return
	}
	m.submit(m.Device, b, reqs)
}

func (m *mutant) Info() backends.Info {
	i := m.Device.Info()
	if m.info != nil {
		m.info(&i)
	}
	return i
}

// Abort forgets, and so does Reset, where Submit did not pass the request on.
func (m *mutant) Abort(b *backends.Batch, r *backends.Request) { m.Device.Abort(b, r) }

type submitFunc = func(d backends.Device, b *backends.Batch, reqs []*backends.Request)

// each carries out one by one.
func each(f func(d backends.Device, b *backends.Batch, r *backends.Request)) submitFunc {
	return func(d backends.Device, b *backends.Batch, reqs []*backends.Request) {
		for _, r := range reqs {
			f(d, b, r)
		}
	}
}

func pass(d backends.Device, b *backends.Batch, r *backends.Request) {
	d.Submit(b, []*backends.Request{r})
}

// mutants break one promise each; want is in what the suite says.
var mutants = map[string]struct {
	submit submitFunc
	info   func(*backends.Info)
	want   string
}{
	"completes inside Submit": {submit: func(d backends.Device, b *backends.Batch, reqs []*backends.Request) {
		d.Submit(b, reqs)
		b.Run()
	}, want: "completed inside Submit"},
	"completes inside Submit, with its own batch": {submit: func(d backends.Device, _ *backends.Batch, reqs []*backends.Request) {
		var own backends.Batch
		d.Submit(&own, reqs)
		own.Run()
	}, want: "completed inside Submit"},
	"completes twice": {submit: each(func(d backends.Device, b *backends.Batch, r *backends.Request) {
		pass(d, b, r)
		if r.Op == backends.Flush {
			b.Complete(r, backends.Done())
		}
	}), want: "completed 2 times"},
	"forgets a request": {submit: each(func(d backends.Device, b *backends.Batch, r *backends.Request) {
		if r.Op != backends.Flush {
			pass(d, b, r)
		}
	}), want: "has not ended"},
	"loses writes": {submit: each(func(d backends.Device, b *backends.Batch, r *backends.Request) {
		if r.Op == backends.Write && r.Offset == 4096 {
			b.Complete(r, backends.Done())
			return
		}
		pass(d, b, r)
	}), want: "number 0, want"},
	"reverses the order": {submit: func(d backends.Device, b *backends.Batch, reqs []*backends.Request) {
		for i := range reqs {
			pass(d, b, reqs[len(reqs)-1-i])
		}
	}, want: "has number"},
	"keeps a payload": {submit: each(func(d backends.Device, b *backends.Batch, r *backends.Request) {
		if r.Op == backends.Write {
			r.Data.Retain()
		}
		pass(d, b, r)
	}), want: "has a holder after the device was closed"},
	"changes a payload": {submit: each(func(d backends.Device, b *backends.Batch, r *backends.Request) {
		pass(d, b, r)
		if r.Op == backends.Write && len(r.Data) > 0 && len(r.Data[0].B) > 0 && r.Data[0].Seg != nil {
			r.Data[0].B[0] ^= 1
		}
	}), want: "payload is not what it was"},
	"says ok without data": {submit: each(func(d backends.Device, b *backends.Batch, r *backends.Request) {
		if r.Op == backends.Read && d.Info().Size > r.Offset {
			b.Complete(r, backends.Done())
			return
		}
		pass(d, b, r)
	}), want: "gave 0 bytes"},
	"says ok to anything": {submit: each(func(d backends.Device, b *backends.Batch, r *backends.Request) {
		if r.Op == backends.Write && r.Length != uint64(r.Data.Len()) {
			b.Complete(r, backends.Done())
			return
		}
		pass(d, b, r)
	}), want: "write with too little: ok"},
	"gives a result without a class": {submit: each(func(d backends.Device, b *backends.Batch, r *backends.Request) {
		if r.Op == backends.Flush {
			b.Complete(r, backends.Result{})
			return
		}
		pass(d, b, r)
	}), want: "class class(0)"},
	// What comes after the case, when nobody waits any more, hides nothing.
	"ends too late, and wrongly": {submit: each(func(d backends.Device, b *backends.Batch, r *backends.Request) {
		if r.Op == backends.Flush {
			time.AfterFunc(700*time.Millisecond, func() {
				var late backends.Batch
				late.Complete(r, backends.Result{})
				late.Run()
			})
			return
		}
		pass(d, b, r)
	}), want: "has not ended after"},
	"claims what it does not do": {info: func(i *backends.Info) { i.PhysicalBlock = 100 }, want: "blocks of"},
}

// TestMutant runs the suite on one mutant, for TestSuiteFails.
func TestMutant(t *testing.T) {
	m, ok := mutants[os.Getenv(mutantEnv)]
	if !ok {
		return // it is TestSuiteFails that runs this test, in a process of its own
	}
	devicetest.Run(t, func(t *testing.T) (backends.Device, devicetest.Hooks) {
		return &mutant{Device: newMemory(t), submit: m.submit, info: m.info}, devicetest.Hooks{Patience: 300 * time.Millisecond, Span: 64 << 10}
	})
}

// TestSuiteFails: the suite finds what is wrong with each mutant.
func TestSuiteFails(t *testing.T) {
	for name, m := range mutants {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestMutant$")
			cmd.Env = append(os.Environ(), mutantEnv+"="+name)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("the suite passes")
			}
			if !strings.Contains(string(out), m.want) {
				t.Errorf("the suite does not say %q but:\n%.2000s", m.want, out)
			}
		})
	}
}
