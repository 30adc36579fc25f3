// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbdcrash

import (
	"crypto/md5"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// absent is the state of a file that is not there; others are the checksums of contents.
const absent = "absent"

// change tells in which states a file may be. None: in any, such as half-written.
type change struct {
	file   string
	states []string
}

// step is something that a guest does. From its begin on files may be as before says;
// at its end they are durably as after says.
type step struct {
	script        string
	before, after []change
	// from and to are the lengths of the record at begin and end, noted by the run;
	// sealed is that up to the flush before the end.
	from, to, sealed int
	writes           string // file whose content it makes durable, or ""
}

// work is what a guest is to do.
type work struct {
	steps   []*step
	content map[string]string // by path in the guest
	state   map[string]string // of each file, when all is done
	rnd     *rand.Rand
}

// newWork makes up n steps.
func newWork(n int, seed uint64) *work {
	w := &work{content: map[string]string{}, state: map[string]string{}, rnd: rand.New(rand.NewPCG(seed, 1))}
	for i := range n {
		have := w.files()
		switch k := w.rnd.IntN(10); {
		case len(have) < 3 || k < 4:
			w.create(fmt.Sprintf("f%d", i))
		case k < 6:
			w.replace(have[w.rnd.IntN(len(have))])
		case k < 8:
			w.rename(have[w.rnd.IntN(len(have))], fmt.Sprintf("r%d", i))
		default:
			w.remove(have[w.rnd.IntN(len(have))])
		}
	}
	return w
}

// files lists those that are there.
func (w *work) files() (list []string) {
	for f, s := range w.state {
		if s != absent {
			list = append(list, f)
		}
	}
	slices.Sort(list)
	return list
}

// fresh makes a content, and gives its file in the guest and its checksum.
func (w *work) fresh() (path, sum string) {
	b := make([]byte, page+w.rnd.IntN(10*page))
	for i := range b {
		b[i] = byte(w.rnd.Uint32())
	}
	path = fmt.Sprintf("/src/%d", len(w.content))
	w.content[path] = string(b)
	return path, fmt.Sprintf("%x", md5.Sum(b))
}

// create writes a new file and fsyncs it, with a little that is not: it may be lost.
func (w *work) create(f string) {
	path, sum := w.fresh()
	w.state[f] = sum
	w.steps = append(w.steps, &step{
		script: fmt.Sprintf("cp %s loose%d\ndd if=%s of=%s bs=16k conv=fsync 2>/dev/null", path, w.rnd.IntN(3), path, f),
		before: []change{{file: f}},
		after:  []change{{f, []string{sum}}},
		writes: path,
	})
}

// replace writes a file anew under another name and renames it over the old one: at each
// moment the name has the old content or the new.
func (w *work) replace(f string) {
	path, sum := w.fresh()
	old := w.state[f]
	w.state[f] = sum
	w.steps = append(w.steps, &step{
		script: fmt.Sprintf("dd if=%s of=new bs=16k conv=fsync 2>/dev/null\nmv new %s\nsync .", path, f),
		before: []change{{f, []string{old, sum}}},
		after:  []change{{f, []string{sum}}},
		writes: path,
	})
}

func (w *work) rename(f, to string) {
	sum := w.state[f]
	w.state[f], w.state[to] = absent, sum
	w.steps = append(w.steps, &step{
		script: fmt.Sprintf("mv %s %s\nsync .", f, to),
		before: []change{{f, []string{sum, absent}}, {to, []string{absent, sum}}},
		after:  []change{{f, []string{absent}}, {to, []string{sum}}},
	})
}

func (w *work) remove(f string) {
	sum := w.state[f]
	w.state[f] = absent
	w.steps = append(w.steps, &step{
		script: fmt.Sprintf("rm %s\nsync", f),
		before: []change{{f, []string{sum, absent}}},
		after:  []change{{f, []string{absent}}},
	})
}

// script is what the guest runs on a device. It asks for leave before and after each step.
func (w *work) script(device string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `mkfs.ext4 -q -b 4096 -N 256 -O metadata_csum -E lazy_itable_init=0,lazy_journal_init=0 %[1]s
mount -t ext4 -o discard %[1]s /mnt
cd /mnt
sync
ask made
`, device)
	for i, s := range w.steps {
		fmt.Fprintf(&b, "ask begin%d\n%s\nask end%d\n", i, s.script, i)
	}
	b.WriteString("cd /\numount /mnt\nsync\nask done\n")
	return b.String()
}

// unearned lists the steps that were told to be durable with no flush, or write with FUA,
// in the record since their begin: each changes the file system, so each needs one.
func (w *work) unearned(l record) (list []int) {
	for i, s := range w.steps {
		if l.lastFlush(s.to) <= s.from {
			list = append(list, i)
		}
	}
	return list
}

// expected tells in which states each file may be that a crash at m has left.
func (w *work) expected(m *image) map[string][]string {
	may := map[string][]string{}
	for _, s := range w.steps {
		if s.from < m.ended {
			for _, c := range s.before {
				may[c.file] = c.states
			}
		}
		if s.sealed <= m.flushed {
			for _, c := range s.after {
				may[c.file] = c.states
			}
		}
	}
	return may
}
