// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"strings"
)

// archive builds a cpio archive in the "newc" format that the kernel unpacks
// (Documentation/driver-api/early-userspace/buffer-format.rst). Directories are
// made as they are needed. Not safe for concurrent use.
type archive struct {
	buf  bytes.Buffer
	ino  int
	dirs map[string]bool
}

const (
	modeDir  = 0o040755
	modeFile = 0o100755 // all files are executable: it does no harm here
	modeLink = 0o120777
	trailer  = "TRAILER!!!"
)

// file adds content as the absolute path name.
func (a *archive) file(name string, content []byte) {
	a.entry(name, modeFile, content)
}

// copyFile adds a file of the host, following links.
func (a *archive) copyFile(name, host string) error {
	content, err := os.ReadFile(host)
	if err == nil {
		a.file(name, content)
	}
	return err
}

// link adds a symbolic link to target.
func (a *archive) link(name, target string) {
	a.entry(name, modeLink, []byte(target))
}

// dir adds a directory with its parents, once.
func (a *archive) dir(name string) {
	name = strings.Trim(path.Clean(name), "/")
	if name == "" || name == "." || a.dirs[name] {
		return
	}
	a.dir(path.Dir(name))
	if a.dirs == nil {
		a.dirs = map[string]bool{}
	}
	a.dirs[name] = true
	a.header(name, modeDir, 0)
}

func (a *archive) entry(name string, mode int, content []byte) {
	name = strings.Trim(path.Clean(name), "/")
	a.dir(path.Dir(name))
	a.header(name, mode, len(content))
	a.buf.Write(content)
	a.pad()
}

// header writes the 110-byte header and the name. Names and contents begin at
// multiples of four.
func (a *archive) header(name string, mode, size int) {
	a.ino++
	nlink := 1
	if mode == modeDir {
		nlink = 2
	}
	fmt.Fprintf(&a.buf, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		a.ino, mode, 0, 0, nlink, 0, size, 0, 0, 0, 0, len(name)+1, 0, name)
	a.pad()
}

func (a *archive) pad() {
	for a.buf.Len()%4 != 0 {
		a.buf.WriteByte(0)
	}
}

// bytes ends the archive and returns it.
func (a *archive) bytes() []byte {
	a.header(trailer, 0, 0)
	return a.buf.Bytes()
}
