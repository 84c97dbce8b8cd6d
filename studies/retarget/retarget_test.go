package retarget_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"maru/arch"
	"maru/sim/result"
	"maru/studies/retarget"
	"maru/studies/run"
)

func table(t *testing.T, in run.Input, chips []string, jobs int) *result.Machines {
	t.Helper()
	m, err := retarget.Run(in, chips, run.Options{Jobs: jobs})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// One model runs on every chip that is built in, without a change, and no chip
// is faster than its bound.
func TestEveryChipRunsOneModel(t *testing.T) {
	m := table(t, run.Input{Model: "resnet-50", Phase: "forward"}, retarget.Chips("all"), 2)
	if len(m.Rows) != len(arch.Names()) {
		t.Fatalf("%d rows for %d chips", len(m.Rows), len(arch.Names()))
	}
	if m.Model != "resnet-50" || m.Unit != "image" || m.Batch != 1 {
		t.Errorf("the head is of %s, batch %d, in %ss", m.Model, m.Batch, m.Unit)
	}
	for i, r := range m.Rows {
		switch {
		case !r.Ran():
			t.Errorf("%s: %s", r.Chip, r.Problem)
		case r.LatencyUS < r.BoundUS || r.BoundUS <= 0:
			t.Errorf("%s: %v us with a bound of %v", r.Chip, r.LatencyUS, r.BoundUS)
		case r.Estimate.LowUS > r.LatencyUS || r.Estimate.HighUS < r.LatencyUS:
			t.Errorf("%s: %v us is not within %v to %v", r.Chip, r.LatencyUS, r.Estimate.LowUS, r.Estimate.HighUS)
		case i > 0 && r.LatencyUS < m.Rows[i-1].LatencyUS:
			t.Errorf("%s, at %v us, stands below %s", r.Chip, r.LatencyUS, m.Rows[i-1].Chip)
		case r.LimitedBy == "" || r.Discipline == "" || r.PerTokenJ <= 0:
			t.Errorf("%s: a row with holes: %+v", r.Chip, r)
		}
	}
}

// A row is what a run on the chip alone gives.
func TestRowIsARun(t *testing.T) {
	in := run.Input{Model: "gpt2", Layers: 2, Seq: 64}
	m := table(t, in, []string{"tpu-v4", "h100-sxm"}, 2)
	for _, r := range m.Rows {
		one := in
		one.Chip = r.Chip
		c, err := run.Compile(one)
		if err != nil {
			t.Fatal(err)
		}
		res, err := run.Simulate(c.Chip, c.Doc, c.Trace, run.Options{})
		if err != nil {
			t.Fatal(err)
		}
		want := result.MachineOf(res)
		want.Discipline = r.Discipline
		if d := cmp.Diff(want, r); d != "" {
			t.Errorf("%s (-alone +among others):\n%s", r.Chip, d)
		}
	}
}

// What a chip cannot do is in its row, after all that can, and does not stop
// the others. The outcome is the same with any number of jobs.
func TestProblemsAreRows(t *testing.T) {
	for _, test := range []struct {
		in     run.Input
		chips  []string
		want   string // chips in order, a "-" before those that cannot
		reason string // of the last one, as it starts
	}{
		{run.Input{Model: "llama-3.1-8b", Phase: "decode"}, []string{"t4", "l4", "h100-sxm"}, "h100-sxm l4 -t4", "needs 16.3 GB of memory, has 16.1 GB"},
		{run.Input{Op: "gemm:m=64,n=64,k=64", DType: "fp8"}, []string{"v100-sxm", "h100-sxm"}, "h100-sxm -v100-sxm", "does not compute in fp8, only in fp64, fp32, fp16, int32"},
		{run.Input{Op: "gemm:m=64,n=64,k=64", Profile: "xla"}, []string{"h100-sxm", "tpu-v4"}, "tpu-v4 -h100-sxm", "profile xla is "},
		{run.Input{Op: "gemm:m=64,n=64,k=64", Sets: []string{"memory.l2.capacity=40 MiB"}}, []string{"tpu-v4", "h100-sxm"}, "h100-sxm -tpu-v4", "power: missing key l2, which a chip with memory.l2 needs"},
		{run.Input{Model: "llama-3.1-405b"}, []string{"l4", "a10"}, "-a10 -l4", "needs 813 GB of memory, has 24.2 GB"},
	} {
		var first []byte
		for _, jobs := range []int{1, 3} {
			m := table(t, test.in, test.chips, jobs)
			var got []string
			for _, r := range m.Rows {
				if r.Ran() {
					got = append(got, r.Chip)
				} else {
					got = append(got, "-"+r.Chip)
				}
			}
			if s := strings.Join(got, " "); s != test.want {
				t.Errorf("%+v: rows %s, want %s", test.in, s, test.want)
			}
			if last := m.Rows[len(m.Rows)-1]; !strings.HasPrefix(last.Reason, test.reason) || (last.Reason == "") != (test.reason == "") {
				t.Errorf("%+v: %s because of %q, want %q", test.in, last.Chip, last.Reason, test.reason)
			}
			var b bytes.Buffer
			if err := result.WriteMachines(&b, m); err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = b.Bytes()
			} else if !bytes.Equal(first, b.Bytes()) {
				t.Errorf("%+v: another table with %d jobs", test.in, jobs)
			}
		}
	}
}

// What no chip could do anything about is an error and not a table.
func TestInputErrors(t *testing.T) {
	for _, test := range []struct {
		in    run.Input
		chips []string
		want  string
	}{
		{run.Input{Model: "resnet-51"}, []string{"l4", "a10"}, `unknown model "resnet-51"`},
		{run.Input{Model: "resnet-50"}, []string{"l4", "a11"}, `unknown chip "a11"`},
		{run.Input{Op: "gemm:m=0,n=1,k=1"}, []string{"l4", "a10"}, "m"},
		{run.Input{}, []string{"l4", "a10"}, "a model or an operator"},
	} {
		_, err := retarget.Run(test.in, test.chips, run.Options{Jobs: 2})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: error %v, want one with %q", test.in, err, test.want)
		}
	}
}

func TestChips(t *testing.T) {
	for text, want := range map[string][]string{
		"all": arch.Names(), "l4": nil, "l4,a10": {"l4", "a10"}, "l4, my.yaml": {"l4", "my.yaml"},
	} {
		if d := cmp.Diff(want, retarget.Chips(text)); d != "" {
			t.Errorf("%s:\n%s", text, d)
		}
	}
}
