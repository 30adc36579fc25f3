// SPDX-License-Identifier: Apache-2.0

package shares

import (
	"testing"
	"testing/synctest"
	"time"
)

// answers makes a load that was answered at these times.
func answers(c *Clock, cost float64, at ...time.Duration) *Load {
	return &Load{clock: c, cost: cost, done: at}
}

// every gives n times, by apart, after from.
func every(from, by time.Duration, n int) (at []time.Duration) {
	for i := range n {
		at = append(at, from+time.Duration(i+1)*by)
	}
	return at
}

func TestRates(t *testing.T) {
	l := answers(nil, 2, every(time.Second, 100*time.Millisecond, 20)...)
	for _, tt := range []struct {
		name string
		got  float64
		want float64
	}{
		{"in the middle", l.Rate(1550*time.Millisecond, 2550*time.Millisecond), 20},
		{"before", l.Rate(0, time.Second), 0},
		{"half", l.Rate(500*time.Millisecond, 1550*time.Millisecond), 10 / 1.05},
		{"from answer to answer", l.Pace(500*time.Millisecond, 1550*time.Millisecond), 20},
		{"one answer alone", l.Pace(time.Second, 1150*time.Millisecond), 0},
		{"gap in the middle", l.Gap(1500*time.Millisecond, 2*time.Second).Seconds(), 0.1},
		{"gap at the start", l.Gap(0, 2*time.Second).Seconds(), 1.1},
		{"gap at the end", l.Gap(2*time.Second, 4*time.Second).Seconds(), 1},
		{"the last", l.Last().Seconds(), 3},
	} {
		if d := tt.got - tt.want; d > 1e-9 || d < -1e-9 {
			t.Errorf("%s: got %v, want %v", tt.name, tt.got, tt.want)
		}
	}
}

func TestJudge(t *testing.T) {
	c := &Clock{}
	c.beat(time.Second, 1100*time.Millisecond)
	c.beat(1100*time.Millisecond, 1110*time.Millisecond) // 5 ms late: that is nothing
	even := answers(c, 1, every(0, 10*time.Millisecond, 300)...)
	few := answers(c, 16, every(0, 330*time.Millisecond, 9)...)
	for _, tt := range []struct {
		name string
		want Want
		ok   bool
	}{
		{"exact", Want{Load: even, Rate: 100}, true},
		{"4.9 % too much", Want{Load: even, Rate: 100 / 1.049}, true},
		{"4.9 % too little", Want{Load: even, Rate: 100 / 0.951}, true},
		{"6 % too much", Want{Load: even, Rate: 100 / 1.06}, false},
		{"6 % too little", Want{Load: even, Rate: 100 / 0.94}, false},
		{"two commands in two seconds", Want{Load: few, Rate: 48.4 + 15}, true},
		{"more than two", Want{Load: few, Rate: 48.4 + 18}, false},
		{"two quanta of eight", Want{Load: even, Rate: 107.9, Quantum: 8}, true},
		{"more than that", Want{Load: even, Rate: 108.6, Quantum: 8}, false},
		{"steady", Want{Load: few, Rate: 16 / 0.33, Steady: true}, true},
	} {
		v := judge(c, time.Second/2, 5*time.Second/2, []Want{tt.want})
		if got := len(v.Wrong) == 0; got != tt.ok {
			t.Errorf("%s: right is %v: %v", tt.name, got, &v)
		}
	}
	for _, tt := range []struct{ from, to, want time.Duration }{
		{time.Second / 2, 5 * time.Second / 2, 95 * time.Millisecond},
		{4 * time.Second, 5 * time.Second, 95 * time.Millisecond}, // felt
		{4100 * time.Millisecond, 5 * time.Second, 0},
		{0, 1050 * time.Millisecond, 45 * time.Millisecond},
	} {
		if v := judge(c, tt.from, tt.to, nil); v.Halted != tt.want {
			t.Errorf("from %v to %v: halted for %v, want %v", tt.from, tt.to, v.Halted, tt.want)
		}
	}
}

// A measurement that is wrong is made again twice, or for as long as the machine is to
// blame, and not for ever.
func TestMeasure(t *testing.T) {
	for _, tt := range []struct {
		name    string
		rate    float64
		halted  bool
		lengths int
		ok      bool
	}{
		{"right", 100, false, 1, true},
		{"right, though halted", 100, true, 1, true},
		{"wrong", 50, false, wrongMost, false},
		{"wrong, halted", 50, true, 60, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := NewClock()
				defer c.Stop()
				if tt.halted {
					c.beat(0, time.Hour)
				}
				v := Measure(c, time.Second, Want{Load: answers(c, 1, every(0, 10*time.Millisecond, 6000)...), Rate: tt.rate})
				if got := c.Now(); got != time.Duration(tt.lengths)*time.Second {
					t.Errorf("measured for %v", got)
				}
				if (len(v.Wrong) == 0) != tt.ok {
					t.Errorf("right is not %v: %v", tt.ok, &v)
				}
			})
		})
	}
}
