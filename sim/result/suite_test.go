package result_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"maru/sim/result"
	"maru/sim/result/resulttest"
)

func suite() *result.Suite {
	s := &result.Suite{Version: result.SuiteVersion, Program: "maru 1", Name: "s"}
	for _, r := range []result.Run{{Name: "prefill", Result: resulttest.Prefill()}, {Name: "decode", Result: resulttest.Decode()}} {
		r.Result.Trim()
		s.Runs = append(s.Runs, r)
	}
	return s
}

func TestSuite(t *testing.T) {
	var first, second bytes.Buffer
	if err := errors.Join(suite().Write(&first), suite().Write(&second)); err != nil {
		t.Fatal(err)
	}
	if first.String() != second.String() {
		t.Error("two suites that are equal differ when written")
	}
	back, err := result.ReadSuite(&second)
	if err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := back.Write(&again); err != nil {
		t.Fatal(err)
	}
	if first.String() != again.String() {
		t.Error("a suite that was read is written differently")
	}
	if r := back.Runs[0].Result; len(r.Ops) == 0 || len(r.Critical) == 0 || len(r.Timeline.Kernels) != 0 {
		t.Errorf("%d operators, %d kernels", len(r.Ops), len(r.Timeline.Kernels))
	}
}

// A result is a suite of one run without a name.
func TestResultAsSuite(t *testing.T) {
	var b bytes.Buffer
	if err := result.Write(&b, resulttest.GEMM()); err != nil {
		t.Fatal(err)
	}
	s, err := result.ReadSuite(&b)
	if err != nil || len(s.Runs) != 1 || s.Runs[0].Name != "" || s.Program != resulttest.GEMM().Program {
		t.Errorf("%v: %+v", err, s)
	}
}

func TestSuiteErrors(t *testing.T) {
	changed := func(change func(s *result.Suite)) string {
		s := suite()
		change(s)
		var b bytes.Buffer
		if err := s.Write(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for _, tc := range []struct {
		name, text, want string
		newer            bool
	}{
		{"empty", "", "empty file", false},
		{"no JSON", "name: s", "line 1", false},
		{"neither", "{}", "not a result file", false},
		{"newer", `{"suite_version": 2}`, "suite: version 2 is newer", true},
		{"newer result", `{"version": 2}`, "result: version 2 is newer", true},
		{"before the first", `{"suite_version": 0}`, "versions start at 1", false},
		{"no runs", changed(func(s *result.Suite) { s.Runs = nil }), "no runs", false},
		{"no name", changed(func(s *result.Suite) { s.Runs[1].Name = "" }), "runs[1] has no name", false},
		{"twice", changed(func(s *result.Suite) { s.Runs[1].Name = "prefill" }), `two runs have the name "prefill"`, false},
		{"no result", `{"suite_version": 1, "runs": [{"name": "a"}]}`, "run a has no result", false},
		{"newer within", changed(func(s *result.Suite) { s.Runs[0].Result.Version = 9 }), "suite: run prefill: version 9 is newer", true},
		{"odd within", changed(func(s *result.Suite) { s.Runs[0].Result.LatencyPS++ }), "run prefill: ", false},
	} {
		_, err := result.ReadSuite(strings.NewReader(tc.text))
		var newer *result.VersionError
		if err == nil || !strings.Contains(err.Error(), tc.want) || errors.As(err, &newer) != tc.newer {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

func TestMoves(t *testing.T) {
	a := []result.Share{{Resource: "matrix", PS: 100}, {Resource: "dram", PS: 50}, {Resource: "launch", PS: 5}, {Resource: "start", PS: 7}}
	b := []result.Share{{Resource: "dram", PS: 90}, {Resource: "matrix", PS: 70}, {Resource: "power", PS: 30}, {Resource: "start", PS: 7}}
	want := []result.Move{{"dram", 50, 90}, {"matrix", 100, 70}, {"power", 0, 30}, {"launch", 5, 0}}
	if d := cmp.Diff(want, result.Moves(a, b)); d != "" {
		t.Error(d)
	}
}

func TestCause(t *testing.T) {
	op := func(ps, matrix, dram, bytes int64, clock float64) *result.Op {
		return &result.Op{Name: "x", Count: 1, LatencyPS: ps, DRAMRead: bytes, ClockMHz: clock,
			Limits: []result.Share{{Resource: "matrix", PS: matrix}, {Resource: "dram", PS: dram}}}
	}
	for _, tc := range []struct {
		name     string
		p        result.Pair
		resource string
		ps       int64
		quantity string
		ratio    float64
	}{
		{"slower", result.Pair{A: op(100, 60, 40, 10, 1000), B: op(160, 50, 110, 20, 1000)}, "dram", 70, "DRAM bytes", 2},
		{"faster", result.Pair{A: op(160, 50, 110, 20, 1000), B: op(100, 60, 40, 10, 1000)}, "dram", -70, "DRAM bytes", 0.5},
		{"lower clock", result.Pair{A: op(100, 100, 0, 10, 1000), B: op(125, 125, 0, 10, 800)}, "matrix", 25, "clock", 0.8},
		{"more bytes, and yet faster", result.Pair{A: op(100, 60, 40, 10, 1000), B: op(90, 50, 40, 20, 1000)}, "matrix", -10, "", 0},
		{"the same", result.Pair{A: op(100, 60, 40, 10, 1000), B: op(100, 50, 50, 10, 1000)}, "", 0, "", 0},
	} {
		resource, ps := tc.p.Cause()
		quantity, ratio := tc.p.Quantity()
		if resource != tc.resource || ps != tc.ps || quantity != tc.quantity || ratio != tc.ratio {
			t.Errorf("%s: %s %d, %s %g", tc.name, resource, ps, quantity, ratio)
		}
	}
}

func TestMatch(t *testing.T) {
	ops := func(names ...string) *result.Result {
		r := &result.Result{}
		for i, n := range names {
			r.Ops = append(r.Ops, result.Op{Name: n, LatencyPS: int64(i)})
		}
		return r
	}
	both, onlyA, onlyB := result.Match(ops("x", "y", "y", "z"), ops("y", "w", "x", "y", "y"))
	var got []string
	for _, p := range both {
		got = append(got, p.A.Name)
	}
	if !slices.Equal(got, []string{"x", "y", "y"}) || both[1].B.LatencyPS != 0 || both[2].B.LatencyPS != 3 {
		t.Errorf("both: %v", got)
	}
	if len(onlyA) != 1 || onlyA[0].Name != "z" || len(onlyB) != 2 || onlyB[0].Name != "w" || onlyB[1].LatencyPS != 4 {
		t.Errorf("only in one: %v, %v", onlyA, onlyB)
	}
}
