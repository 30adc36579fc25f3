// SPDX-License-Identifier: Apache-2.0

package gotgt

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
)

// DefaultTarget is the target name that Options have when they give none.
const DefaultTarget = "iqn.2026-11.internal.pathgate:gotgt"

// maxLUN is the highest LUN number that gotgt can tell from others.
const maxLUN = 255

// Options describe a target.
type Options struct {
	// Dir is where relative files of LUNs are. Empty: the working directory.
	Dir string
	// Target is the target's name; empty: DefaultTarget.
	Target string
	// Portals are loopback addresses, each with a port or without. Those that
	// have no port, or port 0, share a free one. Empty: 127.0.0.1 and 127.0.0.2.
	Portals []string
	// LUNs are numbered from 1. At least one, at most 255.
	LUNs []LUN
	// Exited is told when a process ended that should not have, and is started
	// again. Nil: nobody is. It must not block.
	Exited func(err error)
}

// LUN is a disk of the target.
type LUN struct {
	// File holds the content. It is made, sparse, when it is missing, and
	// extended when it is shorter than Size.
	File string
	// Size in bytes, a positive multiple of 512. A longer file keeps its length
	// and shows all of it.
	Size uint64
}

// job is what one process is told to do, as JSON on its standard input.
type job struct {
	Target   string   `json:"target"`
	GroupTag uint16   `json:"groupTag"`
	Port     uint16   `json:"port"`
	Portals  []string `json:"portals"`
	LUNs     []jobLUN `json:"luns"`
}

type jobLUN struct {
	Number uint16 `json:"number"`
	ID     uint64 `json:"id"`
	File   string `json:"file"`
}

// jobs makes the files and divides the portals among processes.
func (o Options) jobs() ([]job, error) {
	if o.Target == "" {
		o.Target = DefaultTarget
	}
	if len(o.Portals) == 0 {
		o.Portals = []string{"127.0.0.1", "127.0.0.2"}
	}
	luns, err := o.makeFiles()
	if err != nil {
		return nil, err
	}
	var list []job
	of := map[uint16]int{} // port: index in list
	for _, text := range o.Portals {
		addr, err := parsePortal(text)
		if err != nil {
			return nil, err
		}
		i, ok := of[addr.Port()]
		if !ok {
			i = len(list)
			of[addr.Port()] = i
			list = append(list, job{Target: o.Target, GroupTag: uint16(i + 1), LUNs: luns})
		}
		list[i].Portals = append(list[i].Portals, addr.Addr().String())
	}
	for port, i := range of {
		if port == 0 {
			if port, err = freePort(of); err != nil {
				return nil, err
			}
		}
		j := &list[i]
		j.Port = port
		for k, a := range j.Portals {
			j.Portals[k] = netip.AddrPortFrom(netip.MustParseAddr(a), port).String()
		}
	}
	return list, nil
}

// parsePortal reads "address" or "address:port". Only loopback is taken: there
// is no authentication.
func parsePortal(text string) (netip.AddrPort, error) {
	addr, err := netip.ParseAddrPort(text)
	if err != nil {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("portal %q of gotgt: not an IP address with or without a port", text)
		}
		addr = netip.AddrPortFrom(a, 0)
	}
	if !addr.Addr().IsLoopback() {
		return netip.AddrPort{}, fmt.Errorf("portal %q of gotgt: not a loopback address", text)
	}
	return addr, nil
}

// makeFiles makes the LUNs' files as long as they have to be.
func (o Options) makeFiles() ([]jobLUN, error) {
	if len(o.LUNs) == 0 || len(o.LUNs) > maxLUN {
		return nil, fmt.Errorf("gotgt target %s: %d LUNs, must be 1 to %d", o.Target, len(o.LUNs), maxLUN)
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("directory of gotgt target %s: %w", o.Target, err)
	}
	var list []jobLUN
	seen := map[string]bool{}
	for i, l := range o.LUNs {
		path := l.File
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if l.Size == 0 || l.Size%512 != 0 || l.Size > 1<<62 || seen[path] {
			return nil, fmt.Errorf("LUN %d of gotgt target %s: file %s, size %d: sizes are positive multiples of 512, files not used twice",
				i+1, o.Target, path, l.Size)
		}
		seen[path] = true
		if err := makeFile(path, int64(l.Size)); err != nil {
			return nil, fmt.Errorf("LUN %d of gotgt target %s: %w", i+1, o.Target, err)
		}
		list = append(list, jobLUN{Number: uint16(i + 1), ID: identity(o.Target, i+1), File: path})
	}
	return list, nil
}

func makeFile(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err == nil && st.Size() < size {
		err = f.Truncate(size)
	}
	return errors.Join(err, f.Close())
}

// identity gives the 60 bits that NAA 3 leaves to whoever assigns them.
func identity(target string, lun int) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(target + " " + strconv.Itoa(lun))) // never fails
	return h.Sum64()>>4 | 1
}
