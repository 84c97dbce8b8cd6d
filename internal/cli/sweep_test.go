package cli

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const killed = `
name: killed
base: {chip: h100-sxm, model: gpt2, phase: prefill, seq: 512}
axes:
  memory.dram.bandwidth: {from: 1 TB/s, to: 4 TB/s, steps: 12}
  cores.count: {from: 60, to: 132, steps: 7}
`

// process starts the program in a process of its own.
func process(t *testing.T, dir string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd := exec.Command(exe)
	cmd.Args = append([]string{"maru"}, args...)
	cmd.Dir, cmd.Stderr = dir, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, &errs
}

// lines waits until a journal has so many lines and returns it.
func lines(t *testing.T, name string, n int) []byte {
	t.Helper()
	for range 6000 {
		data, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if bytes.Count(data, []byte("\n")) >= n {
			return data[:bytes.LastIndexByte(data, '\n')+1]
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s does not grow", name)
	return nil
}

func exit(err error) int {
	var e *exec.ExitError
	if errors.As(err, &e) {
		return e.ExitCode()
	}
	return 0
}

// A sweep that is killed, twice and at any time, loses the runs under way and
// no others; while it lives, no other works in its folder.
func TestKilledSweep(t *testing.T) {
	if testing.Short() || runtime.GOOS == "windows" {
		t.Skip("starts and kills processes")
	}
	dir := t.TempDir()
	study := filepath.Join(dir, "study.yaml")
	if err := os.WriteFile(study, []byte(killed), 0o666); err != nil {
		t.Fatal(err)
	}
	journal := filepath.Join(dir, "out", "journal.jsonl")

	first, _ := process(t, dir, "sweep", study, "--out", "out", "--jobs", "2")
	kept := lines(t, journal, 12)
	if _, errs, code := call("sweep", study, "--out", filepath.Join(dir, "out"), "--resume"); code != exitUsage || !strings.Contains(errs, "is in use by another sweep, process") {
		t.Errorf("a second sweep in the folder: exit code %d, %s", code, errs)
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	first.Wait()

	if _, errs, code := call("sweep", study, "--out", filepath.Join(dir, "out")); code != exitUsage || !strings.Contains(errs, "--resume to go on with it") {
		t.Errorf("without --resume: exit code %d, %s", code, errs)
	}
	second, errs := process(t, dir, "sweep", study, "--out", "out", "--jobs", "2", "--resume")
	before := bytes.Count(kept, []byte("\n"))
	lines(t, journal, before+15)
	if err := second.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := exit(second.Wait()); code != exitInterrupted || !strings.Contains(errs.String(), "maru sweep: interrupted after ") {
		t.Errorf("after a signal: exit code %d, %s", code, errs)
	}

	if _, errs, code := call("sweep", study, "--out", filepath.Join(dir, "out"), "--resume"); code != exitOK {
		t.Fatalf("resumed: exit code %d, %s", code, errs)
	}
	if _, errs, code := call("sweep", study, "--out", filepath.Join(dir, "whole")); code != exitOK {
		t.Fatalf("whole: exit code %d, %s", code, errs)
	}
	for _, name := range []string{"results.csv", "results.jsonl", "results.parquet", "sweep.json"} {
		a, err := os.ReadFile(filepath.Join(dir, "out", name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, "whole", name))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(b), string(a)); d != "" {
			t.Errorf("%s differs (-whole +killed):\n%s", name, d)
		}
	}
	data, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(data, kept) {
		t.Error("runs from before the kill were lost")
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		if seen[line] {
			t.Errorf("run twice: %s", line)
		}
		seen[line] = true
	}
}
