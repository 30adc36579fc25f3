// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"pathgate/gateway"
)

// knob is a flag that sets a field of a change; the field stays nil without it.
// Ranges are the gateway's to check: it knows the rest of the settings.
type knob[T any] struct {
	into  **T
	parse func(string) (T, error)
	kind  string
	text  string
}

// String, Set and Type make it a flag value.
func (k *knob[T]) String() string { return k.text }
func (k *knob[T]) Type() string   { return k.kind }
func (k *knob[T]) Set(s string) error {
	v, err := k.parse(s)
	if err != nil {
		return err
	}
	*k.into, k.text = &v, s
	return nil
}

// knobs adds flags to a command.
type knobs struct{ *cobra.Command }

func addKnob[T any](f knobs, into **T, name, kind, usage string, parse func(string) (T, error)) {
	f.Flags().Var(&knob[T]{into: into, parse: parse, kind: kind}, name, usage)
}

// number is a whole number; words stand for 0.
func (f knobs) number(into **int64, name, usage string, words ...string) {
	addKnob(f, into, name, "n", usage, orZero(words, func(s string) (int64, error) {
		n, err := strconv.ParseInt(s, 10, 64)
		switch {
		case errors.Is(err, strconv.ErrRange):
			return 0, errors.New("is too large")
		case err != nil:
			return 0, errors.New("is not a whole number")
		}
		return n, nil
	}))
}

func (f knobs) fraction(into **float64, name, usage string) {
	addKnob(f, into, name, "f", usage, func(s string) (float64, error) {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || v-v != 0 { // infinite, or not a number
			return 0, errors.New("is not a number")
		}
		return v, nil
	})
}

func (f knobs) shares(into **int64) {
	addKnob(f, into, "shares", "n", "relative weight, `n` or low (500), normal (1000), high (2000)", func(s string) (int64, error) {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n, nil // what is out of range is the gateway's to refuse, with the rule
		}
		n, err := gateway.ParseShares(s)
		return int64(n), err
	})
}

// bandwidth is a number of bytes per second.
func (f knobs) bandwidth(into **int64, name, usage string) {
	addKnob(f, into, name, "rate", usage, orZero([]string{"none"}, func(s string) (int64, error) {
		n, err := gateway.ParseByteRate(s)
		if err != nil {
			return 0, fmt.Errorf("%w such as 100MB/s or 64MiB/s", err)
		}
		return n, nil
	}))
}

// size is a number of bytes.
func (f knobs) size(into **int64, name, usage string, words ...string) {
	addKnob(f, into, name, "size", usage, orZero(words, func(s string) (int64, error) {
		n, err := gateway.ParseSize(s)
		return int64(n), err
	}))
}

// duration is a time, told in the given unit.
func (f knobs) duration(into **int64, unit time.Duration, name, usage string, words ...string) {
	addKnob(f, into, name, "time", usage, orZero(words, func(s string) (int64, error) {
		d, err := time.ParseDuration(s)
		switch {
		case err != nil:
			return 0, errors.New("is not a time such as 250ms")
		case d%unit != 0:
			return 0, errors.New("is not a whole number of " + map[time.Duration]string{time.Microsecond: "us", time.Millisecond: "ms"}[unit])
		}
		return int64(d / unit), nil
	}))
}

func (f knobs) word(into **string, name, usage string) {
	addKnob(f, into, name, "word", usage, func(s string) (string, error) { return s, nil })
}

func orZero(words []string, parse func(string) (int64, error)) func(string) (int64, error) {
	return func(s string) (int64, error) {
		for _, w := range words {
			if s == w {
				return 0, nil
			}
		}
		return parse(s)
	}
}
