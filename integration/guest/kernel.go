// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// kernel is an unpacked Debian kernel package with its module index.
type kernel struct {
	root    string // the cache directory
	release string // 6.1.0-56-amd64
	index   moduleIndex
}

// ErrNoKernel is returned when no kernel was unpacked for guests.
var ErrNoKernel = errors.New("guest: no kernel: run scripts/setup-tests")

// cacheDir is dir; "" means PATHGATE_GUEST_CACHE, else .cache/guest at the root of the
// module that the working directory is in.
func cacheDir(dir string) (string, error) {
	if dir == "" {
		dir = os.Getenv("PATHGATE_GUEST_CACHE")
	}
	if dir == "" {
		root, err := moduleRoot()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(root, ".cache", "guest")
	}
	return dir, nil
}

// ErrNoInitiator is returned when Linux' initiator was not unpacked for guests.
var ErrNoInitiator = errors.New("guest: no open-iscsi: run scripts/setup-tests")

// Initiator gives the tree, for Options.Trees, of open-iscsi, multipath-tools, udev and
// nbd-client with their libraries, and the packages it is made of ("open-iscsi_2.1.8-1_amd64").
func Initiator() (tree string, packages []string, err error) {
	dir, err := cacheDir("")
	if err != nil {
		return "", nil, err
	}
	dir = filepath.Join(filepath.Dir(dir), "initiator")
	err = eachLine(filepath.Join(dir, "ready"), func(l string) { packages = append(packages, l) })
	if err != nil || len(packages) < 2 {
		return "", nil, errors.Join(ErrNoInitiator, err)
	}
	return filepath.Join(dir, "root"), packages[1:], nil
}

// openKernel finds the kernel in the cache dir.
func openKernel(dir string) (*kernel, error) {
	dir, err := cacheDir(dir)
	if err != nil {
		return nil, err
	}
	release, err := os.ReadFile(filepath.Join(dir, "ready"))
	if err != nil {
		return nil, errors.Join(ErrNoKernel, err)
	}
	k := &kernel{root: dir, release: strings.TrimSpace(string(release))}
	k.index, err = readIndex(k.modules())
	return k, err
}

// image is the unpacked kernel, if there is one, else the compressed one.
func (k *kernel) image() string {
	unpacked := filepath.Join(k.root, "boot", "vmlinux-"+k.release)
	if _, err := os.Stat(unpacked); err == nil {
		return unpacked
	}
	return filepath.Join(k.root, "boot", "vmlinuz-"+k.release)
}

func (k *kernel) modules() string { return filepath.Join(k.root, "lib", "modules", k.release) }

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.Join(ErrNoKernel, errors.New("not inside a module, and PATHGATE_GUEST_CACHE is not set"))
		}
		dir = filepath.Dir(dir)
	}
}

// moduleIndex is what depmod(8) made: by module name, with "_" for "-".
type moduleIndex struct {
	file    map[string]string   // path below the modules directory
	needs   map[string][]string // names, those that must be loaded first at the end
	soft    map[string][]string // names or aliases wanted before the module
	alias   map[string][]string // exact aliases alone, no patterns
	builtin map[string]bool
}

func moduleName(file string) string {
	return strings.ReplaceAll(strings.TrimSuffix(filepath.Base(file), ".ko"), "-", "_")
}

func readIndex(dir string) (moduleIndex, error) {
	ix := moduleIndex{
		file: map[string]string{}, needs: map[string][]string{}, soft: map[string][]string{},
		alias: map[string][]string{}, builtin: map[string]bool{},
	}
	return ix, errors.Join(
		eachLine(filepath.Join(dir, "modules.dep"), ix.addDep),
		eachLine(filepath.Join(dir, "modules.softdep"), ix.addSoft),
		eachLine(filepath.Join(dir, "modules.alias"), ix.addAlias),
		eachLine(filepath.Join(dir, "modules.builtin"), func(l string) { ix.builtin[moduleName(l)] = true }),
	)
}

func eachLine(name string, do func(string)) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("guest: %w", err)
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		do(sc.Text())
	}
	return sc.Err()
}

// addDep takes "kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko kernel/fs/mbcache.ko".
func (ix *moduleIndex) addDep(line string) {
	file, needs, _ := strings.Cut(line, ":")
	name := moduleName(file)
	ix.file[name] = file
	for _, n := range strings.Fields(needs) {
		ix.needs[name] = append(ix.needs[name], moduleName(n))
	}
}

// addSoft takes "softdep ext4 pre: crc32c post: x".
func (ix *moduleIndex) addSoft(line string) {
	f := strings.Fields(line)
	if len(f) < 3 || f[0] != "softdep" {
		return
	}
	pre := false
	for _, w := range f[2:] {
		switch {
		case strings.HasSuffix(w, ":"):
			pre = w == "pre:"
		case pre:
			ix.soft[moduleName(f[1])] = append(ix.soft[moduleName(f[1])], w)
		}
	}
}

// addAlias takes "alias crc32c crc32c_generic".
func (ix *moduleIndex) addAlias(line string) {
	f := strings.Fields(line)
	if len(f) == 3 && f[0] == "alias" && !strings.ContainsAny(f[1], "*?[") {
		ix.alias[f[1]] = append(ix.alias[f[1]], moduleName(f[2]))
	}
}

// closure lists the files of the named modules and all they need, in an order
// in which insmod can load them. A name may be a module or an exact alias;
// built-in ones are left out.
func (ix *moduleIndex) closure(names []string) ([]string, error) {
	var files []string
	seen := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		name, ok := ix.resolve(name)
		if !ok {
			return fmt.Errorf("guest: the kernel has no module %s", name)
		}
		if seen[name] || ix.builtin[name] {
			return nil
		}
		seen[name] = true
		for _, s := range ix.soft[name] {
			if _, ok := ix.resolve(s); !ok {
				continue
			}
			if err := add(s); err != nil {
				return err
			}
		}
		for _, n := range slices.Backward(ix.needs[name]) {
			if err := add(n); err != nil {
				return err
			}
		}
		files = append(files, ix.file[name])
		return nil
	}
	for _, n := range names {
		if err := add(n); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// resolve finds the module of a name or alias. Of several with one alias the
// generic one is taken: the others want a processor's special instructions.
func (ix *moduleIndex) resolve(name string) (string, bool) {
	plain := strings.ReplaceAll(name, "-", "_")
	if ix.file[plain] != "" || ix.builtin[plain] {
		return plain, true
	}
	found := ix.alias[name]
	for _, m := range found {
		if strings.HasSuffix(m, "_generic") {
			return m, true
		}
	}
	if len(found) == 0 {
		return name, false
	}
	return found[0], true
}
