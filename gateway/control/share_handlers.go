// SPDX-License-Identifier: Apache-2.0

package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// explainDefault and explainMost bound how many explanations an answer has.
const (
	explainDefault = 20
	explainMost    = 10000
)

func (s *Server) listShares(w http.ResponseWriter, _ *http.Request) error {
	return writeList(w, s.shares.Shares())
}

func (s *Server) listShareLUNs(w http.ResponseWriter, _ *http.Request) error {
	return writeList(w, s.shares.ShareLUNs())
}

func (s *Server) getDiskShare(w http.ResponseWriter, r *http.Request) error {
	return s.answerDiskShare(w, r.PathValue("vm")+"/"+r.PathValue("disk"))
}

func (s *Server) getVMShare(w http.ResponseWriter, r *http.Request) error {
	return s.answerVMShare(w, r.PathValue("vm"))
}

func (s *Server) getShareLUN(w http.ResponseWriter, r *http.Request) error {
	l, err := s.shareLUN(r.PathValue("name"))
	if err != nil {
		return err
	}
	return writeJSON(w, l)
}

func (s *Server) setDiskShare(w http.ResponseWriter, r *http.Request) error {
	var c ShareChange
	if err := readChange(r, &c); err != nil {
		return err
	}
	d, err := s.diskShare(r.PathValue("vm") + "/" + r.PathValue("disk"))
	if err != nil {
		return err
	}
	if err := s.change(r, settings("share set", "disk", d.Disk, &c), func() error { return s.shares.SetDiskShare(d.Disk, c) }); err != nil {
		return err
	}
	return s.answerDiskShare(w, d.Disk)
}

func (s *Server) resetDiskShare(w http.ResponseWriter, r *http.Request) error {
	d, err := s.diskShare(r.PathValue("vm") + "/" + r.PathValue("disk"))
	if err != nil {
		return err
	}
	if err := s.change(r, settings("share reset", "disk", d.Disk, nil), func() error { return s.shares.ResetDiskShare(d.Disk) }); err != nil {
		return err
	}
	return s.answerDiskShare(w, d.Disk)
}

func (s *Server) setVMShare(w http.ResponseWriter, r *http.Request) error {
	var c VMShareChange
	if err := readChange(r, &c); err != nil {
		return err
	}
	v, err := s.vmShare(r.PathValue("vm"))
	if err != nil {
		return err
	}
	if err := s.change(r, settings("share set", "vm", v.VM, &c), func() error { return s.shares.SetVMShare(v.VM, c) }); err != nil {
		return err
	}
	return s.answerVMShare(w, v.VM)
}

func (s *Server) resetVMShare(w http.ResponseWriter, r *http.Request) error {
	v, err := s.vmShare(r.PathValue("vm"))
	if err != nil {
		return err
	}
	if err := s.change(r, settings("share reset", "vm", v.VM, nil), func() error { return s.shares.ResetVMShare(v.VM) }); err != nil {
		return err
	}
	return s.answerVMShare(w, v.VM)
}

func (s *Server) setShareLUN(w http.ResponseWriter, r *http.Request) error {
	var c LUNShareChange
	if err := readChange(r, &c); err != nil {
		return err
	}
	l, err := s.shareLUN(r.PathValue("name"))
	if err != nil {
		return err
	}
	if err := s.change(r, settings("share lun set", "lun", l.Name, &c), func() error { return s.shares.SetLUNShare(l.Name, c) }); err != nil {
		return err
	}
	return s.answerShareLUN(w, l)
}

func (s *Server) resetShareLUN(w http.ResponseWriter, r *http.Request) error {
	l, err := s.shareLUN(r.PathValue("name"))
	if err != nil {
		return err
	}
	if err := s.change(r, settings("share lun reset", "lun", l.Name, nil), func() error { return s.shares.ResetLUNShare(l.Name) }); err != nil {
		return err
	}
	return s.answerShareLUN(w, l)
}

// readChange decodes a body that must change something.
func readChange[T comparable](r *http.Request, c *T) error {
	if err := readBody(r, c); err != nil {
		return err
	}
	var nothing T
	if *c == nothing {
		return &Error{CodeBadRequest, "the body sets nothing"}
	}
	return nil
}

// settings is the operation that sets what body, a change, has; nil: it goes back to the
// configuration.
func settings(verb, kind, name string, body any) Operation {
	o := Operation{Verb: verb, Details: Attrs{{kind, name}}}
	if body != nil {
		b, _ := json.Marshal(body) // plain numbers and texts: it has been decoded from such
		o.Details = append(o.Details, Attr{"set", shorten(string(b))})
	}
	return o
}

// change has settings changed as o tells, and gives the answer to the error.
func (s *Server) change(r *http.Request, o Operation, do func() error) error {
	s.operated(r, o)
	what := o.Details[0].Key + " " + o.Details[0].Value
	switch err := do(); {
	case err == nil:
		return nil
	case errors.Is(err, ErrInvalid):
		return &Error{CodeBadRequest, what + ": " + oneLine(err)}
	case errors.Is(err, ErrNotFound):
		return &Error{CodeNotFound, what + ": it has just gone"}
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}

// oneLine joins the lines of several faults.
func oneLine(err error) string {
	return strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
}

func (s *Server) diskShare(name string) (DiskShare, error) {
	return find("disk", name, s.shares.DiskShares(), func(d DiskShare) []string { return []string{d.Disk} })
}

func (s *Server) vmShare(name string) (VMShare, error) {
	return find("vm", name, s.shares.VMShares(), func(v VMShare) []string { return []string{v.VM} })
}

func (s *Server) shareLUN(name string) (ShareLUN, error) {
	return find("lun", name, s.shares.ShareLUNs(), func(l ShareLUN) []string { return append([]string{l.Name}, l.Names...) })
}

func (s *Server) answerDiskShare(w http.ResponseWriter, name string) error {
	d, err := s.diskShare(name)
	if err != nil {
		return err
	}
	d.Flows = flowsOf(s.shares.Shares(), func(f *Share) bool { return slices.Contains(f.Disks, name) })
	return writeJSON(w, d)
}

func (s *Server) answerVMShare(w http.ResponseWriter, name string) error {
	v, err := s.vmShare(name)
	if err != nil {
		return err
	}
	v.Disks = []DiskShare{}
	for _, d := range s.shares.DiskShares() {
		if d.VM == name {
			v.Disks = append(v.Disks, d)
		}
	}
	v.Flows = flowsOf(s.shares.Shares(), func(f *Share) bool { return f.VM == name })
	return writeJSON(w, v)
}

// answerShareLUN answers with l as it is now, or, when it has gone, as it was.
func (s *Server) answerShareLUN(w http.ResponseWriter, l ShareLUN) error {
	if now, err := s.shareLUN(l.Name); err == nil {
		l = now
	}
	return writeJSON(w, l)
}

func flowsOf(all []Share, of func(*Share) bool) []Share {
	list := []Share{}
	for i := range all {
		if of(&all[i]) {
			list = append(list, all[i])
		}
	}
	return list
}

// getExplain answers with the newest decisions about the object that "of" names.
func (s *Server) getExplain(w http.ResponseWriter, r *http.Request) error {
	of, last, err := parseExplainQuery(r.URL.Query())
	if err != nil {
		return err
	}
	q := ExplainQuery{Last: last}
	if of != "" {
		if err := s.resolve(of, &q); err != nil {
			return err
		}
	}
	return writeList(w, s.shares.Explain(q))
}

func parseExplainQuery(values url.Values) (of string, last int, err error) {
	last = explainDefault
	for key, list := range values {
		switch {
		case len(list) > 1:
			return "", 0, &Error{CodeBadRequest, fmt.Sprintf("parameter %q is given twice", shorten(key))}
		case key == "of":
			of = list[0]
		case key == "last":
			n, err := strconv.Atoi(list[0])
			if err != nil || n < 1 || n > explainMost {
				return "", 0, &Error{CodeBadRequest, fmt.Sprintf("parameter last: %q is not a number from 1 to %d", shorten(list[0]), explainMost)}
			}
			last = n
		default:
			return "", 0, &Error{CodeBadRequest, fmt.Sprintf("unknown parameter %q; there are of and last", shorten(key))}
		}
	}
	return of, last, nil
}

// resolve finds the VM, else the disk, else the LUN that has a name.
func (s *Server) resolve(name string, q *ExplainQuery) error {
	type object struct {
		names []string
		query ExplainQuery
	}
	var all []object
	for _, v := range s.src.VMs() {
		all = append(all, object{[]string{v.Name}, ExplainQuery{VM: v.Name}})
	}
	for _, d := range s.src.Disks() {
		all = append(all, object{[]string{d.Name}, ExplainQuery{VM: d.VM, Disk: d.Name}})
	}
	for _, l := range s.shares.ShareLUNs() {
		all = append(all, object{append([]string{l.Name}, l.Names...), ExplainQuery{LUN: l.Name}})
	}
	o, err := find("vm, disk or lun", name, all, func(o object) []string { return o.names })
	if err != nil {
		return err
	}
	o.query.Last = q.Last
	*q = o.query
	return nil
}
