// Package goldentest compares what tests make with files in their testdata, or
// writes these anew with the flag -update. Floor 0.
package goldentest

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Update says that tests write what they would compare with.
var Update = flag.Bool("update", false, "write what tests compare with anew")

// Check fails the test unless got is what the file holds, of which the name within
// testdata is given.
func Check(t testing.TB, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *Update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got; -update writes it anew, look at what changes):\n%s", file, d)
	}
}
