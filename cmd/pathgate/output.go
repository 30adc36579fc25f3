// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// format is the value of -o.
type format struct {
	name string
	wide bool // "wide" is offered
}

// newFormat gives cmd the flag -o. wide: the table has columns that are left out at
// first.
func newFormat(cmd *cobra.Command, wide bool) *format {
	f := &format{name: "table", wide: wide}
	cmd.Flags().VarP(f, "output", "o", "output `format`: "+f.choices())
	formats := []string{"table", "json"}
	if wide {
		formats = append(formats, "wide")
	}
	complete := cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc("output", complete); err != nil {
		panic(err) // the flag was made two lines above
	}
	return f
}

func (f *format) choices() string {
	if f.wide {
		return "table, wide or json"
	}
	return "table or json"
}

// String, Set and Type make it a flag value.
func (f *format) String() string { return f.name }
func (f *format) Type() string   { return "format" }
func (f *format) Set(s string) error {
	if s != "table" && s != "json" && (s != "wide" || !f.wide) {
		return fmt.Errorf("must be %s", f.choices())
	}
	f.name = s
	return nil
}

func (f *format) isJSON() bool { return f.name == "json" }

// printList prints what a list command has got: the array of the API, or a table.
func printList[T any](w io.Writer, f *format, list []T, columns []column[T]) error {
	if !f.isJSON() {
		return printTable(w, list, columns, f.name == "wide")
	}
	if list == nil {
		list = []T{}
	}
	return printJSON(w, list, "  ")
}

// printJSON writes v as JSON, indented for people, or on one line when indent is "".
// Characters that a terminal could act on are escaped, which changes no value.
func printJSON(w io.Writer, v any, indent string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(escapeJSON(b.Bytes()))
	return err
}

// escapeJSON escapes what cannot be printed; in JSON that is only inside of texts.
func escapeJSON(b []byte) []byte {
	var out []byte
	for _, r := range string(b) {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, hi, lo)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

// printable escapes every character that a terminal could act on, as in Go strings:
// names and messages come from targets and files.
func printable(s string) string {
	clean := true
	for _, r := range s {
		clean = clean && r != utf8.RuneError && unicode.IsPrint(r)
	}
	if clean {
		return s
	}
	var out []byte
	for i, r := range s {
		_, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			out = fmt.Appendf(out, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			out = utf8.AppendRune(out, r)
		case r < 0x80:
			out = fmt.Appendf(out, `\x%02x`, r)
		case r > 0xffff:
			out = fmt.Appendf(out, `\U%08x`, r)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return string(out)
}
