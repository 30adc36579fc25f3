// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"pathgate/gateway/control"
	"pathgate/multipath"
)

// aliasOf gives what a name stands for, "" if it is no alias. The configuration goes
// before what was set at run time.
func (g *Gateway) aliasOf(name string) string {
	for _, r := range g.cfg.LUNs {
		if r.Alias == name && name != "" {
			return r.ID
		}
	}
	id, _, err := g.store.Alias(name)
	if err != nil {
		return "" // a name that cannot be read stands for nothing
	}
	return id
}

// aliasesOf gives the aliases of a device with these names, in order.
func (g *Gateway) aliasesOf(names ...string) (list []string) {
	for _, r := range g.cfg.LUNs {
		if r.Alias != "" && slices.Contains(names, r.ID) {
			list = append(list, r.Alias)
		}
	}
	all, _ := g.store.Aliases()
	for alias, id := range all {
		if slices.Contains(names, id) && !slices.Contains(list, alias) {
			list = append(list, alias)
		}
	}
	slices.Sort(list)
	return list
}

// namesOf are the names of a device beside its canonical one.
func (g *Gateway) namesOf(d *multipath.Device) []string {
	i := d.State()
	return append([]string{i.Identity}, g.aliasesOf(i.Identity, d.Key(), i.Name)...)
}

// withKeys adds the keys of the devices among names, which aliases may stand for.
func (g *Gateway) withKeys(names []string) []string {
	names = slices.Clip(names)
	if g.paths == nil {
		return names
	}
	for _, d := range g.paths.Devices() {
		if slices.Contains(names, d.Name()) {
			names = append(names, d.Key())
		}
	}
	return names
}

// standsFor tells whether what the configuration calls a LUN is one of names, an alias
// of one, or the name of a path that was bound to one.
func (g *Gateway) standsFor(lun string, names []string) bool {
	lun = cmp.Or(g.aliasOf(lun), lun)
	if slices.Contains(names, lun) {
		return lun != ""
	}
	bound, ok, err := g.store.Binding(lun)
	return err == nil && ok && slices.Contains(names, bound)
}

var _ control.AliasSource = adminSource{}

// SetAlias gives a device a further name, and keeps it.
func (s *adminView) SetAlias(_ context.Context, device, alias string) error {
	if s.paths == nil {
		return control.ErrNotFound
	}
	d, err := s.paths.Lookup(device)
	if err != nil {
		return lookupError(err)
	}
	if !ValidName(alias) {
		msg, rule := checkName(alias)
		return control.Invalid(fmt.Errorf("alias %q %s: %s", alias, msg, rule))
	}
	other, err := s.paths.Lookup(alias)
	switch {
	case err == nil && other == d:
		return nil
	case err == nil:
		return control.Conflict(fmt.Errorf("alias %s: it is a name of device %s already", alias, other.Name()))
	case (*Gateway)(s).aliasOf(alias) != "":
		return control.Conflict(fmt.Errorf("alias %s: it stands for %s already", alias, (*Gateway)(s).aliasOf(alias)))
	}
	if err := s.store.SetAlias(alias, d.Key()); err != nil {
		return err
	}
	(*Gateway)(s).lookAgain() // a disk may wait for it
	return nil
}

// RemoveAlias takes one away that was given by SetAlias, unless a disk is known by it.
func (s *adminView) RemoveAlias(_ context.Context, alias string) error {
	if _, ok, err := s.store.Alias(alias); err != nil {
		return err
	} else if !ok {
		for _, r := range s.cfg.LUNs {
			if r.Alias == alias && alias != "" {
				return control.Conflict(fmt.Errorf("alias %s: it is in the configuration, and is changed there", alias))
			}
		}
		return control.NotFound(fmt.Errorf("alias %s: no such alias", alias))
	}
	for _, sd := range s.disks {
		if slices.ContainsFunc(sd.cfg.Extents, func(e ExtentConfig) bool { return e.LUN == alias }) {
			return control.Conflict(fmt.Errorf("alias %s: it is what disk %s is made of", alias, sd.FullName()))
		}
	}
	return s.store.RemoveAlias(alias)
}

func lookupError(err error) error {
	if errors.Is(err, multipath.ErrNotFound) {
		return control.NotFound(err)
	}
	return control.Conflict(err)
}
