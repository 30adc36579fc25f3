// SPDX-License-Identifier: Apache-2.0

package sidebyside

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pathgate/integration/sidebyside/load"
)

// Table is rounds as Markdown: for each kind of cut and each contender the longest
// wait of one request, and the longest time in which none ended.
func Table(rounds []Round) string {
	var b strings.Builder
	for _, of := range []struct {
		title string
		value func(load.Report) time.Duration
	}{
		{"Longest wait of one request", func(r load.Report) time.Duration { return r.Longest }},
		{"Longest time in which no request ended", func(r load.Report) time.Duration { return r.Gap }},
	} {
		fmt.Fprintf(&b, "%s, median / longest (number of cuts):\n\n| Cut | pathgate |", of.title)
		for _, p := range Profiles() {
			fmt.Fprintf(&b, " dm-multipath, %s |", p.Name)
		}
		b.WriteString("\n|---|---|" + strings.Repeat("---|", len(Profiles())) + "\n")
		for _, k := range Kinds() {
			fmt.Fprintf(&b, "| %v | %s |", k, cell(Values(rounds, "", k, Pathgate, of.value)))
			for _, p := range Profiles() {
				fmt.Fprintf(&b, " %s |", cell(Values(rounds, p.Name, k, DM, of.value)))
			}
			b.WriteString("\n")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// Values picks one value of the rounds of a kind, in order of size; profile "" is all.
func Values(rounds []Round, profile string, k Kind, contender string, value func(load.Report) time.Duration) (list []time.Duration) {
	for _, r := range rounds {
		if r.Kind == k && (profile == "" || r.Profile == profile) {
			list = append(list, value(r.Reports[contender]))
		}
	}
	slices.Sort(list)
	return list
}

// Median is the middle of an ordered list, the lower one of two; 0 for none.
func Median(list []time.Duration) time.Duration {
	if len(list) == 0 {
		return 0
	}
	return list[(len(list)-1)/2]
}

func cell(list []time.Duration) string {
	if len(list) == 0 {
		return "-"
	}
	return fmt.Sprintf("%v / %v (%d)", short(Median(list)), short(list[len(list)-1]), len(list))
}
