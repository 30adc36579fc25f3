// SPDX-License-Identifier: Apache-2.0

package control

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// withOperator refuses what a Source without verbs cannot do.
func (s *Server) withOperator(h handler) handler {
	if s.operator != nil {
		return h
	}
	return func(http.ResponseWriter, *http.Request) error {
		return &Error{CodeNotFound, "this gateway has no path manager to command"}
	}
}

// operated tells and logs who asks for what.
func (s *Server) operated(r *http.Request, o Operation) {
	who := peerOf(r.Context())
	o.UID, o.PID = who.uid, who.pid
	if s.operator != nil { // which has the event logged too
		s.operator.Operated(o)
		return
	}
	attrs := []slog.Attr{slog.String("verb", o.Verb)}
	for _, a := range append(Attrs{{"path", o.Path}, {"device", o.Device}}, o.Details...) {
		if a.Value != "" {
			attrs = append(attrs, slog.String(a.Key, a.Value))
		}
	}
	attrs = append(attrs, slog.Int("uid", o.UID), slog.Int("pid", o.PID))
	s.opt.Log.LogAttrs(r.Context(), slog.LevelInfo, "control request", attrs...)
}

// outcome gives the answer to the error of something that was done to an object.
func outcome(kind, name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrConflict):
		return &Error{CodeConflict, fmt.Sprintf("%s %s: %s", kind, name, oneLine(err))}
	case errors.Is(err, ErrNotFound):
		return &Error{CodeNotFound, fmt.Sprintf("%s %s: it has just gone", kind, name)}
	}
	return fmt.Errorf("%s %s: %w", kind, name, err)
}

// failBody is what a POST to fail may carry.
type failBody struct {
	// Hold keeps the path down until it is reinstated.
	Hold bool `json:"hold"`
	// Force fails a path even if it is the last usable one.
	Force bool `json:"force"`
}

func (s *Server) failPath(w http.ResponseWriter, r *http.Request) error {
	var body failBody
	if err := readBody(r, &body); err != nil {
		return err
	}
	s.lastPath.Lock()
	defer s.lastPath.Unlock()
	p, all, err := s.path(r.PathValue("name"))
	if err != nil {
		return err
	}
	if !body.Force && lastUsable(p, all) {
		return &Error{CodeConflict, fmt.Sprintf(
			"path %s: it is the last usable path of device %s, whose I/O would wait; reinstate another one first, or force it", p.Name, p.Device)}
	}
	s.operated(r, Operation{
		Verb: "path fail", Path: p.Name, Device: p.Device,
		Details: Attrs{{"hold", strconv.FormatBool(body.Hold)}, {"force", strconv.FormatBool(body.Force)}},
	})
	if err := outcome("path", p.Name, s.operator.FailPath(p.Name, body.Hold)); err != nil {
		return err
	}
	return s.answerPath(w, p)
}

func (s *Server) reinstatePath(w http.ResponseWriter, r *http.Request) error {
	if err := readBody(r, &struct{}{}); err != nil {
		return err
	}
	p, _, err := s.path(r.PathValue("name"))
	if err != nil {
		return err
	}
	s.operated(r, Operation{Verb: "path reinstate", Path: p.Name, Device: p.Device})
	if err := outcome("path", p.Name, s.operator.ReinstatePath(p.Name)); err != nil {
		return err
	}
	return s.answerPath(w, p)
}

// answerPath answers with p as it is now, or, when it has gone, as it was.
func (s *Server) answerPath(w http.ResponseWriter, p Path) error {
	if now, _, err := s.path(p.Name); err == nil {
		p = now
	}
	return writeJSON(w, p)
}

// rescanBody is what a POST to rescan may carry.
type rescanBody struct {
	Adapter string `json:"adapter"` // "": all
}

func (s *Server) startRescan(w http.ResponseWriter, r *http.Request) error {
	var body rescanBody
	if err := readBody(r, &body); err != nil {
		return err
	}
	err := s.operator.StartRescan(body.Adapter)
	if errors.Is(err, ErrNotFound) {
		_, err = find("adapter", body.Adapter, adaptersOf(s.src.Paths()), func(a string) []string { return []string{a} })
		if err == nil {
			err = &Error{CodeNotFound, fmt.Sprintf("adapter %s: no such adapter", shorten(body.Adapter))}
		}
		return err
	}
	if err := outcome("rescan of", "adapter "+body.Adapter, err); err != nil {
		return err
	}
	o := Operation{Verb: "rescan"}
	if body.Adapter != "" {
		o.Details = Attrs{{"adapter", body.Adapter}}
	}
	s.operated(r, o)
	return s.getRescan(w, r)
}

func (s *Server) getRescan(w http.ResponseWriter, _ *http.Request) error {
	run := s.operator.Rescan()
	if run.Waiting == nil {
		run.Waiting = []string{}
	}
	return writeJSON(w, run)
}

func adaptersOf(paths []Path) (list []string) {
	for _, p := range paths {
		if !slices.Contains(list, p.Adapter) {
			list = append(list, p.Adapter)
		}
	}
	return list
}

// getSimulate answers what would be left of one device, or of all that have one of
// the paths.
func (s *Server) getSimulate(w http.ResponseWriter, r *http.Request) error {
	var device string
	var without []string
	for key, list := range r.URL.Query() {
		switch {
		case key == "without":
			without = list
		case key == "device" && len(list) == 1:
			device = list[0]
		case key == "device":
			return &Error{CodeBadRequest, `parameter "device" is given twice`}
		default:
			return &Error{CodeBadRequest, fmt.Sprintf("unknown parameter %q; there are device and without", shorten(key))}
		}
	}
	if len(without) == 0 {
		return &Error{CodeBadRequest, "parameter \"without\" is missing: an adapter, portal, target name or path"}
	}
	devices := s.src.Devices()
	if device != "" {
		d, err := findDevice(devices, device)
		if err != nil {
			return err
		}
		devices = []Device{d}
	}
	lost, err := lostPaths(s.src.Paths(), without)
	if err != nil {
		return err
	}
	list := []Simulation{}
	for _, d := range devices {
		if len(lost[d.Name]) == 0 && device == "" {
			continue
		}
		sim, err := s.operator.Simulate(d.Name, lost[d.Name])
		if err := outcome("device", d.Name, err); err != nil {
			return err
		}
		list = append(list, sim.filled())
	}
	return writeList(w, list)
}

// filled has empty lists for nil ones.
func (sim Simulation) filled() Simulation {
	if sim.Without == nil {
		sim.Without = []string{}
	}
	if sim.Left == nil {
		sim.Left = []string{}
	}
	if sim.VMs == nil {
		sim.VMs = []SimulatedVM{}
	}
	if sim.Disks == nil {
		sim.Disks = []SimulatedDisk{}
	}
	return sim
}

// lostPaths gives the paths by device that the names in without stand for: each is a
// path, an adapter, a target, a portal or the address of portals.
func lostPaths(paths []Path, without []string) (map[string][]string, error) {
	lost := map[string][]string{}
	for _, name := range without {
		found := false
		for i := range paths {
			p := &paths[i]
			if !p.has(name) {
				continue
			}
			found = true
			if !slices.Contains(lost[p.Device], p.Name) {
				lost[p.Device] = append(lost[p.Device], p.Name)
			}
		}
		if !found {
			_, err := find("adapter, portal, target or path", name, paths, func(p Path) []string {
				return []string{p.Name, p.Adapter, p.Portal, p.Target}
			})
			return nil, err
		}
	}
	return lost, nil
}

// has tells whether name is p's, or that of something p leads over.
func (p *Path) has(name string) bool {
	if name == p.Name || name == p.Adapter || name == p.Portal || name == p.Target {
		return true
	}
	at, err := netip.ParseAddrPort(p.Portal)
	return err == nil && strings.Trim(name, "[]") == at.Addr().String()
}

func findDevice(devices []Device, name string) (Device, error) {
	return find("device", name, devices, func(d Device) []string {
		return append([]string{d.Name, d.Identity}, d.Aliases...)
	})
}
