// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// ownerScript runs the commands of a story on a tenancy, and gives what came of each.
//
//	claim A1 [single]   a use of client A, the letter, claims; again if it has claimed
//	leave, end A1       its client has gone; nothing of it runs any more
//	release             by an administrator
//	after 10s           time passes
//	login A             whether A would be refused
type ownerScript struct {
	t    tenancy
	now  time.Time
	uses map[string]*use
}

func (s *ownerScript) run(line string) string {
	w := strings.Fields(line)
	names := func(list []*use) string {
		var out []string
		for _, u := range list {
			out = append(out, u.session)
		}
		return strings.Join(out, " ")
	}
	switch w[0] {
	case "claim":
		u := s.uses[w[1]]
		if u == nil {
			u = &use{client: clientID{w[1][:1], w[1][:1]}, session: w[1], single: len(w) > 2}
			s.uses[w[1]] = u
		}
		v := s.t.claim(s.now, u)
		out := [...]string{granted: "granted", waits: "waits for " + v.holder.name, refused: "refused for " + v.holder.name}[v.kind]
		if len(v.cut) > 0 {
			out += ", cut " + names(v.cut)
		}
		for _, c := range v.from {
			out += ", taken from " + c.name
		}
		return out
	case "leave":
		s.t.leave(s.uses[w[1]])
	case "end":
		s.t.end(s.uses[w[1]])
		delete(s.uses, w[1])
	case "release":
		cut, _ := s.t.release(s.now)
		return "cut " + names(cut)
	case "after":
		d, err := time.ParseDuration(w[1])
		if err != nil {
			return err.Error()
		}
		s.now = s.now.Add(d)
	case "login":
		if v := s.t.judge(s.now, clientID{w[1], w[1]}); v.kind == refused {
			return "refused for " + v.holder.name
		}
		return "let in"
	default:
		return "unknown command"
	}
	var list []string
	for _, u := range s.t.uses {
		list = append(list, u.session)
	}
	return "uses: " + strings.Join(list, " ")
}

// TestTenancy plays the stories of testdata/owner: who gets a disk, in each mode. Each
// line of a story has what came of it behind "->"; -update writes that.
func TestTenancy(t *testing.T) {
	files, err := filepath.Glob("testdata/owner/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %d files", err, len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := ownerScript{now: time.Unix(1e9, 0)}
			var got strings.Builder
			for line := range strings.Lines(string(b)) {
				line = strings.TrimSuffix(line, "\n")
				cmd, _, _ := strings.Cut(line, " ->")
				switch mode, isMode := strings.CutPrefix(cmd, "mode "); {
				case isMode:
					s.t, s.uses = tenancy{mode: ClientsMode(mode)}, map[string]*use{}
				case cmd != "" && !strings.HasPrefix(cmd, "#"):
					line = cmd + " -> " + strings.TrimSpace(s.run(cmd))
				}
				fmt.Fprintln(&got, line)
			}
			if *update {
				if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(b), got.String()); diff != "" && !*update {
				t.Error(diff)
			}
		})
	}
}

// TestTenancyRandom holds what must never happen against random stories: uses of two
// clients at once, or a use that begins while an older one, of any client, has requests
// left of which nobody hears any more.
func TestTenancyRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(4, 2))
	for _, mode := range []ClientsMode{ClientsExclusive, ClientsTakeover} {
		x := tenancy{mode: mode}
		now := time.Unix(1e9, 0)
		var all []*use
		granteds := 0
		for range 20_000 {
			now = now.Add(time.Duration(rnd.IntN(5)) * time.Second)
			i := rnd.IntN(8)
			switch op := rnd.IntN(100); {
			case op < 60:
				var u *use
				if key := string(rune('A' + i%4)); len(all) < 12 || i > 5 {
					u = &use{client: clientID{key, key}, single: rnd.IntN(2) == 0}
					all = append(all, u)
				} else {
					u = all[rnd.IntN(len(all))]
				}
				ending := slices.ContainsFunc(x.uses, func(o *use) bool { return o != u && o.ending })
				known := slices.Contains(x.uses, u)
				if v := x.claim(now, u); v.kind == granted {
					granteds++
					if ending && !known {
						t.Fatalf("%s: a use begins before an older one has ended", mode)
					}
				}
			case op < 70 && len(all) > 0:
				x.leave(all[rnd.IntN(len(all))])
			case op < 98 && len(all) > 0:
				k := rnd.IntN(len(all))
				x.end(all[k])
				all = slices.Delete(all, k, k+1)
			case op >= 98:
				x.release(now)
			}
			if c := x.clients(); len(c) > 1 {
				t.Fatalf("%s: owned by %v", mode, c)
			}
			if len(x.bars) > maxBars {
				t.Fatalf("%d bars", len(x.bars))
			}
		}
		if granteds < 300 {
			t.Errorf("%s: only %d uses began", mode, granteds)
		}
	}
}
