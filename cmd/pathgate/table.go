// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"io"
	"strings"
	"unicode/utf8"
)

// column is one column of a table of Ts. Names and order are stable, since people
// cut them with awk; a column whose text may have spaces stands last.
type column[T any] struct {
	name  string
	value func(T) string
	right bool // aligned, for numbers
	wide  bool // shown with -o wide only
}

// printTable writes an aligned table with a header, two spaces between columns and
// none at the end of a line. Empty cells show "-".
func printTable[T any](w io.Writer, list []T, columns []column[T], wide bool) error {
	var shown []column[T]
	for _, c := range columns {
		if wide || !c.wide {
			shown = append(shown, c)
		}
	}
	rows := make([][]string, 0, len(list)+1)
	header := make([]string, len(shown))
	widths := make([]int, len(shown))
	for i, c := range shown {
		header[i], widths[i] = c.name, len(c.name)
	}
	rows = append(rows, header)
	for _, v := range list {
		row := make([]string, len(shown))
		for i, c := range shown {
			if row[i] = printable(c.value(v)); row[i] == "" {
				row[i] = "-"
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
		rows = append(rows, row)
	}
	b := bufio.NewWriter(w)
	for _, row := range rows {
		line := ""
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i > 0 {
				line += "  "
			}
			if shown[i].right {
				line += pad + cell
			} else {
				line += cell + pad
			}
		}
		_, _ = b.WriteString(strings.TrimRight(line, " ") + "\n") // Flush tells
	}
	return b.Flush()
}
