package sweep

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"maru/studies/run"
	"maru/studies/study"
)

// small is a study with points of every kind.
const small = `
name: small
base: {chip: h100-sxm, op: "gemm:m=64,n=1024,k=1024"}
axes:
  memory.dram.bandwidth: {from: 1 TB/s, to: 4 TB/s, steps: 4}
  cores.count: [0, 66, 132]
  dtype: [bf16, fp4]
  power.cap: [500 W, 900 W]
derived:
  memory.l2.bandwidth: 37 B/clk * cores.count
constraints: [tdp <= 700 W, latency < 5 us]
`

func parse(t testing.TB, text string) *study.Study {
	t.Helper()
	s, err := study.Parse("study.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func swept(t testing.TB, s *study.Study, opt Options) *Report {
	t.Helper()
	rep, err := Run(context.Background(), s, opt)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// tables are the files of a folder that do not depend on how it came about.
func tables(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range []string{"results.csv", "results.jsonl", "results.parquet", summaryName} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(data)
	}
	return out
}

func equal(t *testing.T, what, a, b string) {
	t.Helper()
	if d := cmp.Diff(tables(t, a), tables(t, b)); d != "" {
		t.Errorf("%s:\n%s", what, d)
	}
}

func rows(t testing.TB, dir string) []map[string]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "results.csv"))
	if err != nil {
		t.Fatal(err)
	}
	all, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]string
	for _, r := range all[1:] {
		row := map[string]string{}
		for i, name := range all[0] {
			row[name] = r[i]
		}
		out = append(out, row)
	}
	return out
}

// Every point is a row, in order, with its status and its reason.
func TestRows(t *testing.T) {
	dir := t.TempDir()
	var failed []int64
	rep := swept(t, parse(t, small), Options{Dir: dir, Jobs: 2, Failed: func(p *Point) { failed = append(failed, p.Index) }})
	list := rows(t, dir)
	if len(list) != 48 || rep.Rows != 48 || rep.OK+rep.Excluded+rep.Failed != 48 {
		t.Fatalf("%d rows, %+v", len(list), rep.Summary)
	}
	header, _, _ := strings.Cut(tables(t, dir)["results.csv"], "\n")
	if want := "memory.dram.bandwidth,cores.count,dtype,power.cap,memory.l2.bandwidth,status,reason,latency_us,throughput_per_s,energy_j,power_w,mfu,bound_us,bound_by,limited_by,clock_mhz,memory.dram.bandwidth_bytes_per_s,power.cap_w,memory.l2.bandwidth_bytes_per_clk"; header != want {
		t.Errorf("header\n%s\nwant\n%s", header, want)
	}
	count := map[string]int{}
	for i, r := range list {
		count[r["status"]]++
		key := fmt.Sprint(r["cores.count"], " ", r["dtype"], " ", r["power.cap"])
		var status, reason string
		switch {
		case r["cores.count"] == "0":
			status, reason = "failed", "cores.count: 0 is out of bounds; allowed: at least 1 and at most 1000000"
		case r["power.cap"] == "900 W":
			status, reason = "excluded", "tdp <= 700 W: it is 900 W"
		case r["dtype"] == "fp4":
			status, reason = "failed", "fp4"
		case r["status"] == "excluded":
			status, reason = "excluded", "latency < 5 us: it is "
		default:
			status = "ok"
		}
		if r["status"] != status || !strings.Contains(r["reason"], reason) {
			t.Errorf("row %d (%s) is %s: %s", i, key, r["status"], r["reason"])
		}
		if has := r["latency_us"] != ""; has != (status == "ok" || strings.HasPrefix(reason, "latency")) {
			t.Errorf("row %d (%s) has the latency %q", i, key, r["latency_us"])
		}
	}
	if count["ok"] == 0 || count["excluded"] <= 16 || int(rep.Failed) != count["failed"] || len(failed) != count["failed"] {
		t.Errorf("%v, and %d failures were told", count, len(failed))
	}
}

// A row holds what a run of its point gives, to the last digit.
func TestRowsAreRuns(t *testing.T) {
	s := parse(t, `
name: runs
base: {chip: b200-sxm, model: llama-3.1-8b, phase: decode, layers: 4}
axes:
  memory.dram.bandwidth: [4 TB/s, 8 TB/s]
  cores.count: [100, 148]
  decoder.inter: [14336, 8192]
  dtype: [fp8, bf16]
`)
	dir := t.TempDir()
	swept(t, s, Options{Dir: dir, Jobs: 2})
	for i, r := range rows(t, dir) {
		in := run.Input{
			Chip: "b200-sxm", Sets: []string{"memory.dram.bandwidth=" + r["memory.dram.bandwidth"], "cores.count=" + r["cores.count"]},
			Model: "llama-3.1-8b", ModelSets: []string{"decoder.inter=" + r["decoder.inter"]}, Phase: "decode", Layers: 4, DType: r["dtype"],
		}
		c, err := run.Compile(in)
		if err != nil {
			t.Fatal(err)
		}
		res, err := run.Simulate(c.Chip, c.Doc, c.Trace, run.Options{Brief: true})
		if err != nil {
			t.Fatal(err)
		}
		for column, v := range map[string]float64{
			"latency_us": res.LatencyUS, "throughput_per_s": res.TokensPerS, "energy_j": res.Energy.TotalJ, "power_w": res.Energy.MeanW,
			"mfu": res.MFU, "bound_us": res.BoundUS, "clock_mhz": res.ClockMHz,
		} {
			if want := strconv.FormatFloat(v, 'g', -1, 64); r[column] != want {
				t.Errorf("row %d: %s is %s, the run has %s", i, column, r[column], want)
			}
		}
		if r["bound_by"] != res.BoundBy || r["limited_by"] != res.Critical[0].Resource {
			t.Errorf("row %d: bound by %s, limited by %s; the run: %s, %s", i, r["bound_by"], r["limited_by"], res.BoundBy, res.Critical[0].Resource)
		}
	}
}

// The same study gives the same bytes: with any number of jobs, in parts, and
// after an interruption.
func TestSameBytes(t *testing.T) {
	s := parse(t, small)
	base := t.TempDir()
	one := filepath.Join(base, "one")
	swept(t, s, Options{Dir: one, Jobs: 1})
	t.Run("jobs", func(t *testing.T) {
		dir := t.TempDir()
		swept(t, s, Options{Dir: dir, Jobs: 7})
		equal(t, "jobs", one, dir)
	})
	t.Run("parts", func(t *testing.T) {
		const n = 5
		var dirs []string
		for i := range n {
			dir := t.TempDir()
			rep := swept(t, s, Options{Dir: dir, Jobs: 2, Shard: Shard{n - i, n}})
			if want := int64(9); rep.Rows > want+1 || rep.Rows < want {
				t.Errorf("part %s has %d rows", rep.Shard, rep.Rows)
			}
			dirs = append(dirs, dir)
		}
		to := filepath.Join(t.TempDir(), "deep", "merged")
		if _, err := Merge(dirs, to); err != nil {
			t.Fatal(err)
		}
		equal(t, "parts", one, to)
		for _, tc := range []struct {
			dirs []string
			want string
		}{
			{dirs[1:], "parts are missing: 5/5"},
			{append(slices.Clone(dirs), dirs[2]), "the same part"},
			{[]string{dirs[0], one}, "is part 1/1"},
			{[]string{base}, "has no sweep.json"},
			{[]string{filepath.Join(base, "nowhere")}, "nowhere"},
		} {
			if _, err := Merge(tc.dirs, t.TempDir()); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v: %v, want %s", tc.dirs, err, tc.want)
			}
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(context.Background())
		_, err := Run(ctx, s, Options{Dir: dir, Jobs: 2, Progress: func(done, _ int) {
			if done == 20 {
				cancel()
			}
		}})
		if !errors.Is(err, ErrInterrupted) {
			t.Fatalf("error %v", err)
		}
		if _, err := os.Stat(filepath.Join(dir, "results.csv")); err == nil {
			t.Error("an interrupted sweep wrote tables")
		}
		before, _ := os.ReadFile(filepath.Join(dir, journalName))
		if _, err := Run(context.Background(), s, Options{Dir: dir}); !errors.As(err, new(*UnfinishedError)) {
			t.Errorf("without --resume: %v", err)
		}
		// A process that was killed in the middle of a line.
		half := append(bytes.Clone(before), `{"key":"00112233","numb`...)
		if err := os.WriteFile(filepath.Join(dir, journalName), half, 0o666); err != nil {
			t.Fatal(err)
		}
		swept(t, s, Options{Dir: dir, Jobs: 2, Resume: true})
		equal(t, "interrupted", one, dir)
		after, _ := os.ReadFile(filepath.Join(dir, journalName))
		if !bytes.HasPrefix(after, before) || bytes.Contains(after, []byte("00112233")) {
			t.Error("the journal was not gone on with")
		}
		keys := map[string]int{}
		for line := range strings.Lines(string(after)) {
			keys[line]++
		}
		for line, n := range keys {
			if n > 1 {
				t.Errorf("run %d times: %s", n, line)
			}
		}
		// What is finished may be made anew, and resumed without a run.
		swept(t, s, Options{Dir: dir, Jobs: 2})
		equal(t, "again", one, dir)
		swept(t, s, Options{Dir: dir, Resume: true})
		again, _ := os.ReadFile(filepath.Join(dir, journalName))
		if bytes.Count(again, []byte("\n")) != len(keys) {
			t.Error("a finished sweep was run again")
		}
	})
}

// Points whose input did not change are not run again when the study did.
func TestResumeByInput(t *testing.T) {
	dir := t.TempDir()
	swept(t, parse(t, "name: a\nbase: {chip: h100-sxm, op: \"gemm:m=64,n=64,k=64\"}\naxes: {cores.count: [10, 20, 30]}\n"), Options{Dir: dir})
	first, _ := os.ReadFile(filepath.Join(dir, journalName))
	swept(t, parse(t, "name: b\nbase: {chip: h100-sxm, op: \"gemm:m=64,n=64,k=64\"}\naxes: {cores.count: [30, 40, 20]}\nmetrics: [energy, area]\n"), Options{Dir: dir, Resume: true})
	second, _ := os.ReadFile(filepath.Join(dir, journalName))
	if n := bytes.Count(second, []byte("\n")) - bytes.Count(first, []byte("\n")); n != 1 {
		t.Errorf("%d points were run, want 1", n)
	}
	if list := rows(t, dir); len(list) != 3 || list[0]["cores.count"] != "30" || list[0]["energy_j"] == "" || list[0]["area_mm2"] == "" || list[0]["latency_us"] != "" {
		t.Errorf("rows %v", list)
	}
}

// fullDisk is a file on a disk with so many bytes left.
type fullDisk struct {
	*os.File
	left int
}

func (f *fullDisk) Write(p []byte) (int, error) {
	n := min(len(p), f.left)
	f.left -= n
	if _, err := f.File.Write(p[:n]); err != nil || n == len(p) {
		return n, err
	}
	return n, errors.New("no space left on device")
}

func TestFullDisk(t *testing.T) {
	s := parse(t, small)
	one, dir := t.TempDir(), t.TempDir()
	swept(t, s, Options{Dir: one, Jobs: 1})
	r, err := Open(s, dir, false)
	if err != nil {
		t.Fatal(err)
	}
	r.journal.file = &fullDisk{r.journal.file.(*os.File), 1500}
	err = r.runAll(context.Background(), Options{Jobs: 2}, make([]*Point, s.Size()))
	if err == nil || !strings.Contains(err.Error(), "the journal cannot be written: no space left") {
		t.Errorf("error %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	data, _ := os.ReadFile(filepath.Join(dir, journalName))
	if len(data) == 0 || data[len(data)-1] != '\n' {
		t.Errorf("the journal ends in the middle of a line: %q", data[max(0, len(data)-40):])
	}
	swept(t, s, Options{Dir: dir, Jobs: 2, Resume: true})
	equal(t, "full disk", one, dir)
}

// Two sweeps do not work in one folder.
func TestOneAtATime(t *testing.T) {
	s := parse(t, small)
	dir := t.TempDir()
	r, err := Open(s, dir, false)
	if err != nil {
		t.Fatal(err)
	}
	var busy *BusyError
	if _, err := Run(context.Background(), s, Options{Dir: dir, Resume: true}); !errors.As(err, &busy) || busy.Process != strconv.Itoa(os.Getpid()) {
		t.Errorf("error %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	swept(t, s, Options{Dir: dir, Resume: true})
}

// A folder that cannot be written to, and a study that is too large.
func TestCannot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(context.Background(), parse(t, small), Options{Dir: file}); err == nil {
		t.Error("a file was taken for a folder")
	}
	big := parse(t, "name: x\nbase: {chip: h100-sxm, model: gpt2}\naxes: {batch: {from: 1, to: 4000, steps: 4000}, seq: {from: 1, to: 4000, steps: 4000}}\n")
	if _, err := Run(context.Background(), big, Options{Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "--shard") {
		t.Errorf("error %v", err)
	}
}

func TestShards(t *testing.T) {
	for _, tc := range []struct {
		env  string
		want Shard
		err  string
	}{
		{"", Shard{}, ""},
		{"SLURM_ARRAY_TASK_ID=3 SLURM_ARRAY_TASK_COUNT=4 SLURM_ARRAY_TASK_MIN=0", Shard{4, 4}, ""},
		{"SLURM_ARRAY_TASK_ID=3 SLURM_ARRAY_TASK_COUNT=4 SLURM_ARRAY_TASK_MIN=1", Shard{3, 4}, ""},
		{"SLURM_ARRAY_TASK_ID=14 SLURM_ARRAY_TASK_COUNT=3 SLURM_ARRAY_TASK_MIN=10 SLURM_ARRAY_TASK_STEP=2", Shard{3, 3}, ""},
		{"SLURM_ARRAY_TASK_ID=4 SLURM_ARRAY_TASK_COUNT=4 SLURM_ARRAY_TASK_MIN=0", Shard{}, "no task of 4"},
		{"SLURM_ARRAY_TASK_ID=x SLURM_ARRAY_TASK_COUNT=4", Shard{}, "not a whole number"},
		{"SLURM_ARRAY_TASK_ID=1", Shard{}, "SLURM_ARRAY_TASK_COUNT does not say"},
		{"LSB_JOBINDEX=2 LSB_JOBINDEX_END=8", Shard{2, 8}, ""},
		{"LSB_JOBINDEX=5 LSB_JOBINDEX_END=9 LSB_JOBINDEX_STEP=4", Shard{2, 3}, ""},
		{"LSB_JOBINDEX=0", Shard{}, ""},
		{"JOB_COMPLETION_INDEX=0 MARU_SHARDS=3", Shard{1, 3}, ""},
		{"JOB_COMPLETION_INDEX=2 MARU_SHARDS=3", Shard{3, 3}, ""},
		{"JOB_COMPLETION_INDEX=2", Shard{}, "MARU_SHARDS does not say"},
	} {
		env := map[string]string{}
		for _, f := range strings.Fields(tc.env) {
			k, v, _ := strings.Cut(f, "=")
			env[k] = v
		}
		got, _, err := FromEnvironment(func(name string) string { return env[name] })
		if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) || err == nil && got != tc.want {
			t.Errorf("%s: %v, %v; want %v, %s", tc.env, got, err, tc.want, tc.err)
		}
	}
	for text, ok := range map[string]bool{"1/4": true, "4/4": true, "0/4": false, "5/4": false, "1": false, "a/b": false, "1/0": false} {
		if _, err := ParseShard(text); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
	// Parts are disjoint and complete.
	for _, n := range []int{1, 2, 3, 7, 50} {
		seen := map[int64]bool{}
		for i := range n {
			s := Shard{i + 1, n}
			for r := range s.points(23) {
				seen[s.point(r)] = true
			}
		}
		if len(seen) != 23 {
			t.Errorf("%d parts hold %d of 23 points", n, len(seen))
		}
	}
}

// Every row is run once, and points that differ in times only follow each other.
func TestOrder(t *testing.T) {
	s := parse(t, large)
	for _, part := range []Shard{{}, {3, 7}} {
		rows := int(part.points(s.Size()))
		seen := make([]bool, rows)
		changes, before := 0, []int(nil)
		for _, batch := range inOrder(s, part, rows, 2) {
			for _, i := range batch {
				if seen[i] {
					t.Fatalf("row %d is run twice", i)
				}
				seen[i] = true
				choice := s.Choice(part.point(int64(i)))
				if before == nil || !slices.Equal(before[1:], choice[1:]) {
					changes++
				}
				before = choice
			}
		}
		if slices.Contains(seen, false) || changes != 400 {
			t.Errorf("part %v: a row is left out, or %d changes of what takes work, want 400", part, changes)
		}
	}
}
