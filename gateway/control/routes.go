// SPDX-License-Identifier: Apache-2.0

package control

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
)

// handler answers one request. An error that is not an *Error is internal. After it
// has written anything it returns nil.
type handler func(w http.ResponseWriter, r *http.Request) error

// routes is the table of the API.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	type methods map[string]handler
	for path, m := range map[string]methods{
		"/v1/version":                     {"GET": s.getVersion},
		"/v1/paths":                       {"GET": s.listPaths},
		"/v1/paths/{name}":                {"GET": s.getPath},
		"/v1/paths/{name}/disable":        {"POST": s.disablePath},
		"/v1/paths/{name}/enable":         {"POST": s.enablePath},
		"/v1/devices":                     {"GET": s.listDevices},
		"/v1/devices/{name}/switch-group": {"POST": s.switchGroup},
		"/v1/devices/{name}":              {"GET": s.getDevice},
		"/v1/disks":                       {"GET": s.listDisks},
		"/v1/disks/{vm}/{disk}":           {"GET": s.getDisk},
		"/v1/disks/{vm}/{disk}/release":   {"POST": s.releaseDisk},
		"/v1/disks/{vm}/{disk}/resize":    {"POST": s.resizeDisk},
		"/v1/vms":                         {"GET": s.listVMs},
		"/v1/vms/{name}":                  {"GET": s.getVM},
		"/v1/vms/{name}/attachment":       {"GET": s.getAttachment},
		"/v1/sessions":                    {"GET": s.listSessions},
		"/v1/events":                      {"GET": s.getEvents},
		"/v1/shares":                      {"GET": s.withShares(s.listShares)},
		"/v1/shares/{vm}":                 {"GET": s.withShares(s.getVMShare), "PATCH": s.withShares(s.setVMShare), "DELETE": s.withShares(s.resetVMShare)},
		"/v1/shares/{vm}/{disk}":          {"GET": s.withShares(s.getDiskShare), "PATCH": s.withShares(s.setDiskShare), "DELETE": s.withShares(s.resetDiskShare)},
		"/v1/share-luns":                  {"GET": s.withShares(s.listShareLUNs)},
		"/v1/share-luns/{name}":           {"GET": s.withShares(s.getShareLUN), "PATCH": s.withShares(s.setShareLUN), "DELETE": s.withShares(s.resetShareLUN)},
		"/v1/share-groups":                {"GET": s.withShares(s.listShareGroups)},
		"/v1/share-groups/{name}":         {"GET": s.withShares(s.getShareGroup), "PATCH": s.withShares(s.setShareGroup), "DELETE": s.withShares(s.resetShareGroup)},
		"/v1/reservations":                {"GET": s.withReservations(listReservations)},
		"/v1/reservations/{name}":         {"GET": s.withReservations(getReservation)},
		"/v1/reservations/{name}/preempt": {"POST": s.withReservations(s.preemptReservation)},
		"/v1/rules":                       {"GET": s.withRules(listRules), "POST": s.withRules(s.addRule)},
		"/v1/rules/{number}":              {"DELETE": s.withRules(s.removeRule)},
		"/v1/rule-check":                  {"GET": s.withRules(checkRules)},
		"/v1/masked-paths":                {"GET": s.withRules(listMaskedPaths)},
		"/v1/aliases/{name}":              {"PUT": s.withAliases(s.setAlias), "DELETE": s.withAliases(s.removeAlias)},
		"/v1/explain":                     {"GET": s.withShares(s.getExplain)},
		"/v1/devices/{name}/selector":     {"PATCH": s.setSelector, "DELETE": s.resetSelector},

		"/v1/devices/{name}/suspend":  {"POST": s.withSuspend(s.suspendDevice)},
		"/v1/devices/{name}/resume":   {"POST": s.withSuspend(s.resumeDevice)},
		"/v1/devices/{name}/queueing": {"POST": s.withSuspend(s.setQueueing)},

		"/v1/paths/{name}/fail":      {"POST": s.withOperator(s.failPath)},
		"/v1/paths/{name}/reinstate": {"POST": s.withOperator(s.reinstatePath)},
		"/v1/rescan":                 {"GET": s.withOperator(s.getRescan), "POST": s.withOperator(s.startRescan)},
		"/v1/simulate":               {"GET": s.withOperator(s.getSimulate)},
		"/v1/topology":               {"GET": s.getTopology},
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			s.serve(w, r, byMethod(m))
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.serve(w, r, func(http.ResponseWriter, *http.Request) error {
			return &Error{CodeNotFound, fmt.Sprintf("there is nothing at %q; the API begins with /v1/", shorten(r.URL.Path))}
		})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.check(r); err != nil {
			s.fail(w, r, err)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, s.opt.MaxBody)
		mux.ServeHTTP(w, r)
	})
}

// check refuses what the table must not see: the mux would answer a path with ".."
// by a redirection to another one.
func (s *Server) check(r *http.Request) *Error {
	if r.ContentLength > s.opt.MaxBody {
		return &Error{CodeTooLarge, fmt.Sprintf("the body has %d bytes; at most %d are taken", r.ContentLength, s.opt.MaxBody)}
	}
	if !strings.HasPrefix(r.URL.Path, "/") { // such as "*"
		return &Error{CodeBadRequest, fmt.Sprintf("%q is not a path", shorten(r.URL.Path))}
	}
	empty := func(part string) bool { return part == "" } // a part may begin with an encoded slash
	dots := func(part string) bool { return part == "." || part == ".." }
	if len(r.URL.Path) > 1 && slices.ContainsFunc(strings.Split(r.URL.EscapedPath(), "/")[1:], empty) ||
		slices.ContainsFunc(strings.Split(r.URL.Path, "/"), dots) {
		return &Error{CodeBadRequest, fmt.Sprintf("the path %q has an empty part or one of dots", shorten(r.URL.Path))}
	}
	return nil
}

// withShares refuses what a Source without shares cannot do.
func (s *Server) withShares(h handler) handler {
	if s.shares != nil {
		return h
	}
	return func(http.ResponseWriter, *http.Request) error {
		return &Error{CodeNotFound, "this gateway has no share scheduler"}
	}
}

func byMethod(m map[string]handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		if h := m[method]; h != nil {
			return h(w, r)
		}
		var allowed []string
		for k := range m {
			if allowed = append(allowed, k); k == http.MethodGet {
				allowed = append(allowed, http.MethodHead)
			}
		}
		slices.Sort(allowed)
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		return &Error{CodeMethod, fmt.Sprintf("%s is not possible for %s, only %s", shorten(r.Method), shorten(r.URL.Path), strings.Join(allowed, ", "))}
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, h handler) {
	if err := h(w, r); err != nil {
		s.fail(w, r, err)
	}
}

// fail answers with err.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = &Error{CodeInternal, err.Error()}
		s.opt.Log.Warn("control request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	if e.Code == CodeTooLarge || e.Code == CodeTimeout {
		w.Header().Set("Connection", "close") // there is more of the body to come
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(codeStatus[e.Code])
	_ = json.NewEncoder(w).Encode(errorBody{e}) // a client that has gone needs no answer
}

// shorten keeps what a client sends out of proportion in messages.
func shorten(s string) string {
	const limit = 128
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "") + "..."
	}
	return s
}

// writeJSON answers with one object.
func writeJSON(w http.ResponseWriter, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(b, '\n'))
	return nil
}

// writeList answers with an array, one element at a time, so that the first bytes of
// a long list are there at once. A list that breaks off is not valid JSON.
func writeList[T any](w http.ResponseWriter, list []T) error {
	w.Header().Set("Content-Type", "application/json")
	b := bufio.NewWriterSize(w, 16<<10)
	sep := "["
	for _, v := range list {
		one, err := json.Marshal(v)
		if err != nil {
			return nil
		}
		_, _ = b.WriteString(sep)
		if _, err := b.Write(one); err != nil {
			return nil // the client has gone
		}
		sep = ",\n"
	}
	if len(list) == 0 {
		_, _ = b.WriteString("[")
	}
	_, _ = b.WriteString("]\n")
	_ = b.Flush()
	return nil
}

// readBody decodes a body that may be left out.
func readBody(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, err = d.Token(); err == nil {
			return &Error{CodeBadRequest, "the body has more than one JSON value"}
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &Error{CodeTooLarge, fmt.Sprintf("the body is too large; at most %d bytes are taken", e.Limit)}
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return &Error{CodeTimeout, "the body did not come in time"}
	}
	return &Error{CodeBadRequest, fmt.Sprintf("the body is not what is expected: %v", err)}
}
