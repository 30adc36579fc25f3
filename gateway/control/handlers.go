// SPDX-License-Identifier: Apache-2.0

package control

import (
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
)

func (s *Server) getVersion(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, s.version())
}

func (s *Server) listPaths(w http.ResponseWriter, _ *http.Request) error {
	return writeList(w, s.src.Paths())
}

func (s *Server) listDevices(w http.ResponseWriter, _ *http.Request) error {
	return writeList(w, s.src.Devices())
}

func (s *Server) listDisks(w http.ResponseWriter, _ *http.Request) error {
	return writeList(w, s.src.Disks())
}

func (s *Server) listVMs(w http.ResponseWriter, _ *http.Request) error {
	return writeList(w, s.src.VMs())
}

func (s *Server) getPath(w http.ResponseWriter, r *http.Request) error {
	p, _, err := s.path(r.PathValue("name"))
	if err != nil {
		return err
	}
	if s.operator != nil {
		p.History = s.operator.PathHistory(p.Name)
	}
	return writeJSON(w, p)
}

func (s *Server) getDevice(w http.ResponseWriter, r *http.Request) error {
	d, err := s.device(r.PathValue("name"))
	if err != nil {
		return err
	}
	d.History = s.history(d.Name)
	return writeJSON(w, d)
}

func (s *Server) device(name string) (Device, error) { return findDevice(s.src.Devices(), name) }

func (s *Server) getDisk(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("vm") + "/" + r.PathValue("disk")
	d, err := find("disk", name, s.src.Disks(), func(d Disk) []string { return []string{d.Name} })
	if err != nil {
		return err
	}
	return writeJSON(w, d)
}

func (s *Server) getVM(w http.ResponseWriter, r *http.Request) error {
	vm, err := find("vm", r.PathValue("name"), s.src.VMs(), func(v VM) []string { return []string{v.Name} })
	if err != nil {
		return err
	}
	return writeJSON(w, vm)
}

func (s *Server) path(name string) (p Path, all []Path, err error) {
	all = s.src.Paths()
	p, err = find("path", name, all, func(p Path) []string { return []string{p.Name} })
	return p, all, err
}

// find gives the object with one of its names, or an error with the nearest one.
func find[T any](kind, name string, list []T, names func(T) []string) (T, error) {
	for _, v := range list {
		if slices.Contains(names(v), name) {
			return v, nil
		}
	}
	msg := fmt.Sprintf("%s %s: no such %s", kind, shorten(name), kind)
	if other := nearest(name, allNames(list, names)); other != "" {
		msg += fmt.Sprintf("; did you mean %s?", other)
	}
	var none T
	return none, &Error{CodeNotFound, msg}
}

func allNames[T any](list []T, names func(T) []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, v := range list {
			for _, n := range names(v) {
				if n != "" && !yield(n) {
					return
				}
			}
		}
	}
}

func (s *Server) disablePath(w http.ResponseWriter, r *http.Request) error {
	return s.setPath(w, r, false)
}

func (s *Server) enablePath(w http.ResponseWriter, r *http.Request) error {
	return s.setPath(w, r, true)
}

// changeBody is what a POST may carry.
type changeBody struct {
	// Force disables a path even if it is the last usable one.
	Force bool `json:"force"`
}

func (s *Server) setPath(w http.ResponseWriter, r *http.Request, enabled bool) error {
	var body changeBody
	if err := readBody(r, &body); err != nil {
		return err
	}
	s.lastPath.Lock()
	defer s.lastPath.Unlock()
	p, all, err := s.path(r.PathValue("name"))
	if err != nil {
		return err
	}
	if !enabled && !body.Force && lastUsable(p, all) {
		return &Error{CodeConflict, fmt.Sprintf(
			"path %s: it is the last usable path of device %s, whose I/O would wait; enable another one first, or force it", p.Name, p.Device)}
	}
	o := Operation{Verb: "path disable", Path: p.Name, Device: p.Device, Details: Attrs{{"force", strconv.FormatBool(body.Force)}}}
	if enabled {
		o.Verb, o.Details = "path enable", nil
	}
	s.operated(r, o)
	if err := outcome("path", p.Name, s.src.SetPathEnabled(p.Name, enabled)); err != nil {
		return err
	}
	return s.answerPath(w, p)
}

// lastUsable tells whether p is usable and no other path of its device is.
func lastUsable(p Path, all []Path) bool {
	return p.Usable() && !slices.ContainsFunc(all, func(o Path) bool {
		return o.Device == p.Device && o.Name != p.Name && o.Usable()
	})
}
