// SPDX-License-Identifier: Apache-2.0

// Command faultproxy puts a fault proxy on one path and takes orders, one per
// line, on standard input and on a unix socket.
//
//	faultproxy --listen 127.0.0.1:13270 --target 127.0.0.1:13260 --control /tmp/path1.sock
//
//	set black-hole
//	set hold dir=to-target opcode=data-out at=half
//	clear [KIND...]      all, or the named kinds
//	reset                reset every connection
//	counters             what has happened, as JSON
//	help                 the kinds of fault and their keys
//
// Each order is answered with lines and then "ok", or with "error: ...".
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"pathgate/integration/proxy"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "faultproxy:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	f := flag.NewFlagSet("faultproxy", flag.ContinueOnError)
	listen := f.String("listen", "127.0.0.1:0", "address to listen on")
	target := f.String("target", "", "address of the target")
	raw := f.Bool("raw", false, "forward bytes without looking for iSCSI PDUs")
	seed := f.Uint64("seed", 1, "of random choices")
	control := f.String("control", "", "unix socket that takes orders")
	if err := f.Parse(args); err != nil {
		return err
	}
	opts := proxy.Options{Listen: *listen, Target: *target, Seed: *seed, Protocol: proxy.ISCSI}
	if *raw {
		opts.Protocol = proxy.Raw
	}
	p, err := proxy.New(ctx, opts)
	if err != nil {
		return err
	}
	defer p.Close()
	var run sync.WaitGroup
	defer run.Wait()
	if *control != "" {
		ln, err := net.Listen("unix", *control)
		if err != nil {
			return err
		}
		context.AfterFunc(ctx, func() { ln.Close() })
		run.Go(func() { serve(ctx, p, ln) })
	}
	fmt.Fprintf(out, "listening on %s for %s\n", p.Addr(), *target)
	// Not waited for: a read of standard input cannot be taken back.
	go orders(p, in, out)
	<-ctx.Done()
	return nil
}

func serve(ctx context.Context, p *proxy.Proxy, ln net.Listener) {
	var run sync.WaitGroup
	defer run.Wait()
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		run.Go(func() {
			defer c.Close()
			defer context.AfterFunc(ctx, func() { c.Close() })()
			orders(p, c, c)
		})
	}
}

func orders(p *proxy.Proxy, in io.Reader, out io.Writer) {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		text := strings.TrimSpace(lines.Text())
		if text == "" {
			continue
		}
		if err := order(p, text, out); err != nil {
			fmt.Fprintln(out, "error:", err)
			continue
		}
		fmt.Fprintln(out, "ok")
	}
}

const help = `kinds: delay rate hold duplicate reset half-close corrupt black-hole drop refuse hang
keys:  dir=both|to-target|to-client conn=N delay=10ms jitter=1ms rate=BYTES_PER_SECOND
       mean=BYTES part=data|header repair=yes same-conn=yes
start: bytes=N, or opcode=NAME[,NAME] write=yes nth=N at=BYTE|half repeat=yes`

func order(p *proxy.Proxy, text string, out io.Writer) error {
	verb, rest, _ := strings.Cut(text, " ")
	switch verb {
	case "set":
		f, err := proxy.ParseFault(rest)
		if err != nil {
			return err
		}
		return p.Set(f)
	case "clear":
		var kinds []proxy.Kind
		for _, w := range strings.Fields(rest) {
			k, err := proxy.ParseKind(w)
			if err != nil {
				return err
			}
			kinds = append(kinds, k)
		}
		p.Clear(kinds...)
	case "reset":
		fmt.Fprintln(out, p.ResetConns(), "connections")
	case "counters":
		fmt.Fprintln(out, p.Counters())
	case "help":
		fmt.Fprintln(out, help)
	default:
		return fmt.Errorf("unknown order %q; try help", verb)
	}
	return nil
}
