// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"strings"
	"time"
)

// Markdown writes the report.
func (r *Report) Markdown() string {
	var b strings.Builder
	r.preface(&b)
	for _, g := range r.groups {
		fmt.Fprintf(&b, "\n## %s\n", g.title)
		g.notes(&b)
		for _, cl := range allClients() {
			var rows []*row
			for _, w := range r.rows {
				if w.group == g && w.client == cl.name() {
					rows = append(rows, w)
				}
			}
			if len(rows) > 0 {
				rateTable(&b, g, cl.name(), rows)
				costTable(&b, g, cl.name(), rows)
				thriftTable(&b, g, cl.name(), rows)
			}
		}
	}
	r.idle(&b)
	r.noise(&b)
	r.details(&b)
	return b.String()
}

func (r *Report) preface(b *strings.Builder) {
	o, m := r.Options, r.Machine
	fmt.Fprintf(b, "# Benchmark\n\nMade by `make bench`; the package documentation of `integration/bench` says how.\n\n")
	fmt.Fprintf(b, "- %s, %d rounds of %g s for each figure, seed %d, took %v\n",
		r.Started.UTC().Format(time.DateOnly), o.Rounds, o.Seconds, o.Seed, r.Took.Round(time.Second))
	fmt.Fprintf(b, "- %s, %d cores (%s), TCP congestion control %s; clients, servers and target share them\n",
		m.Kernel, m.Cores, m.Processor, m.Congestion)
	fmt.Fprintf(b, "- load of the machine before the run: %s\n", m.Load)
	fmt.Fprintf(b, "- %s\n", strings.Join(append(m.Versions, m.Settings...), "; "))
	fmt.Fprintf(b, "- qemu-nbd: `-t -f raw --cache=none --shared=16`; qemu-img bench: `-t none`; disks of %d MiB, written once before\n", diskBytes>>20)
	fmt.Fprintf(b, "- rates and CPU times are medians over the rounds; a ratio is the median of the rounds' ratios, with its range\n")
	fmt.Fprintf(b, "- \"faster\" and \"slower\" are said where every round agrees\n")
	fmt.Fprintf(b, "- scheduler: %d pairs of samples in each round, and ratios with the 95 %% interval of their median; with a bar, the least ratio that is asked for, and \"within noise\" if that lies in the interval\n", schedulerRepeats)
}

// shown gives the contenders that a client can measure.
func (r *row) shown() []*contender {
	var list []*contender
	for _, s := range r.series {
		list = append(list, s.contender)
	}
	return list
}

// rivals gives the contenders that are divided by the reference: those in front of it.
func rivals(g *group, shown []*contender) []*contender { return shown[:min(g.reference, len(shown)-1)] }

func header(b *strings.Builder, first string, names ...string) {
	fmt.Fprintf(b, "| %s | %s |\n|---|%s\n", first, strings.Join(names, " | "), strings.Repeat("---:|", len(names)))
}

func rateTable(b *strings.Builder, g *group, client string, rows []*row) {
	shown := rows[0].shown()
	reference := g.contenders[g.reference]
	var names []string
	for _, c := range shown {
		names = append(names, c.name)
	}
	for _, c := range rivals(g, shown) {
		names = append(names, c.name+" / "+reference.name, "")
	}
	fmt.Fprintf(b, "\n### Rate, %s\n\n", client)
	header(b, "job", names...)
	for _, w := range rows {
		fmt.Fprintf(b, "| %s |", w.job.Name)
		for _, c := range shown {
			fmt.Fprintf(b, " %s |", w.job.rate(summarize(rates(w.column(c))).median))
		}
		for _, c := range rivals(g, shown) {
			list := ratios(rates(w.column(c)), rates(w.column(reference)))
			switch {
			case g.bar > 0:
				fmt.Fprintf(b, " %v | %s |", middleOf(list), judge(list, g.bar))
			case g.repeats > 1:
				m := middleOf(list)
				fmt.Fprintf(b, " %v | %s |", m, verdict(list, m.low, m.high))
			default:
				s := summarize(list)
				fmt.Fprintf(b, " %v | %s%s |", s, verdict(list, s.low, s.high), g.deepVerdict(c, w.job, list))
			}
		}
		b.WriteByte('\n')
	}
}

func costTable(b *strings.Builder, g *group, client string, rows []*row) {
	reference := g.contenders[g.reference]
	shown := rows[0].shown()
	shown = shown[:min(g.reference+1, len(shown))]
	var names []string
	for _, c := range shown {
		names = append(names, c.name)
	}
	for _, c := range rivals(g, shown) {
		names = append(names, c.name+" / "+reference.name)
	}
	for _, c := range shown {
		if c.target != nil {
			names = append(names, "target of "+c.name)
		}
	}
	fmt.Fprintf(b, "\n### CPU time of the server for each I/O, in microseconds, %s\n\n", client)
	header(b, "job", names...)
	for _, w := range rows {
		fmt.Fprintf(b, "| %s |", w.job.Name)
		for _, c := range shown {
			fmt.Fprintf(b, " %.1f |", summarize(each(w.column(c), Sample.ServerMicros)).median)
		}
		for _, c := range rivals(g, shown) {
			list := ratios(each(w.column(c), Sample.ServerMicros), each(w.column(reference), Sample.ServerMicros))
			if g.repeats > 1 {
				fmt.Fprintf(b, " %v |", middleOf(list))
			} else {
				fmt.Fprintf(b, " %v |", summarize(list))
			}
		}
		for _, c := range shown {
			if c.target != nil {
				fmt.Fprintf(b, " %.1f |", summarize(each(w.column(c), Sample.TargetMicros)).median)
			}
		}
		b.WriteByte('\n')
	}
}

// deep is the depth that bars are for, where they are not for every job.
const deep = 32

// deepVerdict compares the ratios of c's rates with the bar, if it is measured by that.
func (g *group) deepVerdict(c *contender, j Job, ratios []float64) string {
	if g.deepBar == 0 || c != g.contenders[0] || j.Depth != deep {
		return ""
	}
	return "; " + judge(ratios, g.deepBar)
}

// thriftTable writes what a second of the server's CPU time does.
func thriftTable(b *strings.Builder, g *group, client string, rows []*row) {
	if g.thrift == 0 || len(rivals(g, rows[0].shown())) < g.reference {
		return
	}
	shown, reference := g.contenders[:g.reference+1], g.contenders[g.reference]
	var names []string
	for _, c := range shown {
		names = append(names, c.name)
	}
	for _, c := range rivals(g, shown) {
		names = append(names, c.name+" / "+reference.name)
	}
	fmt.Fprintf(b, "\n### I/Os for each second of the server's CPU time, %s\n\n", client)
	header(b, "job", append(names, "bar for "+shown[0].name)...)
	for _, w := range rows {
		fmt.Fprintf(b, "| %s |", w.job.Name)
		for _, c := range shown {
			fmt.Fprintf(b, " %.1fk |", summarize(each(w.column(c), Sample.PerCPUSecond)).median/1e3)
		}
		for _, c := range rivals(g, shown) {
			fmt.Fprintf(b, " %v |", summarize(w.thrift(c, reference)))
		}
		verdict := ""
		if g.thriftOfAll || w.job.Depth == deep {
			verdict = judge(w.thrift(shown[0], reference), g.thrift)
		}
		fmt.Fprintf(b, " %s |\n", verdict)
	}
}

// thrift divides the I/Os for each CPU second of a by those of b, round by round.
func (r *row) thrift(a, b *contender) []float64 {
	return ratios(each(r.column(a), Sample.PerCPUSecond), each(r.column(b), Sample.PerCPUSecond))
}

// notes writes what there is to know of g.
func (g *group) notes(b *strings.Builder) {
	if g.note != "" {
		fmt.Fprintf(b, "\n%s\n", g.note)
	}
	if g.waits != nil && g.waited.Requests > 0 {
		fmt.Fprintf(b, "Of the requests to %q %.1f %% had to wait in the scheduler.\n",
			g.contenders[0].name, 100*float64(g.waited.Queued)/float64(g.waited.Requests))
	}
	for _, c := range g.contenders {
		if c.again > 0 {
			fmt.Fprintf(b, "\n%d measurements of %s failed and were made again.\n", c.again, c.name)
		}
	}
}

func (r *Report) idle(b *strings.Builder) {
	if r.Idle == nil {
		return
	}
	i := r.Idle
	fmt.Fprintf(b, "\n## Memory of idle connections\n\n")
	fmt.Fprintf(b, "Resident memory of %s: %.1f MiB before, %.1f MiB with %d idle NBD connections (%.1f KiB each), ",
		r.groups[0].contenders[0].name, mib(i.Before), mib(i.Open), i.Connections, float64(i.PerConnection())/1024)
	fmt.Fprintf(b, "%.1f MiB after each of them has read and written %d KiB.\n", mib(i.Used), idleBytes>>10)
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// noise tells how far the figures of one series lie apart.
func (r *Report) noise(b *strings.Builder) {
	var spreads, costs []float64
	for _, w := range r.rows {
		for _, s := range w.series {
			spreads = append(spreads, summarize(rates(s.samples)).spread())
			costs = append(costs, summarize(each(s.samples, Sample.ServerMicros)).spread())
		}
	}
	s, c := summarize(spreads), summarize(costs)
	fmt.Fprintf(b, "\n## Noise\n\nOver %d rounds the rates of one series lie apart by %.0f %% of their median ", r.Options.Rounds, 100*s.median)
	fmt.Fprintf(b, "(median of all series; the worst %.0f %%), the CPU times by %.0f %% (the worst %.0f %%).\n", 100*s.high, 100*c.median, 100*c.high)
	if r.Options.Rounds < minRounds {
		b.WriteString("With so few rounds no difference means anything: this run only shows that all can be measured.\n")
	}
}

// details lists every series.
func (r *Report) details(b *strings.Builder) {
	fmt.Fprintf(b, "\n## All series\n\nMedian (lowest-highest) over the rounds. Target CPU is that of tgtd, for each I/O.\n\n")
	header(b, "job, client, server", "I/O per second", "server CPU, us", "target CPU, us")
	for _, w := range r.rows {
		for _, s := range w.series {
			rate, cost := summarize(rates(s.samples)), summarize(each(s.samples, Sample.ServerMicros))
			target := "-"
			if s.contender.target != nil {
				target = fmt.Sprintf("%.1f", summarize(each(s.samples, Sample.TargetMicros)).median)
			}
			fmt.Fprintf(b, "| %s, %s, %s | %.0f (%.0f-%.0f) | %.1f (%.1f-%.1f) | %s |\n", w.job.Name, w.client, s.contender.name,
				rate.median, rate.low, rate.high, cost.median, cost.low, cost.high, target)
		}
	}
}
