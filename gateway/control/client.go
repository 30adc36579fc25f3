// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// requestTimeout bounds a request whose context has no deadline.
	requestTimeout = 10 * time.Second
	// maxAnswer bounds what is taken from a server, in bytes.
	maxAnswer = 256 << 20
)

// Client talks to a running gateway. Safe for concurrent use.
//
// A refusal by the gateway is an *Error. When no gateway answers, the error is
// ErrUnreachable. A context without deadline gets one of 10 s, but for Events.
type Client struct {
	addr, path string
	http       *http.Client
	idle       time.Duration // a silent event stream is given up after it
}

// Dial makes a client for the gateway at "unix:/absolute/path". It connects with the
// first request, and again when it must.
func Dial(addr string) (*Client, error) {
	path, ok := strings.CutPrefix(addr, "unix:")
	if !ok || !filepath.IsAbs(path) {
		return nil, fmt.Errorf("control address %q: not of the form unix:/absolute/path", addr)
	}
	if len(path) > maxSocketPath || strings.ContainsRune(path, 0) {
		return nil, fmt.Errorf("control address %q: not the path of a socket (at most %d bytes)", shorten(addr), maxSocketPath)
	}
	c := &Client{addr: addr, path: path, idle: 45 * time.Second}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "unix", path)
			},
			DisableCompression: true,
			MaxIdleConns:       1,
			IdleConnTimeout:    10 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Close ends connections that are idle. Twice is safe.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Version asks what runs there.
func (c *Client) Version(ctx context.Context) (v Version, err error) {
	return v, c.get(ctx, &v, "version")
}

// Paths gives all paths.
func (c *Client) Paths(ctx context.Context) (list []Path, err error) {
	return list, c.get(ctx, &list, "paths")
}

// Path gives one path.
func (c *Client) Path(ctx context.Context, name string) (p Path, err error) {
	return p, c.get(ctx, &p, "paths", name)
}

// Devices gives all devices.
func (c *Client) Devices(ctx context.Context) (list []Device, err error) {
	return list, c.get(ctx, &list, "devices")
}

// Device gives the device with a canonical name, alias or identity.
func (c *Client) Device(ctx context.Context, name string) (d Device, err error) {
	return d, c.get(ctx, &d, "devices", name)
}

// Disks gives all disks.
func (c *Client) Disks(ctx context.Context) (list []Disk, err error) {
	return list, c.get(ctx, &list, "disks")
}

// Disk gives the disk of a full name, "vm1/root".
func (c *Client) Disk(ctx context.Context, name string) (d Disk, err error) {
	vm, disk, ok := strings.Cut(name, "/")
	if !ok {
		return d, &Error{CodeNotFound, fmt.Sprintf("disk %s: a name is VM/DISK", shorten(name))}
	}
	return d, c.get(ctx, &d, "disks", vm, disk)
}

// VMs gives all VMs.
func (c *Client) VMs(ctx context.Context) (list []VM, err error) {
	return list, c.get(ctx, &list, "vms")
}

// VM gives one VM.
func (c *Client) VM(ctx context.Context, name string) (v VM, err error) {
	return v, c.get(ctx, &v, "vms", name)
}

// EnablePath lets a path be used again and gives it as it is then.
func (c *Client) EnablePath(ctx context.Context, name string) (p Path, err error) {
	return p, c.call(ctx, http.MethodPost, &p, nil, "paths", name, "enable")
}

// DisablePath takes a path out of use and gives it as it is then. The last usable
// path of a device is refused (CodeConflict) unless force is set.
func (c *Client) DisablePath(ctx context.Context, name string, force bool) (p Path, err error) {
	return p, c.call(ctx, http.MethodPost, &p, changeBody{Force: force}, "paths", name, "disable")
}

func (c *Client) get(ctx context.Context, answer any, parts ...string) error {
	return c.call(ctx, http.MethodGet, answer, nil, parts...)
}

// call sends a request for the object that parts name, and decodes the answer.
func (c *Client) call(ctx context.Context, method string, answer, body any, parts ...string) error {
	for _, p := range parts[1:] {
		if p == "" || p == "." || p == ".." { // not a part of a URL, nor a name
			kind := strings.TrimSuffix(parts[0], "s")
			return &Error{CodeNotFound, fmt.Sprintf("%s %q: no such %s", kind, p, kind)}
		}
	}
	var send io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		send = strings.NewReader(string(b))
	}
	return c.exchange(ctx, method, address(parts...), answer, send)
}

// exchange sends a request to an address, and decodes the answer.
func (c *Client) exchange(ctx context.Context, method, to string, answer any, send io.Reader) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, requestTimeout)
		defer cancel()
	}
	r, err := http.NewRequestWithContext(ctx, method, to, send)
	if err != nil {
		return err
	}
	resp, err := c.do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(answer); err != nil {
		return fmt.Errorf("answer of the gateway at %s: %w", c.addr, err)
	}
	return nil
}

// address gives the URL of an object; the host is not used.
func address(parts ...string) string {
	u := "http://pathgate/" + APIVersion
	for _, p := range parts {
		u += "/" + url.PathEscape(p)
	}
	return u
}

// do sends r; an answer that is not a success becomes an error. The caller closes the
// body.
func (c *Client) do(r *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(r)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the made-up URL
		}
		return nil, c.explain(r.Context(), err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	var body errorBody
	err = json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&body)
	if err != nil || body.Error == nil {
		return nil, fmt.Errorf("the gateway at %s answered %s", c.addr, resp.Status)
	}
	return nil, body.Error
}

// explain tells why nothing answered.
func (c *Client) explain(ctx context.Context, err error) error {
	var why string
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case errors.Is(err, fs.ErrNotExist):
		why = "there is no such socket"
	case errors.Is(err, syscall.ECONNREFUSED):
		why = "the socket is there, but nobody listens"
	case errors.Is(err, fs.ErrPermission):
		why = "permission denied"
	case errors.Is(err, context.DeadlineExceeded):
		why = "no answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		why = "the connection was closed without an answer"
	default:
		why = err.Error()
	}
	return fmt.Errorf("%w at %s: %s", ErrUnreachable, c.addr, why)
}
