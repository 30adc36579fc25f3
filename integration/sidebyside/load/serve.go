// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// Serve loads the devices, each given by a name and its file, and answers on ln until
// ctx ends: to "mark" and "report", a line each, with the reports of all devices by
// name. "mark" gives what was before it.
func Serve(ctx context.Context, ln net.Listener, files map[string]string) error {
	return serve(ctx, ln, files, syscall.O_DIRECT)
}

func serve(ctx context.Context, ln net.Listener, files map[string]string, flags int) error {
	devices := map[string]*device{}
	for name, file := range files {
		d, err := open(file, flags)
		if err != nil {
			return err
		}
		defer d.file.Close()
		devices[name] = d
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, d := range devices {
		wg.Go(func() { d.run(ctx) })
	}
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	for {
		c, err := ln.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		wg.Go(func() {
			defer context.AfterFunc(ctx, func() { c.Close() })()
			defer c.Close()
			answer(c, devices)
		})
	}
}

// answer serves one connection until its end; an error of it is its end.
func answer(c net.Conn, devices map[string]*device) {
	enc := json.NewEncoder(c)
	for sc := bufio.NewScanner(c); sc.Scan(); {
		now, reports := time.Now(), map[string]Report{}
		for name, d := range devices {
			reports[name] = d.meter.Report(now)
			if sc.Text() == "mark" {
				d.meter.Mark(now)
			}
		}
		if enc.Encode(reports) != nil {
			return
		}
	}
}

// Client asks a load. Not safe for concurrent use.
type Client struct {
	conn net.Conn
	dec  *json.Decoder
}

// Dial connects to a load; Close ends it.
func Dial(ctx context.Context, addr string) (*Client, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &Client{conn: c, dec: json.NewDecoder(c)}, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Mark begins a new time to be reported of, and gives the report of the one before.
func (c *Client) Mark() (map[string]Report, error) { return c.ask("mark") }

// Report gives the report since the last mark of anybody.
func (c *Client) Report() (map[string]Report, error) { return c.ask("report") }

func (c *Client) ask(word string) (reports map[string]Report, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return nil, err
	}
	if _, err = fmt.Fprintln(c.conn, word); err == nil {
		err = c.dec.Decode(&reports)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the load: %w", err)
	}
	return reports, nil
}
