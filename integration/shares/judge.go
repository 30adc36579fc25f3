// SPDX-License-Identifier: Apache-2.0

package shares

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Tolerance is by how much a rate may differ from the table's.
const Tolerance = 0.05

// haltedMost is the part of a measurement in which this process may have stood still.
// Above it the machine was measured and not the scheduler.
const haltedMost = 0.005

// aftermath is for how long a time in which this process stood still is felt: what an
// open loop owes comes then, and drains while others have their part.
const aftermath = 3 * time.Second

// measureLimit is for how long measurements are made again when the machine is busy.
const measureLimit = time.Minute

// wrongMost is how many measurements in a row have to be wrong, with no sign of a busy
// machine: the target and what is in front of it may have stood still without us. What
// is wrong with the scheduler is wrong each time.
const wrongMost = 3

// Want is what a load is to get.
type Want struct {
	Name string
	Load *Load
	// Rate is in units per second.
	Rate float64
	// Quantum is the largest run in units, 0: the cost of one command.
	Quantum float64
	// Steady: too few commands to count; the time between the first and the last
	// one counts (Load.Pace).
	Steady bool
}

// allowed is by how much the rate over length may differ.
func (w *Want) allowed(length time.Duration) float64 {
	q := w.Quantum
	if q == 0 {
		q = w.Load.cost
	}
	return max(Tolerance*w.Rate, 2*q/length.Seconds())
}

func (w *Want) got(from, to time.Duration) float64 {
	if w.Steady {
		return w.Load.Pace(from, to)
	}
	return w.Load.Rate(from, to)
}

// Verdict is what came of a measurement.
type Verdict struct {
	From, To time.Duration
	Halted   time.Duration // from a little before From
	Wrong    []string      // one for each rate that is not as wanted
	// Owed: an open loop got more than it asks for in that time, which is what it had
	// not got before: the machine, or what was tested before, is felt.
	Owed    bool
	Figures string
}

// String is one line of figures.
func (v *Verdict) String() string {
	return fmt.Sprintf("%.1fs: %s, halted %v", (v.To - v.From).Seconds(), v.Figures, v.Halted.Round(time.Millisecond))
}

// judge holds the rates between from and to against what is wanted.
func judge(c *Clock, from, to time.Duration, wants []Want) Verdict {
	v := Verdict{From: from, To: to, Halted: c.Halted(from-aftermath, to)}
	var figures []string
	for i := range wants {
		w := &wants[i]
		got, tol := w.got(from, to), w.allowed(to-from)
		text := fmt.Sprintf("%s %.1f of %.1f (%+.1f%%)", w.Name, got, w.Rate, 100*(got/w.Rate-1))
		figures = append(figures, text)
		if asks := w.Load.job.Rate * w.Load.cost; asks > 0 && asks <= w.Rate && got > w.Rate+tol {
			v.Owed = true
		}
		if math.Abs(got-w.Rate) > tol {
			v.Wrong = append(v.Wrong, fmt.Sprintf("%s, want within %.1f", text, tol))
		}
	}
	v.Figures = strings.Join(figures, ", ")
	return v
}

// Measure judges the rates over length from now. While the machine keeps this process
// from running it takes another length; after a minute the last one counts in any case,
// and before that the third in a row that is wrong without such a reason.
func Measure(c *Clock, length time.Duration, wants ...Want) Verdict {
	wrong := 0
	for begin := c.Now(); ; {
		from := c.Now()
		c.Sleep(from + length)
		v := judge(c, from, from+length, wants)
		disturbed := v.Owed || v.Halted.Seconds() > haltedMost*length.Seconds()
		if wrong++; disturbed {
			wrong = 0
		}
		if len(v.Wrong) == 0 || c.Now()-begin >= measureLimit || wrong == wrongMost {
			return v
		}
	}
}
