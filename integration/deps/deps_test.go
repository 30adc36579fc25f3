// SPDX-License-Identifier: Apache-2.0

package deps

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/users.txt anew")

const root = "../.."

// list runs go list over the module and all it imports.
func list(t *testing.T) (own []*pkg, standard map[string]bool) {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-deps", "-tags", "integration,long",
		"-json=ImportPath,Dir,Doc,Name,Standard,GoFiles,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	standard = map[string]bool{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		p := &pkg{}
		err := dec.Decode(p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if p.Standard {
			standard[p.ImportPath] = true
		}
		if ours(p.ImportPath) {
			own = append(own, p)
		}
	}
	if len(own) == 0 {
		t.Fatal("go list found no package of this module")
	}
	return own, standard
}

func readRules(t *testing.T) []rule {
	t.Helper()
	text, err := os.ReadFile("testdata/rules.txt")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := parseRules(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func TestImports(t *testing.T) {
	own, standard := list(t)
	rules := readRules(t)
	for _, p := range own {
		for _, f := range faults(rules, p, standard) {
			t.Error(f)
		}
	}
}

// importer is the file of p that imports path.
func importer(p *pkg, path string) string {
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ImportsOnly)
		if err != nil {
			continue
		}
		for _, i := range f.Imports {
			if s, err := strconv.Unquote(i.Path.Value); err == nil && s == path {
				return name
			}
		}
	}
	return "in no file"
}

// TestWatchedModules: each user of the modules that were chosen for one purpose
// is listed, so that a new one is seen in review.
func TestWatchedModules(t *testing.T) {
	watched := []string{
		"github.com/gostor/gotgt", "github.com/pojntfx/go-nbd", "github.com/vishvananda/netlink", "golang.org/x/sys",
	}
	own, _ := list(t)
	var b strings.Builder
	for _, w := range watched {
		var users []string
		for _, p := range own {
			uses := func(imp string) bool { return matches(w+"/...", imp) }
			switch {
			case slices.ContainsFunc(p.Imports, uses):
				users = append(users, short(p.ImportPath))
			case slices.ContainsFunc(append(p.TestImports, p.XTestImports...), uses):
				users = append(users, short(p.ImportPath)+" (tests)")
			}
		}
		slices.Sort(users)
		fmt.Fprintf(&b, "%s: %s\n", w, strings.Join(users, ", "))
	}
	got := b.String()
	t.Logf("who imports what:\n%s", got)
	if *update {
		if err := os.WriteFile("testdata/users.txt", []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/users.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s\nif it is meant: go test ./integration/deps -update", got, want)
	}
}

// TestProgramHasNoPeers: what only tests use is not in the program.
func TestProgramHasNoPeers(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "./cmd/pathgate")
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	linked := strings.Fields(string(out))
	if !slices.Contains(linked, "pathgate/gateway") {
		t.Fatalf("the program has no gateway: %s", out)
	}
	for _, p := range linked {
		for _, peer := range []string{"github.com/gostor/gotgt/...", "github.com/sirupsen/logrus", "pathgate/integration/..."} {
			if matches(peer, p) {
				t.Errorf("the program imports %s", p)
			}
		}
	}
}

func TestEveryPackageIsDocumented(t *testing.T) {
	own, _ := list(t)
	for _, p := range own {
		name := short(p.ImportPath)
		if len(p.GoFiles) == 0 {
			continue // tests alone
		}
		if p.Doc == "" {
			t.Errorf("%s has no doc comment", name)
		}
		if p.Name != "main" && !slices.Contains(p.GoFiles, "doc.go") && len(p.GoFiles) > 1 {
			t.Errorf("%s has no doc.go", name)
		}
	}
}

func TestEveryFileNamesItsLicence(t *testing.T) {
	const want = "// SPDX-License-Identifier: Apache-2.0\n"
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}
		b, err := os.ReadFile(path)
		if err == nil && !strings.HasPrefix(string(b), want) {
			t.Errorf("%s does not begin with %q", strings.TrimPrefix(path, root+"/"), strings.TrimSpace(want))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFaults: the rules do catch what they are for.
func TestFaults(t *testing.T) {
	rules := readRules(t)
	standard := map[string]bool{"fmt": true}
	tests := []struct {
		name string
		p    pkg
		want string // part of the only fault; "" for none
	}{
		{"share", pkg{ImportPath: "pathgate/share", Imports: []string{"fmt"}}, ""},
		{"share imports a module", pkg{ImportPath: "pathgate/share", Imports: []string{"golang.org/x/sys/unix"}}, "golang.org/x/sys/unix"},
		{"share imports us", pkg{ImportPath: "pathgate/share", Imports: []string{"pathgate/internal/buffer"}}, "internal/buffer"},
		{"internal imports internal", pkg{ImportPath: "pathgate/internal/iscsi", Imports: []string{"pathgate/internal/scsi"}}, "internal/scsi"},
		{"internal imports a module", pkg{ImportPath: "pathgate/internal/stream", Imports: []string{"golang.org/x/sys/unix"}}, "golang.org/x/sys"},
		{"backends", pkg{ImportPath: "pathgate/backends", Imports: []string{"pathgate/internal/buffer"}}, ""},
		{"backends imports a codec", pkg{ImportPath: "pathgate/backends", Imports: []string{"pathgate/internal/iscsi"}}, "internal/iscsi"},
		{"initiator", pkg{ImportPath: "pathgate/backends/iscsi", Imports: []string{"pathgate/internal/stream", "pathgate/backends"}}, ""},
		{"initiator imports multipath", pkg{ImportPath: "pathgate/backends/iscsi", Imports: []string{"pathgate/multipath"}}, "multipath"},
		{"memory imports gotgt", pkg{ImportPath: "pathgate/backends/memory", Imports: []string{"github.com/gostor/gotgt/pkg/config"}}, "gotgt"},
		{"multipath imports share", pkg{ImportPath: "pathgate/multipath", Imports: []string{"pathgate/share"}}, "share"},
		{"multipath imports a session", pkg{ImportPath: "pathgate/multipath", Imports: []string{"pathgate/backends/iscsi"}}, "backends/iscsi"},
		{"front-ends apart", pkg{ImportPath: "pathgate/gateway/nbd", Imports: []string{"pathgate/gateway/iscsi"}}, "gateway/iscsi"},
		{"front-end imports multipath", pkg{ImportPath: "pathgate/gateway/nbd", Imports: []string{"pathgate/multipath"}}, "multipath"},
		{"target on device server", pkg{ImportPath: "pathgate/gateway/iscsi", Imports: []string{"pathgate/gateway/scsi"}}, ""},
		{"below imports gateway", pkg{ImportPath: "pathgate/multipath", Imports: []string{"pathgate/gateway"}}, "gateway"},
		{"gateway", pkg{ImportPath: "pathgate/gateway", Imports: []string{"pathgate/share", "pathgate/backends/file", "go.etcd.io/bbolt"}}, ""},
		{"gateway imports cmd", pkg{ImportPath: "pathgate/gateway", Imports: []string{"pathgate/cmd/pathgate"}}, "cmd/pathgate"},
		{"integration imports cmd", pkg{ImportPath: "pathgate/integration/x", Imports: []string{"pathgate/cmd/pathgate"}}, "cmd/pathgate"},
		{"another test bed imports gotgt", pkg{ImportPath: "pathgate/integration/x", Imports: []string{"github.com/gostor/gotgt/pkg/scsi"}}, "gotgt"},
		{"cmd imports integration", pkg{ImportPath: "pathgate/cmd/pathgate", Imports: []string{"pathgate/integration/tgtd"}}, "integration/tgtd"},
		{"a test imports cmd", pkg{ImportPath: "pathgate/share", TestImports: []string{"pathgate/cmd/pathgate"}}, "a test of share"},
		{"an outer test imports cmd", pkg{ImportPath: "pathgate/integration/x", XTestImports: []string{"pathgate/cmd/pathgate"}}, "a test of integration/x"},
		{"a test imports a helper", pkg{ImportPath: "pathgate/multipath", TestImports: []string{"pathgate/backends/devicetest"}}, ""},
		{"unknown", pkg{ImportPath: "pathgate/newthing"}, "no rule"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := faults(rules, &tt.p, standard)
			if tt.want == "" && len(got) > 0 || tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
