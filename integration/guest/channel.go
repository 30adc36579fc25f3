// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
)

// A guest that prints without end must not take the host's memory.
const maxOutput = 64 << 20

var errTooMuch = fmt.Errorf("guest: more than %d bytes of output", maxOutput)

// Result is how a script or a command ended.
type Result struct {
	Output   string // both its standard output and error
	ExitCode int
	Boots    int // boots of the guest so far
}

// channel is the host's end of the second serial port: it takes the script's
// output apart from the protocol lines. Safe for concurrent use.
type channel struct {
	word  string // the guest's random word
	boots int    // how many are allowed
	to    io.Writer
	live  io.Writer // nil for none

	mu      sync.Mutex    // guards all below
	changed chan struct{} // closed and replaced at every change
	boot    int
	output  bytes.Buffer // of the script, over all boots
	exit    *int         // the script has ended
	command *bytes.Buffer
	results map[int]Result // of Exec, by number
	err     error          // the guest has ended or is lost
}

func newChannel(word string, boots int, to, live io.Writer) *channel {
	return &channel{
		word: word, boots: boots, to: to, live: live,
		changed: make(chan struct{}), results: map[int]Result{},
	}
}

// read takes the guest's bytes until r ends. It answers the question of each
// boot for its number. A protocol line is preceded by a newline of its own,
// which is not part of the output.
func (c *channel) read(r io.Reader) {
	br := bufio.NewReader(r)
	var held []byte // a newline that may belong to a protocol line
	for {
		line, err := br.ReadBytes('\n')
		rest, isProtocol := bytes.CutPrefix(line, []byte("@@"+c.word+" "))
		switch {
		case isProtocol && err == nil:
			held = nil
			c.protocol(strings.Fields(string(rest)))
		case len(line) > 0:
			c.print(held)
			body, newline := bytes.CutSuffix(line, []byte("\n"))
			c.print(body)
			held = nil
			if newline {
				held = []byte("\n")
			}
		}
		if err != nil {
			c.print(held)
			return
		}
	}
}

func (c *channel) print(b []byte) {
	if len(b) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	to := &c.output
	if c.command != nil {
		to = c.command
	}
	if to.Len()+len(b) > maxOutput {
		c.endLocked(errTooMuch)
		return
	}
	to.Write(b)
	if c.live != nil {
		_, _ = c.live.Write(b) // a courtesy: the output is kept anyway
	}
	c.changeLocked()
}

func (c *channel) protocol(f []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.changeLocked()
	number := func(i int) int {
		if i >= len(f) {
			c.endLocked(fmt.Errorf("guest: short protocol line %q", f))
			return -1
		}
		n, err := strconv.Atoi(f[i])
		if err != nil {
			c.endLocked(fmt.Errorf("guest: protocol line %q: %w", f, err))
		}
		return n
	}
	switch {
	case len(f) == 0:
	case f[0] == "boot":
		c.boot++
		c.exit, c.command = nil, nil
		if c.boot > c.boots {
			c.endLocked(fmt.Errorf("guest: boot number %d, and only %d were expected", c.boot, c.boots))
			return
		}
		if _, err := fmt.Fprintf(c.to, "%d\n", c.boot); err != nil {
			c.endLocked(fmt.Errorf("guest: %w", err))
		}
	case f[0] == "exit":
		code := number(1)
		c.exit = &code
	case f[0] == "begin":
		c.command = &bytes.Buffer{}
	case f[0] == "end" && c.command != nil:
		c.results[number(1)] = Result{Output: c.command.String(), ExitCode: number(2), Boots: c.boot}
		c.command = nil
	case f[0] == "fail":
		c.endLocked(errors.New("guest: " + strings.Join(f[1:], " ") + " failed in the guest"))
	}
}

// end records why the guest is no more; the first reason stays.
func (c *channel) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(err)
}

func (c *channel) endLocked(err error) {
	if c.err == nil {
		c.err = err
	}
	c.changeLocked()
}

func (c *channel) changeLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}
