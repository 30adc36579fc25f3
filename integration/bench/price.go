// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"pathgate/backends"
)

const (
	priceSamples = 300
	priceDepth   = 32 // requests that each VM submits together
)

// price is what a request costs in disk, router and memory device, in nanoseconds
// on one goroutine: the least of many samples, which what else runs on the machine
// can only make longer.
type price struct {
	on, off float64
	samples int
}

func (p price) String() string {
	return fmt.Sprintf("In one goroutine and without sockets a read takes %.0f ns in disk, router and device with the scheduler, %.0f ns without (least of %d samples).",
		p.on, p.off, p.samples)
}

// measurePrice has the first vms VMs of a device of newScheduled, and of the one
// without a scheduler, all submit before any request ends.
func measurePrice(device string, vms, samples int) (_ price, err error) {
	s, err := newScheduled(diskBytes)
	if err != nil {
		return price{}, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	on, off := s.load(device, vms), s.load(deviceOff, vms)
	p := price{math.Inf(1), math.Inf(1), samples}
	for range samples {
		p.on, p.off = min(p.on, on.sample()), min(p.off, off.sample())
	}
	if on.failed.Load() || off.failed.Load() {
		err = errors.New("price of the scheduler: a request failed")
	}
	return p, err
}

// priceLoad is the requests of some VMs. They end on the goroutine of sample, or on
// that of the scheduler's timer when it goes on for it.
type priceLoad struct {
	batch  backends.Batch
	vms    []priceVM
	left   atomic.Int64 // of one turn
	ended  chan struct{}
	failed atomic.Bool
}

type priceVM struct {
	disk     backends.Device
	requests []*backends.Request
}

// load makes requests that lie in as many places as there are.
func (s *scheduled) load(device string, vms int) *priceLoad {
	l := &priceLoad{ended: make(chan struct{}, 1)}
	for i := range vms {
		v := priceVM{disk: s.disk(vmName(i) + "/" + device)}
		for range priceDepth {
			v.requests = append(v.requests, &backends.Request{})
		}
		l.vms = append(l.vms, v)
	}
	return l
}

// Complete counts the end of a request.
func (l *priceLoad) Complete(_ *backends.Batch, r *backends.Request, res backends.Result) {
	if !res.OK() {
		l.failed.Store(true)
	}
	r.Reset()
	if l.left.Add(-1) == 0 {
		l.ended <- struct{}{}
	}
}

// sample gives nanoseconds for each request.
func (l *priceLoad) sample() float64 {
	const rounds = 4
	start := time.Now()
	for range rounds {
		l.left.Store(int64(priceDepth * len(l.vms)))
		for _, v := range l.vms {
			for i, r := range v.requests {
				r.Op, r.Offset, r.Length, r.Completer = backends.Read, uint64(i*977)<<12%(diskBytes/schedulerVMs), 4096, l
			}
			v.disk.Submit(&l.batch, v.requests)
		}
		l.batch.Run()
		<-l.ended
	}
	return float64(time.Since(start).Nanoseconds()) / float64(rounds*priceDepth*len(l.vms))
}
