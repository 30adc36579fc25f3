// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
)

func openStore(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// must gives the value of a call that cannot fail here.
func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func reopen(t *testing.T, s *Store) *Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return openStore(t, filepath.Dir(s.Path()))
}

func TestStoreModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "state")
	s := openStore(t, dir)
	for path, want := range map[string]os.FileMode{dir: 0o700, s.Path(): 0o600, filepath.Join(dir, lockFile): 0o600} {
		info := must[os.FileInfo](t)(os.Stat(path))
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s: mode %#o, want %#o", path, got, want)
		}
	}
	s.Close()
	if err := os.Chmod(s.Path(), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore(dir); err == nil || !strings.Contains(err.Error(), "0644") {
		t.Errorf("loose mode: got %v", err)
	}
}

func TestStoreISIDs(t *testing.T) {
	s := openStore(t, t.TempDir())
	key := ISIDKey{"vmhba0", "iqn.2026-11.test:a", 1, "127.0.0.1:3260"}
	others := []ISIDKey{
		{"vmhba1", key.Target, 1, key.Portal},
		{"vmhba0", "iqn.2026-11.test:b", 1, key.Portal},
		{"vmhba0", key.Target, 2, key.Portal},
		{"vmhba0", key.Target, 1, "127.0.0.1:3261"},
	}
	first := must[[6]byte](t)(s.ISID(key))
	if first[0] != 0x80 {
		t.Errorf("ISID %x: not the random format", first)
	}
	want := map[ISIDKey][6]byte{key: first}
	seen := map[[6]byte]bool{first: true}
	for _, k := range others {
		isid := must[[6]byte](t)(s.ISID(k))
		if seen[isid] {
			t.Errorf("%+v: ISID %x twice", k, isid)
		}
		seen[isid] = true
		want[k] = isid
	}
	s = reopen(t, s)
	if got := must[[6]byte](t)(s.ISID(key)); got != first {
		t.Errorf("after reopening: %x, want %x", got, first)
	}
	if diff := cmp.Diff(want, must[map[ISIDKey][6]byte](t)(s.ISIDs())); diff != "" {
		t.Error(diff)
	}
	other := openStore(t, t.TempDir())
	if got := must[[6]byte](t)(other.ISID(key)); got == first {
		t.Errorf("two gateways share ISID %x", got)
	}
	if must[[16]byte](t)(s.GatewayID()) == must[[16]byte](t)(other.GatewayID()) {
		t.Error("two gateways share an id")
	}
	if _, err := s.ISID(ISIDKey{Adapter: "a\x00b", Target: "t", Portal: "p"}); err == nil {
		t.Error("a key with NUL was taken")
	}
}

func TestStoreTargetNumbersAreNeverReused(t *testing.T) {
	s := openStore(t, t.TempDir())
	key := func(i int) TargetKey { return TargetKey{fmt.Sprintf("iqn.2026-11.test:%d", i), "127.0.0.1:3260"} }
	for i := range 5 {
		if got := must[int](t)(s.TargetNumber(key(i))); got != i {
			t.Fatalf("target %d has number %d", i, got)
		}
	}
	if err := s.ForgetTarget(key(4)); err != nil {
		t.Fatal(err)
	}
	if err := s.ForgetTarget(key(1)); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s)
	for _, step := range []struct{ target, want int }{{0, 0}, {4, 5}, {3, 3}, {1, 6}, {7, 7}} {
		if got := must[int](t)(s.TargetNumber(key(step.target))); got != step.want {
			t.Errorf("target %d has number %d, want %d", step.target, got, step.want)
		}
	}
	want := map[TargetKey]int{key(0): 0, key(2): 2, key(3): 3, key(4): 5, key(1): 6, key(7): 7}
	if diff := cmp.Diff(want, must[map[TargetKey]int](t)(s.Targets())); diff != "" {
		t.Error(diff)
	}
}

func TestStoreNumbersUnderConcurrency(t *testing.T) {
	s := openStore(t, t.TempDir())
	const workers, targets = 8, 6
	got := make([][targets]int, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range targets {
				n, err := s.TargetNumber(TargetKey{fmt.Sprint("iqn.2026-11.test:", i), "h:1"})
				if err != nil {
					t.Error(err)
				}
				got[w][i] = n
			}
		})
	}
	wg.Wait()
	seen := map[int]bool{}
	for i, n := range got[0] {
		if seen[n] || n < 0 || n >= targets {
			t.Errorf("target %d has number %d", i, n)
		}
		seen[n] = true
	}
	for w := range got {
		if got[w] != got[0] {
			t.Errorf("worker %d saw %v, worker 0 %v", w, got[w], got[0])
		}
	}
}

func TestStoreBindings(t *testing.T) {
	s := openStore(t, t.TempDir())
	if err := s.BindName("vmhba0:0:1", "naa.6001"); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s)
	if err := s.BindName("vmhba0:0:1", "naa.6001"); err != nil {
		t.Errorf("the same identity again: %v", err)
	}
	err := s.BindName("vmhba0:0:1", "naa.6002")
	var be *BindingError
	if !errors.As(err, &be) || *be != (BindingError{"vmhba0:0:1", "naa.6001", "naa.6002"}) {
		t.Fatalf("another identity: got %v", err)
	}
	for _, word := range []string{"vmhba0:0:1", "naa.6001", "naa.6002"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not name %s", err, word)
		}
	}
	if id, ok, err := s.Binding("vmhba0:0:1"); id != "naa.6001" || !ok || err != nil {
		t.Errorf("binding = %q, %v, %v", id, ok, err)
	}
	if err := s.Unbind("vmhba0:0:1"); err != nil {
		t.Fatal(err)
	}
	if err := s.BindName("vmhba0:0:1", "naa.6002"); err != nil {
		t.Errorf("after Unbind: %v", err)
	}
	if diff := cmp.Diff(map[string]string{"vmhba0:0:1": "naa.6002"}, must[map[string]string](t)(s.Bindings())); diff != "" {
		t.Error(diff)
	}
	if s.BindName("", "x") == nil || s.BindName("x", "") == nil {
		t.Error("an empty name or identity was bound")
	}
}

func TestStoreAliasesAndDisabledPaths(t *testing.T) {
	s := openStore(t, t.TempDir())
	for _, err := range []error{
		s.SetAlias("db", "naa.1"), s.SetAlias("logs", "naa.2"), s.SetAlias("db", "naa.3"), s.RemoveAlias("logs"), s.RemoveAlias("none"),
		s.SetPathDisabled("vmhba0:0:2", true), s.SetPathDisabled("vmhba1:0:2", true), s.SetPathDisabled("vmhba0:0:2", false),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if s.SetAlias("../x", "naa.1") == nil {
		t.Error("a bad alias was taken")
	}
	s = reopen(t, s)
	if diff := cmp.Diff(map[string]string{"db": "naa.3"}, must[map[string]string](t)(s.Aliases())); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]bool{"vmhba1:0:2": true}, must[map[string]bool](t)(s.DisabledPaths())); diff != "" {
		t.Error(diff)
	}
}

func TestStoreGhosts(t *testing.T) {
	s := openStore(t, t.TempDir())
	at := time.Date(2026, 11, 22, 10, 0, 0, 5, time.UTC)
	a := GhostRecord{Device: "naa.1", Offset: 4096, Length: 512, Path: "vmhba0:0:1", Epoch: 3, Generation: 2, ITT: 7, CmdSN: 0xffffffff, Time: at}
	b := a
	b.ITT = 8
	whole := GhostRecord{Device: "naa.2", Whole: true, Path: "vmhba0:0:2", Epoch: 12, Generation: 1, Time: at}
	if err := s.PutGhosts(whole, b, a); err != nil {
		t.Fatal(err)
	}
	if err := s.PutGhosts(a); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s)
	if diff := cmp.Diff([]GhostRecord{a, b, whole}, must[[]GhostRecord](t)(s.Ghosts())); diff != "" {
		t.Error(diff)
	}
	empty := a
	empty.Length = 0
	c := a
	c.ITT = 9
	if s.PutGhosts(c, empty) == nil {
		t.Error("a ghost without a range was taken")
	}
	if got := must[[]GhostRecord](t)(s.Ghosts()); len(got) != 3 {
		t.Errorf("a refused batch left %d ghosts, want 3", len(got))
	}
	if err := s.DeleteGhosts(a, whole, c); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s)
	if diff := cmp.Diff([]GhostRecord{b}, must[[]GhostRecord](t)(s.Ghosts())); diff != "" {
		t.Error(diff)
	}
}

func TestStoreEpochs(t *testing.T) {
	s := openStore(t, t.TempDir())
	begin := func(wantEpoch uint64, wantClean bool) {
		t.Helper()
		if epoch, clean, err := s.Begin(); epoch != wantEpoch || clean != wantClean || err != nil {
			t.Fatalf("Begin = %d, %v, %v; want %d, %v", epoch, clean, err, wantEpoch, wantClean)
		}
	}
	begin(1, true)
	s = reopen(t, s)
	begin(2, false)
	if err := s.CleanStop(); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s)
	begin(3, true)
	ghost := GhostRecord{Device: "d", Whole: true, Path: "p", Epoch: 3, Generation: 1}
	if err := s.PutGhosts(ghost); err != nil {
		t.Fatal(err)
	}
	if s.CleanStop() == nil {
		t.Error("a stop with a ghost left was recorded as clean")
	}
	s = reopen(t, s)
	begin(4, false)
	if err := s.DeleteGhosts(ghost); err != nil {
		t.Fatal(err)
	}
	if err := s.CleanStop(); err != nil {
		t.Fatal(err)
	}
}

func TestStoreIsLocked(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	_, err := OpenStore(dir)
	if !errors.Is(err, ErrStoreInUse) {
		t.Fatalf("second opening: %v", err)
	}
	for _, want := range []string{filepath.Join(dir, lockFile), fmt.Sprintf("pid %d", os.Getpid()), "state directory of its own"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	openStore(t, dir)
}

// filled makes a store with something in every bucket and gives its content.
func filled(t *testing.T, dir string) (path string, content string) {
	t.Helper()
	s := openStore(t, dir)
	for i := range 60 {
		name := fmt.Sprintf("iqn.2026-11.test:target-%d", i)
		must[[6]byte](t)(s.ISID(ISIDKey{"vmhba0", name, 1, "127.0.0.1:3260"}))
		must[int](t)(s.TargetNumber(TargetKey{name, "127.0.0.1:3260"}))
		must[[]uint16](t)(s.LUNNumbers(fmt.Sprint("vm", i), []LUNWish{{Disk: "root"}}))
	}
	must[[16]byte](t)(s.DiskUUID("vm1", "root"))
	for _, err := range []error{
		s.BindName("a", "naa.1"), s.SetAlias("b", "naa.1"), s.SetPathDisabled("p", true),
		s.PutGhosts(GhostRecord{Device: "d", Whole: true, Path: "p"}),
		s.PutShareOverrides(someOverrides()), s.PutSelection("naa.1", someSelection()),
		s.PutClaimRule(maskRule(7, "lun=5")), s.PutReservations("vm1", "root", []byte("{}")),
		s.PutErasure("vm1", "root", ErasureRecord{Layout: "naa.1 at 0: rest", Erasure: []byte("{}")}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	content = dump(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return s.Path(), content
}

// dump writes all records as text.
func dump(s *Store) string {
	var b strings.Builder
	err := s.db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, bk *bbolt.Bucket) error {
			fmt.Fprintf(&b, "%s\n", name)
			return bk.ForEach(func(k, v []byte) error {
				fmt.Fprintf(&b, " %q %x\n", k, v)
				return nil
			})
		})
	})
	return fmt.Sprint(b.String(), err)
}

func TestStoreDamage(t *testing.T) {
	path, _ := filled(t, t.TempDir())
	good := must[[]byte](t)(os.ReadFile(path))
	tests := map[string]struct {
		content []byte
		want    error
	}{
		"empty":                  {nil, ErrStoreCorrupt},
		"a text file":            {[]byte(strings.Repeat("hello\n", 4000)), ErrStoreCorrupt},
		"cut in the headers":     {good[:5000], ErrStoreCorrupt},
		"cut at half":            {good[:len(good)/2/4096*4096], ErrStoreCorrupt},
		"both headers zeroed":    {append(make([]byte, 8192), good[8192:]...), ErrStoreCorrupt},
		"all but headers zeroed": {append(bytes.Clone(good[:8192]), make([]byte, len(good)-8192)...), ErrStoreCorrupt},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, storeFile)
			if err := os.WriteFile(path, tt.content, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := OpenStore(dir)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %v with the file's name", err, tt.want)
			}
			if after := must[[]byte](t)(os.ReadFile(path)); !bytes.Equal(after, tt.content) {
				t.Error("the damaged file was changed")
			}
		})
	}
}

// TestStoreFlippedBytes: one wrong byte anywhere is found, or changes nothing.
func TestStoreFlippedBytes(t *testing.T) {
	path, want := filled(t, t.TempDir())
	good := must[[]byte](t)(os.ReadFile(path))
	rng := rand.New(rand.NewPCG(1, 9))
	dir := t.TempDir()
	bad := filepath.Join(dir, storeFile)
	found := 0
	for range 150 {
		at, mask := rng.IntN(len(good)), byte(1+rng.IntN(255))
		b := bytes.Clone(good)
		b[at] ^= mask
		if err := os.WriteFile(bad, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := OpenStore(dir)
		if err != nil {
			if found++; !errors.Is(err, ErrStoreCorrupt) {
				t.Errorf("byte %d ^ %#x: %v", at, mask, err)
			}
			if after := must[[]byte](t)(os.ReadFile(bad)); !bytes.Equal(after, b) {
				t.Errorf("byte %d ^ %#x: the damaged file was changed", at, mask)
			}
			continue
		}
		if got := dump(s); got != want {
			t.Errorf("byte %d ^ %#x: opened with other content: %s", at, mask, cmp.Diff(want, got))
		}
		s.Close()
	}
	if found == 0 {
		t.Error("no flipped byte was ever found")
	}
	t.Logf("%d of 150 were found, the rest changed nothing", found)
}

func TestStoreFlippedRecordIsNamed(t *testing.T) {
	path, _ := filled(t, t.TempDir())
	b := must[[]byte](t)(os.ReadFile(path))
	b = bytes.ReplaceAll(b, []byte(`"naa.1"`), []byte(`"naa.9"`))
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := OpenStore(filepath.Dir(path))
	if !errors.Is(err, ErrStoreCorrupt) || !strings.Contains(err.Error(), bucketAliases) && !strings.Contains(err.Error(), bucketBindings) {
		t.Errorf("got %v", err)
	}
}

func TestStoreOfANewerVersion(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	if err := s.update(func(c *change) error { c.m.Schema = storeSchema + 1; return nil }); err != nil {
		t.Fatal(err)
	}
	s.Close()
	before := must[[]byte](t)(os.ReadFile(s.Path()))
	if _, err := OpenStore(dir); !errors.Is(err, ErrStoreVersion) {
		t.Errorf("got %v", err)
	}
	if after := must[[]byte](t)(os.ReadFile(s.Path())); !bytes.Equal(before, after) {
		t.Error("the file was changed")
	}
}

// TestStoreLeftoverOfCreation: a crash while the store was made leaves only the
// unfinished file, which the next start replaces.
func TestStoreLeftoverOfCreation(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, storeFile+".new"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	openStore(t, dir)
	names := map[string]bool{}
	for _, e := range must[[]os.DirEntry](t)(os.ReadDir(dir)) {
		names[e.Name()] = true
	}
	if want := map[string]bool{storeFile: true, lockFile: true}; !maps.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
}
