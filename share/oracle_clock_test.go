// SPDX-License-Identifier: Apache-2.0

package share

import (
	"math/big"
	"time"
)

// refClock is the clock of a rate, an exact number of nanoseconds.
type refClock struct {
	at   big.Rat
	rate int64 // per second; 0: none
	tau  int64
}

const refSecond = int64(time.Second)

// floor is at, in whole nanoseconds.
func (k *refClock) floor() Instant {
	if k.at.IsInt() {
		return Instant(refInt(k.at.Num()))
	}
	n := new(big.Int).Div(k.at.Num(), k.at.Denom())
	return Instant(refInt(n))
}

// set changes the rate; a fraction of a nanosecond is of the old one.
func (k *refClock) set(rate int64) {
	if rate != k.rate {
		k.at.SetInt64(int64(k.floor()))
		k.rate = rate
	}
}

func (k *refClock) raise(t Instant) {
	if r := new(big.Rat).SetInt64(int64(t)); k.at.Cmp(r) < 0 {
		k.at.Set(r)
	}
}

func (k *refClock) cut(t *big.Rat) {
	if k.at.Cmp(t) > 0 {
		k.at.Set(t)
	}
}

// own is the time that amount takes at the rate, in ns.
func (k *refClock) own(amount int64) *big.Rat {
	n := new(big.Int).Mul(big.NewInt(amount), big.NewInt(refSecond))
	return new(big.Rat).SetFrac(n, big.NewInt(k.rate))
}

// pay charges a reservation.
func (k *refClock) pay(now Instant, amount, ahead int64) {
	own := k.own(amount)
	k.raise(now - Instant(2*ahead))
	k.at.Add(&k.at, own)
	most := new(big.Rat).SetInt64(ahead)
	if own.Cmp(most) > 0 {
		most = own
	}
	k.cut(new(big.Rat).Add(most, new(big.Rat).SetInt64(int64(now))))
}

// refLimits are the limit clocks of a flow or group, by Bucket.
type refLimits [PeakBytesWrite + 1]*refClock

// configure sets the limits anew.
func (l *refLimits) configure(s *Limits, slop time.Duration, now Instant) {
	one := func(b Bucket, rate, tau int64) {
		if rate == 0 {
			l[b] = nil
			return
		}
		if l[b] == nil {
			l[b] = new(refClock)
		}
		l[b].set(rate)
		l[b].tau = max(tau, int64(slop))
		l[b].cut(new(big.Rat).SetInt64(int64(now) + l[b].tau))
	}
	set := func(ops, bytes, peakOps, peakBytes Bucket, c *Ceiling) {
		length := int64(c.PeakLength)
		if length == 0 {
			length = refSecond
		}
		tau := func(rate, burst, peak, none int64) int64 {
			switch {
			case rate == 0:
				return 0
			case peak > 0:
				return refMulDiv(peak, length, rate)
			case burst == 0:
				burst = none
			}
			return refMulDiv(burst, refSecond, rate)
		}
		one(ops, c.Rate.Ops, tau(c.Rate.Ops, c.Burst.Ops, c.Peak.Ops, 1))
		one(bytes, c.Rate.Bytes, tau(c.Rate.Bytes, c.Burst.Bytes, c.Peak.Bytes, 0))
		one(peakOps, c.Peak.Ops, 0)
		one(peakBytes, c.Peak.Bytes, 0)
	}
	set(OpsTotal, BytesTotal, PeakOpsTotal, PeakBytesTotal, &s.Total)
	set(OpsRead, BytesRead, PeakOpsRead, PeakBytesRead, &s.Read)
	set(OpsWrite, BytesWrite, PeakOpsWrite, PeakBytesWrite, &s.Write)
}

// amount is what cmd counts for in bucket b; ok is false if it is not subject
// to it.
func (c *refCore) amount(b Bucket, cmd *Cmd) (n int64, ok bool) {
	switch b {
	case OpsTotal, PeakOpsTotal:
		return c.ops(cmd), true
	case BytesTotal, PeakBytesTotal:
		return int64(cmd.Bytes), cmd.Class != ClassOther
	case OpsRead, PeakOpsRead:
		return c.ops(cmd), cmd.Class == ClassRead
	case BytesRead, PeakBytesRead:
		return int64(cmd.Bytes), cmd.Class == ClassRead
	case OpsWrite, PeakOpsWrite:
		return c.ops(cmd), cmd.Class == ClassWrite
	case BytesWrite, PeakBytesWrite:
		return int64(cmd.Bytes), cmd.Class == ClassWrite
	case NoBucket:
	}
	return 0, false
}

// blocked gives the bucket that lets cmd go last, if one blocks it now.
func (c *refCore) blocked(l *refLimits, cmd *Cmd) (which Bucket, until Instant) {
	until = c.now
	for b, k := range l {
		if k == nil {
			continue
		}
		if _, ok := c.amount(Bucket(b), cmd); !ok {
			continue
		}
		if t := k.floor() - Instant(k.tau); t > until {
			which, until = Bucket(b), t
		}
	}
	return which, until
}

func (c *refCore) chargeLimits(l *refLimits, cmd *Cmd) {
	for b, k := range l {
		if k == nil {
			continue
		}
		if n, ok := c.amount(Bucket(b), cmd); ok {
			k.raise(c.now)
			k.at.Add(&k.at, k.own(n))
		}
	}
}

// refMeter is what a flow used and how long it was backlogged, as lists.
type refMeter struct {
	half  int64
	added Instant
	uses  []refUse
	spans []refSpan // the last one is open while backlogged
	open  bool
}

type refUse struct {
	at    Instant
	units Unit
}

type refSpan struct{ from, to Instant }

// slot is where the slot of now begins.
func (m *refMeter) slot(now Instant) Instant { return now - now%Instant(m.half) }

// from is where the slot before begins: what is counted.
func (m *refMeter) from(now Instant) Instant { return m.slot(now) - Instant(m.half) }

func (m *refMeter) used(now Instant) Unit {
	sum, kept := Unit(0), m.uses[:0]
	for _, u := range m.uses {
		if u.at >= m.from(now) {
			sum += u.units
			kept = append(kept, u)
		}
	}
	m.uses = kept
	return sum
}

func (m *refMeter) covered(now Instant) int64 {
	return max(min(m.half+int64(now-m.slot(now)), int64(now-m.added)), int64(time.Millisecond))
}

// rate is in mCU/s.
func (m *refMeter) rate(now Instant) int64 {
	return refMulDiv(int64(m.used(now)), 1000*refSecond, m.covered(now))
}

func (m *refMeter) saturated(now Instant) bool {
	from, sum := m.from(now), int64(0)
	kept := m.spans[:0]
	for i, s := range m.spans {
		open := m.open && i == len(m.spans)-1
		if open {
			s.to = now
		}
		if s.to > from || open {
			sum += max(0, int64(s.to-max(s.from, from)))
			kept = append(kept, s)
		}
	}
	m.spans = kept
	return sum > 0 && 2*sum >= m.covered(now)
}

// begin tells that the flow is backlogged from now on; the first T/20 does not
// count.
func (m *refMeter) begin(now Instant) {
	m.spans = append(m.spans, refSpan{from: now + Instant(m.half/10)})
	m.open = true
}

func (m *refMeter) end(now Instant) {
	if m.open {
		m.spans[len(m.spans)-1].to = now
		m.open = false
	}
}

// restart forgets what was, for a new T.
func (m *refMeter) restart(now Instant, window time.Duration) {
	m.half, m.uses, m.spans = int64(window)/2, nil, nil
	if m.open {
		m.spans = []refSpan{{from: now}}
	}
}
