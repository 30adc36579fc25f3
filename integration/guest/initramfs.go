// SPDX-License-Identifier: Apache-2.0

package guest

import (
	_ "embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed init.sh
var initScript []byte

// initramfs is the archive that the guest boots: busybox, modules, programs
// with their libraries, and the script.
func initramfs(k *kernel, o *Options, word string) ([]byte, error) {
	a := &archive{}
	for _, d := range []string{"/proc", "/sys", "/dev", "/tmp", "/run", "/mnt", "/root", "/etc", "/var/lib", "/usr/sbin"} {
		a.dir(d)
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return nil, fmt.Errorf("guest: %w", err)
	}
	if err := a.copyFile("/bin/busybox", busybox); err != nil {
		return nil, fmt.Errorf("guest: %w", err)
	}
	a.link("/bin/sh", "busybox")

	modules, err := k.index.closure(o.modules())
	if err != nil {
		return nil, err
	}
	var list []string
	for _, m := range modules {
		name := "/lib/modules/" + m
		if err := a.copyFile(name, filepath.Join(k.modules(), m)); err != nil {
			return nil, fmt.Errorf("guest: %w", err)
		}
		list = append(list, name)
	}
	if err := addPrograms(a, o.Programs); err != nil {
		return nil, err
	}
	for _, t := range o.Trees {
		if err := addTree(a, t); err != nil {
			return nil, fmt.Errorf("guest: %w", err)
		}
	}
	for name, content := range o.Files {
		a.file(name, []byte(content))
	}
	a.file("/init.modules", []byte(strings.Join(list, "\n")+"\n"))
	a.file("/init.script", []byte(o.Script))
	a.file("/init.conf", fmt.Appendf(nil, "word=%s\ninteractive=%t\n", word, o.Interactive))
	a.file("/init", initScript)
	return a.bytes(), nil
}

// addTree adds the files and links below root, which becomes the guest's.
func addTree(a *archive, root string) error {
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := strings.TrimPrefix(name, root)
		switch {
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(name)
			if err != nil {
				return err
			}
			a.link(to, target)
		case d.Type().IsRegular():
			return a.copyFile(to, name)
		case d.IsDir():
			a.dir(to)
		}
		return nil
	})
}

// addPrograms adds programs of the host to /usr/sbin, by name or path, and the
// shared libraries that ldd(1) names to where they are on the host.
func addPrograms(a *archive, programs []string) error {
	libs := map[string]bool{}
	for _, p := range programs {
		file, err := exec.LookPath(p)
		if err != nil {
			if file, err = exec.LookPath(filepath.Join("/usr/sbin", p)); err != nil {
				return fmt.Errorf("guest: %w", err)
			}
		}
		if err := a.copyFile(filepath.Join("/usr/sbin", filepath.Base(p)), file); err != nil {
			return fmt.Errorf("guest: %w", err)
		}
		// A static program makes ldd fail, and has none.
		out, _ := exec.Command("ldd", file).Output()
		for _, lib := range libraries(string(out)) {
			if libs[lib] {
				continue
			}
			libs[lib] = true
			if err := a.copyFile(lib, lib); err != nil {
				return fmt.Errorf("guest: library of %s: %w", p, err)
			}
		}
	}
	return nil
}

// libraries picks the files out of ldd's lines: "libc.so.6 => /lib/libc.so.6
// (0x7f...)" and "/lib64/ld-linux-x86-64.so.2 (0x7f...)".
func libraries(ldd string) []string {
	var files []string
	for line := range strings.Lines(ldd) {
		for _, f := range strings.Fields(line) {
			if strings.HasPrefix(f, "/") {
				files = append(files, f)
				break
			}
		}
	}
	return files
}
