// SPDX-License-Identifier: Apache-2.0

package share

import (
	"math/bits"
	"time"
)

const second = int64(time.Second)

// clock is the theoretical arrival time of a rate (GCRA), exact: at plus
// rem/rate nanoseconds.
type clock struct {
	at   Instant
	rem  int64
	rate int64 // per second; 0: no clock
	tau  int64 // how far at may be ahead of now, ns
}

// set changes the rate. The fraction of a nanosecond goes with the old one.
func (k *clock) set(rate int64) {
	if k.rate != rate {
		k.rate, k.rem = rate, 0
	}
}

// raise makes at no earlier than t.
func (k *clock) raise(t Instant) {
	if k.at < t {
		k.at, k.rem = t, 0
	}
}

// advance adds amount/rate seconds.
func (k *clock) advance(amount int64) {
	n := amount*second + k.rem // amount is below 2^32
	k.at += Instant(n / k.rate)
	k.rem = n % k.rate
}

// pay is advance for a reservation: neither more than 2*ahead behind now before,
// nor more than the larger of ahead and the amount's own time ahead of it after.
func (k *clock) pay(now Instant, amount, ahead int64, plain bool) {
	k.raise(now - Instant(2*ahead))
	k.advance(amount)
	top, rem := now+Instant(ahead), int64(0)
	if own := amount * second / k.rate; own >= ahead && !plain {
		top, rem = now+Instant(own), amount*second%k.rate
	}
	if k.at > top || k.at == top && k.rem > rem {
		k.at, k.rem = top, rem
	}
}

// buckets is how many clocks a limiter has: Bucket less one is the place.
const buckets = int(PeakBytesWrite)

// Which buckets a command of a class is subject to.
var classBuckets = [...]uint16{
	ClassOther: 1<<(OpsTotal-1) | 1<<(PeakOpsTotal-1),
	ClassRead: 1<<(OpsTotal-1) | 1<<(BytesTotal-1) | 1<<(OpsRead-1) | 1<<(BytesRead-1) |
		1<<(PeakOpsTotal-1) | 1<<(PeakBytesTotal-1) | 1<<(PeakOpsRead-1) | 1<<(PeakBytesRead-1),
	ClassWrite: 1<<(OpsTotal-1) | 1<<(BytesTotal-1) | 1<<(OpsWrite-1) | 1<<(BytesWrite-1) |
		1<<(PeakOpsTotal-1) | 1<<(PeakBytesTotal-1) | 1<<(PeakOpsWrite-1) | 1<<(PeakBytesWrite-1),
}

// limiter is the limits of a flow or a group.
type limiter struct {
	mask uint16 // buckets in use
	b    [buckets]clock
}

// configure takes over new limits. Debts from before are cut to what the new
// burst allows.
func (l *limiter) configure(s *Limits, slop int64, now Instant) {
	l.mask = 0
	for i, c := range [...]*Ceiling{&s.Total, &s.Read, &s.Write} {
		length := int64(c.PeakLength)
		if length == 0 {
			length = second
		}
		ops, bytes := burstTime(c.Burst.Ops, c.Rate.Ops), burstTime(c.Burst.Bytes, c.Rate.Bytes)
		if c.Burst.Ops == 0 {
			ops = burstTime(1, c.Rate.Ops)
		}
		if c.Peak.Ops > 0 && c.Rate.Ops > 0 {
			ops = mulDiv(c.Peak.Ops, length, c.Rate.Ops)
		}
		if c.Peak.Bytes > 0 && c.Rate.Bytes > 0 {
			bytes = mulDiv(c.Peak.Bytes, length, c.Rate.Bytes)
		}
		l.one(2*i, c.Rate.Ops, max(ops, slop), now)
		l.one(2*i+1, c.Rate.Bytes, max(bytes, slop), now)
		l.one(2*i+6, c.Peak.Ops, slop, now)
		l.one(2*i+7, c.Peak.Bytes, slop, now)
	}
}

func burstTime(burst, rate int64) int64 {
	if rate == 0 {
		return 0
	}
	return mulDiv(burst, second, rate)
}

func (l *limiter) one(i int, rate, tau int64, now Instant) {
	k := &l.b[i]
	k.set(rate)
	k.tau = min(tau, 1<<56)
	if rate == 0 {
		*k = clock{}
		return
	}
	l.mask |= 1 << i
	if top := now + Instant(k.tau); k.at >= top {
		k.at, k.rem = top, 0
	}
}

// blocked tells which bucket keeps c from going now, and until when: the one
// that has room last. NoBucket: it may go.
func (l *limiter) blocked(c *Cmd, now Instant) (Bucket, Instant) {
	which, until := NoBucket, now
	for m := l.mask & classBuckets[c.Class]; m != 0; m &= m - 1 {
		i := bits.TrailingZeros16(m)
		if t := l.b[i].at - Instant(l.b[i].tau); t > until {
			which, until = Bucket(i+1), t
		}
	}
	return which, until
}

// charge counts c in every bucket that it is subject to.
func (l *limiter) charge(c *Cmd, ops int64, now Instant) {
	for m := l.mask & classBuckets[c.Class]; m != 0; m &= m - 1 {
		i := bits.TrailingZeros16(m)
		k := &l.b[i]
		k.raise(now)
		if i&1 == 0 {
			k.advance(ops)
		} else {
			k.advance(int64(c.Bytes))
		}
	}
}
