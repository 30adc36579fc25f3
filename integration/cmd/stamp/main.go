// SPDX-License-Identifier: Apache-2.0

// Command stamp runs the stamp checker by hand.
//
//	stamp run --nbd unix:/run/pathgate/nbd.sock --export vm1/root --writers 8 --seconds 10 --journal j
//	stamp run --file disk.img --seconds 5
//	stamp check --journal j disk.img
//	stamp check disk.img
//
// It exits with 0 if nothing was wrong, 1 if something was, and 2 if it could
// not find out.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"pathgate/integration/nbdclient"
	"pathgate/integration/stamp"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	good, err := dispatch(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "stamp:", err)
		os.Exit(2)
	case !good:
		os.Exit(1)
	}
}

func dispatch(ctx context.Context, args []string, out io.Writer) (good bool, err error) {
	if len(args) == 0 {
		return false, errors.New("want run or check (-h shows the flags)")
	}
	switch args[0] {
	case "run":
		return run(ctx, args[1:], out)
	case "check":
		return check(args[1:], out)
	}
	return false, fmt.Errorf("unknown command %q: want run or check", args[0])
}

func run(ctx context.Context, args []string, out io.Writer) (good bool, err error) {
	f := flag.NewFlagSet("stamp run", flag.ContinueOnError)
	var cfg stamp.Config
	nbd := f.String("nbd", "", "NBD server, unix:PATH or HOST:PORT")
	export := f.String("export", "", "NBD export name")
	conns := f.Int("connections", 1, "NBD connections; more than 1 needs a server with CAN_MULTI_CONN")
	timeout := f.Duration("timeout", time.Minute, "of one NBD request; after it the request counts as failed")
	file := f.String("file", "", "file or block device in place of NBD")
	direct := f.Bool("direct", false, "go past the page cache of this machine (O_DIRECT)")
	size := f.Int64("size", 0, "bytes to use from the start of the disk (default: at most 64 MiB)")
	seconds := f.Float64("seconds", 10, "how long to write")
	journal := f.String("journal", "", "journal file, for stamp check; outside the system under test")
	asJSON := f.Bool("json", false, "print the report as JSON")
	f.IntVar(&cfg.Writers, "writers", 8, "writers")
	f.IntVar(&cfg.Depth, "depth", 4, "requests in flight per writer")
	f.Int64Var(&cfg.Ops, "ops", 0, "stop after so many requests")
	f.IntVar(&cfg.MinIO, "min-io", 512, "smallest request and alignment in bytes")
	f.IntVar(&cfg.MaxIO, "max-io", 256<<10, "largest request in bytes")
	f.IntVar(&cfg.Reads, "reads", 40, "per cent of reads; -1 = none")
	f.IntVar(&cfg.FUA, "fua", 5, "per cent of writes with FUA")
	f.IntVar(&cfg.Flushes, "flushes", 1, "per cent of requests followed by a flush")
	f.BoolVar(&cfg.Atomic, "atomic", false, "a sector that is read in the middle of a write is torn")
	f.Uint64Var(&cfg.Seed, "seed", 1, "of the choice of requests")
	if err := f.Parse(args); err != nil {
		return false, err
	}
	targets, diskSize, closeAll, err := open(ctx, *nbd, *export, *file, *conns, *timeout, *direct)
	if err != nil {
		return false, err
	}
	defer closeAll()
	if cfg.Size = *size; cfg.Size == 0 {
		cfg.Size = min(diskSize, 64<<20) / int64(cfg.MaxIO) * int64(cfg.MaxIO)
	}
	cfg.Duration = time.Duration(*seconds * float64(time.Second))
	if *journal != "" {
		j, err := os.OpenFile(*journal, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
		if err != nil {
			return false, err
		}
		defer j.Close()
		cfg.Journal = j
	}
	c, err := stamp.New(cfg)
	if err != nil {
		return false, err
	}
	rep, err := c.Run(ctx, targets...)
	if err != nil {
		return false, err
	}
	if *asJSON {
		err = printJSON(out, rep)
	} else {
		_, err = fmt.Fprint(out, rep)
	}
	return rep.Violations == 0 && rep.Errors == 0, err
}

func open(ctx context.Context, nbd, export, file string, conns int, timeout time.Duration, direct bool) (ts []stamp.Target, size int64, closeAll func(), err error) {
	if (nbd == "") == (file == "") {
		return nil, 0, nil, errors.New("want either --nbd or --file")
	}
	var closers []io.Closer
	closeAll = func() {
		for _, c := range closers {
			c.Close()
		}
	}
	if file != "" {
		flags := os.O_RDWR
		if direct {
			flags |= syscall.O_DIRECT
		}
		f, err := os.OpenFile(file, flags, 0)
		if err != nil {
			return nil, 0, nil, err
		}
		closers = append(closers, f)
		if size, err = f.Seek(0, io.SeekEnd); err != nil { // Stat knows no size of block devices
			closeAll()
			return nil, 0, nil, err
		}
		if direct {
			return []stamp.Target{directTarget{fileTarget{f}}}, size, closeAll, nil
		}
		return []stamp.Target{fileTarget{f}}, size, closeAll, nil
	}
	for range max(conns, 1) {
		c, err := nbdclient.Connect(ctx, nbdclient.Config{Addr: nbd, Export: export, Timeout: timeout})
		if err != nil {
			closeAll()
			return nil, 0, nil, err
		}
		ts, size, closers = append(ts, c), c.Size(), append(closers, c)
	}
	return ts, size, closeAll, nil
}

func check(args []string, out io.Writer) (good bool, err error) {
	f := flag.NewFlagSet("stamp check", flag.ContinueOnError)
	journal := f.String("journal", "", "journal of the run; without it only each sector by itself is looked at")
	if err := f.Parse(args); err != nil {
		return false, err
	}
	if f.NArg() != 1 {
		return false, errors.New("want one FILE to check")
	}
	disk, err := os.Open(f.Arg(0))
	if err != nil {
		return false, err
	}
	defer disk.Close()
	if *journal == "" {
		s, err := stamp.ScanDisk(disk)
		if err != nil {
			return false, err
		}
		return len(s.List) == 0, printJSON(out, s)
	}
	j, err := os.Open(*journal)
	if err != nil {
		return false, err
	}
	defer j.Close()
	bad, err := stamp.Check(j, disk)
	if err != nil {
		return false, err
	}
	for _, v := range bad {
		fmt.Fprintln(out, v)
	}
	_, err = fmt.Fprintf(out, "%d violations\n", len(bad))
	return len(bad) == 0, err
}

func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
