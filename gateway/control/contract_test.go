// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pathgate/gateway/control"
)

var update = flag.Bool("update", false, "write golden files anew")

// TestFields pins the names, order and forms of all fields: every field is set to
// something, so that a new one shows up here.
func TestFields(t *testing.T) {
	for _, v := range []any{
		&control.Path{}, &control.Device{}, &control.Disk{}, &control.VM{}, &control.Event{}, &control.Version{},
		&control.DiskShare{}, &control.VMShare{}, &control.ShareLUN{}, &control.ShareChange{}, &control.VMShareChange{}, &control.LUNShareChange{},
		&control.GroupShare{}, &control.GroupShareChange{}, &control.RuleCheck{}, &control.RuleChange{},
		&control.Reservation{}, &control.ReservationPreempt{}, &control.ReservationPreempted{}, &control.Session{}, &control.Attachment{},
	} {
		name := strings.ToLower(reflect.TypeOf(v).Elem().Name())
		t.Run(name, func(t *testing.T) {
			fill(t, reflect.ValueOf(v).Elem())
			got, err := json.MarshalIndent(v, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".json", append(got, '\n'))
			back := reflect.New(reflect.TypeOf(v).Elem()).Interface()
			if err := json.Unmarshal(got, back); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(v, back); d != "" {
				t.Errorf("decode of encode differs:\n%s", d)
			}
		})
	}
}

// fill sets every field to something that is not zero.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Date(2026, 11, 22, 12, 0, 0, 5e8, time.UTC)
		return
	case *control.Attrs:
		*x = control.Attrs{{Key: "z", Value: "1"}, {Key: "a", Value: "2"}}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0))
	case reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("fence"), reflect.ValueOf(7).Convert(v.Type().Elem()))
	default:
		t.Fatalf("fill cannot do %v", v.Type())
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s differs (-want +got):\n%s", file, d)
	}
}

// ask sends one request as it is, byte for byte in its path, and gives the answer.
func ask(t *testing.T, addr, request string) (status int, header http.Header, body string) {
	t.Helper()
	c, err := net.Dial("unix", strings.TrimPrefix(addr, "unix:"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	return answer(t, c)
}

func answer(t *testing.T, c net.Conn) (status int, header http.Header, body string) {
	t.Helper()
	resp, err := readResponse(c)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

// TestAnswers is the contract of everything that is not a plain success.
func TestAnswers(t *testing.T) {
	addr, _ := serve(t, newFake(), control.Options{})
	long := strings.Repeat("x", 5000)
	for _, tt := range []struct {
		name, method, path, body string
		status                   int
		code                     control.Code
		message                  string // part of it
	}{
		{"nearest path", "GET", "/v1/paths/vmhba0:0:9", "", 404, "not_found", "path vmhba0:0:9: no such path; did you mean vmhba0:0:1?"},
		{"nearest path to disable", "POST", "/v1/paths/vmbha0:0:1/disable", "", 404, "not_found", "did you mean vmhba0:0:1?"},
		{"nothing near", "GET", "/v1/paths/something-else", "", 404, "not_found", "no such path"},
		{"nearest alias", "GET", "/v1/devices/gould", "", 404, "not_found", "device gould: no such device; did you mean gold?"},
		{"nearest disk", "GET", "/v1/disks/vm1/roto", "", 404, "not_found", "disk vm1/roto: no such disk; did you mean vm1/root?"},
		{"nearest vm", "GET", "/v1/vms/vm2", "", 404, "not_found", "vm vm2: no such vm; did you mean vm1?"},
		{"long name", "GET", "/v1/vms/" + long, "", 404, "not_found", "xxx...: no such vm"},
		{"no such thing", "GET", "/v1/nothing", "", 404, "not_found", `there is nothing at "/v1/nothing"`},
		{"root", "GET", "/", "", 404, "not_found", "the API begins with /v1/"},
		{"half a disk", "GET", "/v1/disks/vm1", "", 404, "not_found", ""},
		{"other version", "GET", "/v2/paths", "", 404, "not_found", ""},
		{"post to a list", "POST", "/v1/paths", "", 405, "method_not_allowed", "only GET, HEAD"},
		{"get of an action", "GET", "/v1/paths/vmhba0:0:1/disable", "", 405, "method_not_allowed", "only POST"},
		{"delete", "DELETE", "/v1/paths/vmhba0:0:1", "", 405, "method_not_allowed", ""},
		{"dots", "GET", "/v1/paths/../../etc/passwd", "", 400, "bad_request", "of dots"},
		{"encoded dots", "GET", "/v1/paths/%2e%2e/version", "", 400, "bad_request", "of dots"},
		{"dots and slash in one part", "GET", "/v1/devices/..%2fversion", "", 400, "bad_request", "of dots"},
		{"one dot", "GET", "/v1/./paths", "", 400, "bad_request", ""},
		{"empty part", "GET", "/v1//paths", "", 400, "bad_request", ""},
		{"slash at the end", "GET", "/v1/paths/", "", 400, "bad_request", ""},
		{"body too large", "POST", "/v1/paths/vmhba0:0:1/disable", long, 413, "too_large", "at most 4096"},
		{"body of a get too large", "GET", "/v1/paths", long, 413, "too_large", ""},
		{"body no json", "POST", "/v1/paths/vmhba0:0:1/disable", "force", 400, "bad_request", "the body is not"},
		{"unknown field", "POST", "/v1/paths/vmhba0:0:1/disable", `{"farce":true}`, 400, "bad_request", "farce"},
		{"two values", "POST", "/v1/paths/vmhba0:0:1/disable", `{}{}`, 400, "bad_request", "more than one"},
		{"wrong type", "POST", "/v1/paths/vmhba0:0:1/disable", `{"force":"yes"}`, 400, "bad_request", ""},
		{"nearest share", "GET", "/v1/shares/vm1/roto", "", 404, "not_found", "disk vm1/roto: no such disk; did you mean vm1/root?"},
		{"nearest share of a vm", "PATCH", "/v1/shares/vm2", `{"priority":1}`, 404, "not_found", "did you mean vm1?"},
		{"nearest scheduler", "DELETE", "/v1/share-luns/gould", "", 404, "not_found", "lun gould: no such lun; did you mean gold?"},
		{"a change of nothing", "PATCH", "/v1/shares/vm1/root", `{}`, 400, "bad_request", "sets nothing"},
		{"a change without a body", "PATCH", "/v1/share-luns/gold", "", 400, "bad_request", "sets nothing"},
		{"a change of another object", "PATCH", "/v1/shares/vm1/root", `{"priority":1}`, 400, "bad_request", "priority"},
		{"a value of another type", "PATCH", "/v1/shares/vm1/root", `{"shares":"many"}`, 400, "bad_request", "shares"},
		{"a part of a number", "PATCH", "/v1/shares/vm1/root", `{"shares":1.5}`, 400, "bad_request", "shares"},
		{"a value out of range", "PATCH", "/v1/shares/vm1/root", `{"shares":-1}`, 400, "bad_request", "disk vm1/root: shares -1"},
		{"put a share", "PUT", "/v1/shares/vm1/root", `{"shares":1}`, 405, "method_not_allowed", "only DELETE, GET, HEAD, PATCH"},
		{"a resize to nothing", "POST", "/v1/disks/vm1/root/resize", "", 400, "bad_request", "size is missing"},
		{"a resize to less", "POST", "/v1/disks/vm1/root/resize", `{"size":-1}`, 400, "bad_request", "size"},
		{"a resize to too much", "POST", "/v1/disks/vm1/root/resize", `{"size":18446744073709551616}`, 400, "bad_request", "size"},
		{"a resize with a unit", "POST", "/v1/disks/vm1/root/resize", `{"size":"1GiB"}`, 400, "bad_request", "size"},
		{"a resize of what never grows", "POST", "/v1/disks/vm1/root/resize", `{"size":512}`, 404, "not_found", "no disks that grow"},
		{"explain nothing", "GET", "/v1/explain?of=vm7", "", 404, "not_found", "vm, disk or lun vm7: no such vm, disk or lun; did you mean vm1?"},
		{"explain none", "GET", "/v1/explain?last=0", "", 400, "bad_request", "from 1 to"},
		{"explain twice", "GET", "/v1/explain?of=vm1&of=vm1", "", 400, "bad_request", "twice"},
		{"explain unknown parameter", "GET", "/v1/explain?since=1", "", 400, "bad_request", "since"},
		{"events from text", "GET", "/v1/events?from=abc", "", 400, "bad_request", "from"},
		{"events from minus", "GET", "/v1/events?from=-1", "", 400, "bad_request", "from"},
		{"events from and last", "GET", "/v1/events?from=1&last=1", "", 400, "bad_request", "exclude"},
		{"events twice from", "GET", "/v1/events?from=1&from=2", "", 400, "bad_request", "from"},
		{"events unknown parameter", "GET", "/v1/events?form=1", "", 400, "bad_request", "form"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			request := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", tt.method, tt.path, len(tt.body), tt.body)
			status, header, body := ask(t, addr, request)
			var e struct{ Error *control.Error }
			if err := json.Unmarshal([]byte(body), &e); err != nil || e.Error == nil {
				t.Fatalf("status %d, not an error in JSON: %q", status, body)
			}
			if status != tt.status || e.Error.Code != tt.code || !strings.Contains(e.Error.Message, tt.message) {
				t.Errorf("got %d %s %q, want %d %s %q", status, e.Error.Code, e.Error.Message, tt.status, tt.code, tt.message)
			}
			if strings.ContainsAny(e.Error.Message, "\r\n") || len(e.Error.Message) > 400 {
				t.Errorf("not one short line: %q", e.Error.Message)
			}
			if allow := header.Get("Allow"); (status == 405) != (allow != "") {
				t.Errorf("status %d with Allow %q", status, allow)
			}
		})
	}
}

func TestListsAreArrays(t *testing.T) {
	src := &fake{fakeShares: fakeShares{none: true}, wake: make(chan struct{}), first: 1}
	addr, _ := serve(t, src, control.Options{})
	for _, list := range []string{"paths", "devices", "disks", "vms", "events", "shares", "share-luns", "share-groups", "explain"} {
		status, header, body := ask(t, addr, "GET /v1/"+list+" HTTP/1.1\r\nHost: x\r\n\r\n")
		if status != 200 || strings.TrimSpace(body) != "[]" || header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %q %v, want an empty array", list, status, body, header)
		}
	}
}

// TestManyPaths: a list larger than any buffer comes whole, and begins at once.
func TestManyPaths(t *testing.T) {
	src := newFake()
	first := src.paths[0]
	src.paths = nil
	for i := range 10_000 {
		first.Name = fmt.Sprintf("vmhba0:%d:1", i)
		src.paths = append(src.paths, first)
	}
	addr, _ := serve(t, src, control.Options{})
	paths, err := dial(t, addr).Paths(t.Context())
	if err != nil || len(paths) != 10_000 || paths[9999].Name != "vmhba0:9999:1" {
		t.Errorf("got %d paths, %v", len(paths), err)
	}
}

func TestHead(t *testing.T) {
	addr, _ := serve(t, newFake(), control.Options{})
	_, header, body := ask(t, addr, "HEAD /v1/events?follow=true HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if body != "" || header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("HEAD: %v %q", header, body)
	}
}

// TestBlockedSource: one request that hangs in the gateway holds up no other.
func TestBlockedSource(t *testing.T) {
	src := &blocked{fake: newFake(), entered: make(chan struct{}), release: make(chan struct{})}
	addr, stop := serve(t, src, control.Options{})
	c := dial(t, addr)
	done := make(chan error, 1)
	go func() {
		_, err := c.DisablePath(context.Background(), "vmhba0:0:1", false)
		done <- err
	}()
	<-src.entered
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := c.Paths(ctx); err != nil {
		t.Errorf("while another request hangs: %v", err)
	}
	close(src.release)
	if err := <-done; err != nil {
		t.Errorf("the request that hung: %v", err)
	}
	stop()
}

// blocked is a Source whose changes take until release is closed.
type blocked struct {
	*fake
	entered, release chan struct{}
}

func (b *blocked) SetPathEnabled(name string, enabled bool) error {
	close(b.entered)
	<-b.release
	return b.fake.SetPathEnabled(name, enabled)
}
