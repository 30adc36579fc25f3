// SPDX-License-Identifier: Apache-2.0

package control

import "net/http"

func (s *Server) listShareGroups(w http.ResponseWriter, _ *http.Request) error {
	return writeList(w, s.shares.GroupShares())
}

func (s *Server) getShareGroup(w http.ResponseWriter, r *http.Request) error {
	g, err := s.shareGroup(r.PathValue("name"))
	if err != nil {
		return err
	}
	return writeJSON(w, g)
}

func (s *Server) setShareGroup(w http.ResponseWriter, r *http.Request) error {
	var c GroupShareChange
	if err := readChange(r, &c); err != nil {
		return err
	}
	g, err := s.shareGroup(r.PathValue("name"))
	if err != nil {
		return err
	}
	if err := s.change(r, settings("share group set", "group", g.Name, &c), func() error { return s.shares.SetGroupShare(g.Name, c) }); err != nil {
		return err
	}
	return s.getShareGroup(w, r)
}

func (s *Server) resetShareGroup(w http.ResponseWriter, r *http.Request) error {
	g, err := s.shareGroup(r.PathValue("name"))
	if err != nil {
		return err
	}
	if err := s.change(r, settings("share group reset", "group", g.Name, nil), func() error { return s.shares.ResetGroupShare(g.Name) }); err != nil {
		return err
	}
	return s.getShareGroup(w, r)
}

func (s *Server) shareGroup(name string) (GroupShare, error) {
	return find("group", name, s.shares.GroupShares(), func(g GroupShare) []string { return []string{g.Name} })
}
