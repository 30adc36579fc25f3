// SPDX-License-Identifier: Apache-2.0

// Command guest runs a script in a test guest; scripts/guest calls it.
//
//	scripts/guest run --script FILE [--module NAME]... [--program NAME]... [--drive SPEC]... [-- QEMU ARGS]
//
// The script's output goes to standard output as it comes, and the guest's exit
// status is the command's: 125 if the guest itself failed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pathgate/integration/guest"
)

// exitFailed is what the guest's own failure gives, apart from the script's.
const exitFailed = 125

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code, err := run(ctx, os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
	}
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout io.Writer) (int, error) {
	if len(args) == 0 || args[0] != "run" {
		return 2, errors.New("usage: guest run --script FILE [flags] [-- QEMU arguments]; guest run --help lists the flags")
	}
	o, err := parse(args[1:], stdout)
	if errors.Is(err, flag.ErrHelp) {
		return 0, nil
	}
	if err != nil {
		return 2, err
	}
	r, err := guest.Run(ctx, o)
	if err != nil {
		return exitFailed, err
	}
	return r.ExitCode, nil
}

func parse(args []string, stdout io.Writer) (guest.Options, error) {
	o := guest.Options{Output: stdout, Files: map[string]string{}}
	var script string
	var forwards, files list
	fs := flag.NewFlagSet("guest run", flag.ContinueOnError)
	fs.StringVar(&script, "script", "", "shell script to run inside; - is standard input")
	fs.Var((*list)(&o.Modules), "module", "kernel module to load, with all it needs (repeatable)")
	fs.Var((*list)(&o.Programs), "program", "program of this host to copy with its libraries (repeatable)")
	fs.Var(&files, "file", "GUESTPATH=FILE to copy (repeatable)")
	fs.Var((*list)(&o.Drives), "drive", "QEMU -drive argument (repeatable)")
	fs.Var(&forwards, "forward", "IP:PORT=GUESTPORT, a TCP port of this host's loopback (repeatable)")
	fs.BoolVar(&o.Network, "network", false, "give the guest a network: this host's loopback is 10.0.2.2")
	fs.IntVar(&o.Reboots, "reboots", 0, "how many more boots the script may ask for")
	fs.IntVar(&o.MemoryMB, "memory", 256, "memory in MiB")
	fs.DurationVar(&o.Timeout, "timeout", 2*time.Minute, "limit for boot and script")
	fs.StringVar(&o.Append, "append", "", "more kernel command line")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	o.Args = fs.Args()
	if script == "" {
		return o, errors.New("--script is missing")
	}
	text, err := readScript(script)
	if err != nil {
		return o, err
	}
	o.Script = text
	for _, f := range files {
		to, from, ok := strings.Cut(f, "=")
		if !ok {
			return o, fmt.Errorf("--file %q: want GUESTPATH=FILE", f)
		}
		b, err := os.ReadFile(from)
		if err != nil {
			return o, err
		}
		o.Files[to] = string(b)
	}
	for _, f := range forwards {
		host, guestPort, _ := strings.Cut(f, "=")
		n, err := strconv.ParseUint(guestPort, 10, 16)
		if err != nil {
			return o, fmt.Errorf("--forward %q: want IP:PORT=GUESTPORT: %w", f, err)
		}
		o.Forwards = append(o.Forwards, guest.Forward{Host: host, GuestPort: uint16(n)})
	}
	return o, nil
}

func readScript(name string) (string, error) {
	if name == "-" {
		b, err := io.ReadAll(os.Stdin)
		return string(b), err
	}
	b, err := os.ReadFile(name)
	return string(b), err
}
