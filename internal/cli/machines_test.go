package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMachineStudies runs the studies of what sets kinds of machines apart.
// Points fail only where the study is about what does not fit.
func TestMachineStudies(t *testing.T) {
	if testing.Short() {
		t.Skip("runs some four hundred points")
	}
	files, err := filepath.Glob(filepath.Join(repository, "configs/studies/machines/*.yaml"))
	if err != nil || len(files) < 15 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			var out, problems bytes.Buffer
			dir := filepath.Join(t.TempDir(), "out")
			if code := Run([]string{"sweep", file, "--out", dir}, IO{Out: &out, Err: &problems}); code != 0 {
				t.Fatalf("exit %d\n%s%s", code, &out, &problems)
			}
			table, err := os.ReadFile(filepath.Join(dir, "results.csv"))
			if err != nil {
				t.Fatal(err)
			}
			rows := strings.Split(strings.TrimSpace(string(table)), "\n")
			failed := 0
			for _, r := range rows[1:] {
				if strings.Contains(r, ",failed,") {
					failed++
				}
			}
			if fits := name != "tile-memory"; len(rows) < 4 || fits != (failed == 0) || failed == len(rows)-1 {
				t.Errorf("%d rows, %d failed:\n%s", len(rows)-1, failed, &problems)
			}
		})
	}
}
