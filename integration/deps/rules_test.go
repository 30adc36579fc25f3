// SPDX-License-Identifier: Apache-2.0

package deps

import (
	"fmt"
	"strings"
)

const module = "pathgate"

// rule says what packages that match pattern may import.
type rule struct {
	pattern string
	allow   []string
}

// parseRules reads the format that rules.txt explains.
func parseRules(text string) ([]rule, error) {
	var rules []rule
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		pattern, allow, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("rule %q lacks a colon", line)
		}
		rules = append(rules, rule{pattern, strings.Fields(allow)})
	}
	return rules, nil
}

// matches reports whether name (a path below the module, or of another module)
// is what pattern stands for.
func matches(pattern, name string) bool {
	if dir, ok := strings.CutSuffix(pattern, "/..."); ok {
		return name == dir || strings.HasPrefix(name, dir+"/")
	}
	if dir, ok := strings.CutSuffix(pattern, "/*"); ok {
		return strings.HasPrefix(name, dir+"/")
	}
	return name == pattern
}

func matchesAny(patterns []string, name string) bool {
	for _, p := range patterns {
		if matches(p, name) {
			return true
		}
	}
	return false
}

// pkg is what go list says of a package.
type pkg struct {
	ImportPath, Dir, Doc, Name string
	Standard                   bool
	GoFiles                    []string
	Imports                    []string
	TestImports, XTestImports  []string
}

// short is the import path below the module, or as it is.
func short(importPath string) string { return strings.TrimPrefix(importPath, module+"/") }

func ours(importPath string) bool { return strings.HasPrefix(importPath, module+"/") }

// faults lists what p imports against the rules. standard tells packages of the
// standard library.
func faults(rules []rule, p *pkg, standard map[string]bool) []string {
	var out []string
	name := short(p.ImportPath)
	i := 0
	for i < len(rules) && !matches(rules[i].pattern, name) {
		i++
	}
	if i == len(rules) {
		return []string{fmt.Sprintf("%s: no rule in rules.txt says what it may import", name)}
	}
	for _, imp := range p.Imports {
		if standard[imp] || imp == "C" || matchesAny(rules[i].allow, short(imp)) {
			continue
		}
		out = append(out, fmt.Sprintf("%s imports %s (%s); it may import: %s",
			name, short(imp), importer(p, imp), strings.Join(append([]string{"standard library"}, rules[i].allow...), ", ")))
	}
	for _, imp := range append(p.TestImports, p.XTestImports...) {
		if ours(imp) && matches("cmd/...", short(imp)) && !matches("cmd/...", name) {
			out = append(out, fmt.Sprintf("a test of %s imports %s, which nothing may import", name, short(imp)))
		}
	}
	return out
}
