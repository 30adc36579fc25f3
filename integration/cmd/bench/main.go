// SPDX-License-Identifier: Apache-2.0

// Command bench compares pathgate with qemu-nbd, nbdkit, go-nbd, tgtd and gotgt, and
// writes the report as Markdown. scripts/bench builds what it needs.
//
//	bench --pathgate bin/pathgate --out docs/bench.md
//	bench --rounds 1 --seconds 1 --out -      only shows that all can be measured
//	bench --only 'depth 32' --skip memory,qemu-img
//
// It exits with 1 when a figure could not be measured; nothing is written then.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"pathgate/integration/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// The words that make this program a server on memory, in a process of its own:
// of the front-end figures, of those of the scheduler, and that of go-nbd.
const (
	serveMemory    = "serve-memory"
	serveScheduled = "serve-scheduled"
	serveGoNBD     = "serve-go-nbd"
)

var servers = map[string]func(ctx context.Context, socket string, size uint64) error{
	serveMemory: bench.ServeMemory, serveScheduled: bench.ServeScheduled, serveGoNBD: bench.ServeGoNBD,
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	if len(args) > 0 && args[0] == bench.GotgtCommand {
		return bench.ServeGotgt(args[1:])
	}
	if len(args) == 3 && servers[args[0]] != nil {
		size, err := strconv.ParseUint(args[2], 10, 64)
		if err != nil {
			return err
		}
		return servers[args[0]](ctx, args[1], size)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	o := bench.Options{
		Memory: []string{self, serveMemory}, Scheduled: []string{self, serveScheduled}, GoNBD: []string{self, serveGoNBD},
		Log: progress,
	}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(progress)
	f.StringVar(&o.Pathgate, "pathgate", "bin/pathgate", "the `program` to measure")
	f.IntVar(&o.Rounds, "rounds", 5, "how often everything is measured")
	f.Float64Var(&o.Seconds, "seconds", 2, "of each measurement")
	f.Uint64Var(&o.Seed, "seed", 1, "of offsets and of the order of contenders")
	f.IntVar(&o.Idle, "idle", 1000, "idle connections of the memory figure; 0: none")
	f.StringVar(&o.Only, "only", "", "measure jobs whose name contains this `text`")
	skip := f.String("skip", "", "comma-separated `list` of fio, qemu-img, iscsi-perf, structured, simple, extended, target, memory, iscsi, scheduler, paths")
	path := f.String("out", "docs/bench.md", "`file` of the report; -: standard output only")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 1 {
		return fmt.Errorf("unexpected argument %q", f.Arg(1))
	}
	if f.NArg() == 1 {
		*path = f.Arg(0)
	}
	if *skip != "" {
		o.Skip = strings.Split(*skip, ",")
	}
	report, err := bench.Run(ctx, o)
	if err != nil {
		return err
	}
	text := report.Markdown()
	if _, err := io.WriteString(out, text); err != nil {
		return err
	}
	if *path == "-" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(*path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(*path, []byte(text), 0o644)
}
