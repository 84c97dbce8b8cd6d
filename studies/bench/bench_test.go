package bench

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"maru/internal/config"
	"maru/sim/result"
	"maru/workloads/plan"
)

func TestErrors(t *testing.T) {
	const good = "  - {name: a, chip: h100-sxm, op: \"add:rows=1,cols=1\"}\n"
	for _, tc := range []struct{ runs, want string }{
		{"", "name"},
		{"  - {name: a, chip: h10, op: x}\n", `3:21: runs[0].chip: unknown chip "h10"`},
		{"  - {name: a, chip: h100-sxm}\n", "3:5: runs[0]: nothing to run; allowed: model or op"},
		{"  - {name: a, chip: h100-sxm, model: gpt2, op: x}\n", "3:48: runs[0].op: model and op exclude each other"},
		{"  - {name: a, chip: h100-sxm, model: gtp2}\n", `3:38: runs[0].model: unknown model "gtp2"`},
		{"  - {name: a b, chip: h100-sxm, model: gpt2}\n", `3:12: runs[0].name: "a b" is not a name`},
		{good + good, `4:12: runs[1].name: another run has the name "a"`},
		{"  - {name: a, chip: h100-sxm, model: gpt2, phase: prefil}\n", "did you mean prefill"},
		{"  - {name: a, chip: h100-sxm, model: gpt2, batch: 0}\n", "runs[0].batch"},
		{"  - {name: a, chip: h100-sxm, model: gpt2, bach: 1}\n", "did you mean batch"},
		{"  - {name: a, chip: h100-sxm, model: gpt2, set: [clock.mxa=1 GHz]}\n", "did you mean max"},
		{"  - {name: a, chip: nowhere.yaml, model: gpt2}\n", "dir/nowhere.yaml"},
	} {
		text := "name: s\nruns:\n" + tc.runs
		if tc.runs == "" {
			text = "runs: []\n"
		}
		_, err := Parse("dir/suite.yaml", []byte(text))
		var errs config.Errors
		if !errors.As(err, &errs) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s%v, want %q", tc.runs, err, tc.want)
		}
	}
	_, err := Parse("s.yaml", []byte("name: s\nruns:\n  - {name: a, chip: x, model: y}\n  - {name: b, chip: z, op: w}\n"))
	var errs config.Errors
	if !errors.As(err, &errs) || len(errs) != 3 {
		t.Errorf("not all errors at once: %v", err)
	}
}

// Runs that fail are told together, with their places, and there is no outcome.
func TestRunsThatFail(t *testing.T) {
	s, err := Parse("s.yaml", []byte(`name: s
runs:
  - {name: good, chip: h100-sxm, op: "add:rows=64,cols=64"}
  - {name: large, chip: h100-sxm, model: llama-3.1-405b}
  - {name: odd, chip: h100-sxm, op: "gem:m=1"}
`))
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	out, _, err := s.Simulated(1, func(name string) { told = append(told, name) })
	var errs config.Errors
	if out != nil || !errors.As(err, &errs) || len(errs) != 2 || errs[0].Pos.Line != 4 || errs[1].Pos.Line != 5 {
		t.Errorf("%v, %v", out, err)
	}
	if d := cmp.Diff([]string{"good", "large", "odd"}, told); d != "" {
		t.Error(d)
	}
}

// The suite that is shipped runs, twice with the same bytes, and reads back.
func TestShipped(t *testing.T) {
	name := filepath.Join("..", "..", "examples", "suite.yaml")
	var first bytes.Buffer
	for i := range 2 {
		s, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		out, warnings, err := s.Simulated(i+1, func(string) {})
		if err != nil || len(warnings) > 0 {
			t.Fatal(err, warnings)
		}
		var b bytes.Buffer
		if err := out.Write(&b); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = b
		} else if !bytes.Equal(first.Bytes(), b.Bytes()) {
			t.Error("two runs of the suite differ")
		}
		back, err := result.ReadSuite(bytes.NewReader(b.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		if len(back.Runs) != len(s.Runs) {
			t.Errorf("%d runs, want %d", len(back.Runs), len(s.Runs))
		}
	}
}

// Files are relative to the suite's folder.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("mine.yaml", "base: h100-sxm\nname: mine\ntitle: Mine\n")
	write("suite.yaml", "name: s\nruns:\n  - {name: a, chip: mine.yaml, op: \"add:rows=64,cols=64\", fuse: false, dtype: fp16}\n")
	s, err := Load(filepath.Join(dir, "suite.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	res, _, err := s.Simulate(0, 1)
	if err != nil || res.Chip != "mine" || res.DType != "fp16" {
		t.Errorf("%v: %+v", err, res)
	}
	if in := s.Input(0); !in.NoFuse {
		t.Errorf("%+v fuses", in)
	}
}

// The words of the form are those of a plan.
func TestWords(t *testing.T) {
	for key, words := range map[string][]string{"phase": plan.PhaseNames(), "data": plan.DataNames()} {
		for _, w := range words {
			if _, err := Parse("s", []byte("name: s\nruns: [{name: a, chip: h100-sxm, model: gpt2, "+key+": "+w+"}]\n")); err != nil {
				t.Errorf("%s %s: %v", key, w, err)
			}
		}
	}
	if !slices.Contains(strings.Fields(string(Schema())), `"runs":`) {
		t.Error("the schema lacks runs")
	}
}
