// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbdcrash

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"pathgate/integration/guest"
)

// checkScript mounts each image of a drive, and prints what it finds in it. Parameters:
// how many images, and the size of one.
const checkScript = `
i=0
while [ $i -lt %d ]; do
	dmesg -c >/dev/null
	losetup -o $((i * %d)) /dev/loop0 /dev/vda || exit 3
	echo "image $i"
	if mount -t ext4 /dev/loop0 /mnt; then
		echo "mounted"
		(cd /mnt && find . -type f -exec md5sum {} +)
		umount /mnt || exit 4
	fi
	dmesg -c | grep -E 'EXT4|JBD2|I/O error' | sed 's/^/kernel /'
	losetup -d /dev/loop0 || exit 5
	i=$((i + 1))
done
echo "all images"
`

// found is what a guest has found in an image.
type found struct {
	mounted  bool
	replayed bool              // the journal had something in it
	files    map[string]string // checksums by name
	faults   []string          // complaints of the kernel
}

// inspect has a guest mount all images of the shelf.
func (s *shelf) inspect(t *testing.T) []found {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := guest.Run(ctx, guest.Options{
		Script:  fmt.Sprintf(checkScript, len(s.list), s.size),
		Modules: []string{"ext4", "crc32c", "loop"},
		// Its own flushes are nothing to wait for.
		Drives:  []string{"file=" + s.f.Name() + ",if=virtio,format=raw,cache=unsafe"},
		Timeout: patience,
	})
	if err != nil || r.ExitCode != 0 || !strings.Contains(r.Output, "all images") {
		t.Fatalf("the guest that mounts: %v, status %d:\n%s", err, r.ExitCode, r.Output)
	}
	return parseFound(t, r.Output, len(s.list))
}

// parseFound reads what checkScript prints.
func parseFound(t *testing.T, output string, n int) (list []found) {
	t.Helper()
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		word, rest, _ := strings.Cut(line, " ")
		if word == "image" {
			list = append(list, found{files: map[string]string{}})
			continue
		}
		if len(list) == 0 || line == "" {
			continue
		}
		f := &list[len(list)-1]
		switch {
		case word == "mounted":
			f.mounted = true
		case word == "kernel" && strings.Contains(rest, "recovery complete"):
			f.replayed = true
		case word == "kernel" && complains(rest):
			f.faults = append(f.faults, rest)
		case len(word) == 32:
			f.files[strings.TrimPrefix(strings.TrimSpace(rest), "./")] = word
		}
	}
	if len(list) != n {
		t.Fatalf("%d images were looked at, want %d:\n%s", len(list), n, output)
	}
	return list
}

// complains tells whether a line of the kernel tells of a file system that is not right.
func complains(line string) bool {
	line = strings.ToLower(line)
	return slices.ContainsFunc([]string{"error", "warning", "corrupt", "checksum", "fail", "invalid", "bad "},
		func(s string) bool { return strings.Contains(line, s) })
}

// judge tells what is wrong with image i.
func (s *shelf) judge(t *testing.T, w *work, i int, f *found) (faults []string) {
	t.Helper()
	if !f.mounted {
		return append(f.faults, "it was not mounted")
	}
	faults = f.faults
	may := w.expected(&s.list[i])
	for _, name := range slices.Sorted(maps.Keys(may)) {
		states := may[name]
		is, ok := f.files[name]
		if !ok {
			is = absent
		}
		if len(states) > 0 && !slices.Contains(states, is) {
			faults = append(faults, fmt.Sprintf("file %s is %s, want %v", name, is, states))
		}
	}
	if out := s.fsck(t, i); out != "" {
		faults = append(faults, out)
	}
	return faults
}

// fsck gives what e2fsck has to say against image i.
func (s *shelf) fsck(t *testing.T, i int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "e2fsck", "-fn", fmt.Sprintf("%s?offset=%d", s.f.Name(), i*s.size))
	cmd.Env = append(os.Environ(), "PATH=/usr/sbin:/sbin:"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	var status *exec.ExitError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &status):
		return "e2fsck: " + string(out)
	}
	t.Fatal(err)
	return ""
}
