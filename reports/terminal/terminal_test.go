package terminal_test

import (
	"bytes"
	"errors"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jedib0t/go-pretty/v6/text"

	"maru/internal/goldentest"
	"maru/reports/terminal"
	"maru/sim/result"
	"maru/sim/result/resulttest"
)

// tidy checks what every page keeps to.
func tidy(t *testing.T, name, page string) {
	t.Helper()
	for i, l := range strings.Split(page, "\n") {
		if n := text.StringWidthWithoutEscSequences(l); n > 100 {
			t.Errorf("%s: line %d has %d columns: %s", name, i+1, n, l)
		}
		if strings.TrimRight(l, " ") != l {
			t.Errorf("%s: line %d ends in spaces: %q", name, i+1, l)
		}
	}
}

func summary(t *testing.T, res *result.Result, o terminal.Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := terminal.Summary(&b, res, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSummary(t *testing.T) {
	for name, res := range map[string]*result.Result{
		"prefill": resulttest.Prefill(), "decode": resulttest.Decode(), "gemm": resulttest.GEMM(),
		"copy": resulttest.Copy(), "kernels": resulttest.Kernels(2000), "empty": {Version: 1}, "full": full(),
	} {
		got := summary(t, res, terminal.Options{})
		tidy(t, name, got)
		goldentest.Check(t, "summary_"+name+".txt", got)
	}
}

// full is a result that does not fit its chip and has long names.
func full() *result.Result {
	res := resulttest.Decode()
	res.Memory.TotalBytes, res.Memory.StateBytes = 4*res.Memory.CapacityBytes, 3*res.Memory.CapacityBytes
	res.Memory.GradientBytes = 5_000_000_000
	res.Model = strings.Repeat("a-model-with-a-long-name-", 6)
	res.Ops[1].Name = "layer.*." + strings.Repeat("block.", 9) + "proj"
	res.Ops[1].LimitedBy = "an interconnect with a long name"
	res.Warnings = []string{strings.Repeat("A warning that goes on. ", 12), "short\x1b[31m\nand odd"}
	res.Elasticity[0].Resource, res.Elasticity[1].Gain = "a resource that nobody has heard of yet", -0.01
	return res
}

var escapes = regexp.MustCompile("\x1b\\[[0-9]*m")

func TestColourChangesNoText(t *testing.T) {
	for name, res := range map[string]*result.Result{"prefill": resulttest.Prefill(), "full": full()} {
		plain := summary(t, res, terminal.Options{})
		colour := summary(t, res, terminal.Options{Color: true})
		if plain == colour || strings.Contains(plain, "\x1b") {
			t.Errorf("%s: colours are not where they should be", name)
		}
		if d := cmp.Diff(plain, escapes.ReplaceAllString(colour, "")); d != "" {
			t.Errorf("%s: colour changes the text:\n%s", name, d)
		}
	}
}

func TestTop(t *testing.T) {
	got := summary(t, resulttest.Prefill(), terminal.Options{Top: 3})
	if !strings.Contains(got, "9 others") {
		t.Errorf("no row for the others:\n%s", got)
	}
}

func TestDiff(t *testing.T) {
	slow := resulttest.Prefill()
	slow.Chip, slow.ChipTitle, slow.ClockMHz = "h100-pcie", "NVIDIA H100 PCIe 80 GB", 1500
	slow.LatencyPS, slow.LatencyUS = 0, 0
	for i := range slow.Ops {
		op := &slow.Ops[i]
		switch op.Name {
		case "embed":
		case "layer.*.attn.core":
			op.Limits[0].PS -= op.LatencyPS / 5
			op.LatencyPS -= op.LatencyPS / 5
			op.Kernel = "flash_fwd_v3"
		case "final_norm":
			op.Name = "norm"
		case "layer.*.mlp.silu_mul":
			op.Limits[0].PS += op.LatencyPS
			op.LatencyPS *= 2
			op.DRAMRead *= 3
		default:
			op.Limits[0].PS += op.LatencyPS / 6
			op.LatencyPS += op.LatencyPS / 6
			op.ClockMHz = 1500
		}
		op.LatencyUS = float64(op.LatencyPS) / 1e6
		slow.LatencyPS += op.LatencyPS
	}
	slow.LatencyUS = float64(slow.LatencyPS) / 1e6
	slow.TokensPerS = float64(slow.Tokens) / (slow.LatencyUS / 1e6)
	for _, c := range []struct {
		name string
		a, b *result.Result
		want []result.Mismatch
	}{
		{"same", resulttest.Prefill(), resulttest.Prefill(), nil},
		{"slower", resulttest.Prefill(), slow, []result.Mismatch{{Field: "chip", A: "h100-sxm", B: "h100-pcie"}}},
		{"phases", resulttest.Prefill(), resulttest.Decode(), []result.Mismatch{
			{Field: "phase", A: "prefill", B: "decode", Fatal: true}, {Field: "batch", A: "1", B: "16", Fatal: true}}},
		{"empty", &result.Result{Version: 1}, resulttest.Copy(), nil},
	} {
		var b bytes.Buffer
		got, err := terminal.Diff(&b, c.a, c.b, terminal.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, got); c.name != "empty" && d != "" {
			t.Errorf("%s: mismatches (-want +got):\n%s", c.name, d)
		}
		tidy(t, c.name, b.String())
		goldentest.Check(t, "diff_"+c.name+".txt", b.String())
		var colour bytes.Buffer
		if _, err := terminal.Diff(&colour, c.a, c.b, terminal.Options{Color: true}); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(b.String(), escapes.ReplaceAllString(colour.String(), "")); d != "" {
			t.Errorf("%s: colour changes the text:\n%s", c.name, d)
		}
	}
}

func TestMismatchString(t *testing.T) {
	m := result.Mismatch{Field: "phase", A: "prefill", B: ""}
	if got := m.String(); got != "phase: prefill and none" {
		t.Error(got)
	}
}

// TestHostile writes results that no run makes; it must not panic, and no name
// may move the cursor.
func TestHostile(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -5, 1e308} {
		for _, whole := range []int64{math.MinInt64, -1, 0, math.MaxInt64} {
			res := full()
			res.Model, res.Unit, res.Chip = "a\x1b[2J\n", "b\r", "\xff"
			res.LatencyPS, res.LatencyUS, res.BoundUS, res.TokensPerS, res.MFU = whole, v, v, v, v
			res.Memory.TotalBytes, res.Levels[0].ReadBytes, res.Levels[1].Utilization = whole, whole, v
			res.Energy.TotalJ, res.ClockMHz, res.Cycles = v, v, whole
			for i := range res.Ops {
				op := &res.Ops[i]
				op.LatencyPS, op.Share, op.MatrixUtil, op.BoundUS, op.DRAMRead, op.Flops = whole, v, v, v, whole, whole
				op.Name, op.LimitedBy = "c\nd\x9b1m", "e\tf"
			}
			res.Critical[0].Share, res.Critical[1].PS, res.Elasticity[0].Gain = v, whole, v
			res.Units[0].Busy, res.Units[0].Stalls[0].Share = v, v
			res.Estimate.LowUS = v
			res.Estimate.Names = []string{"g\x1b"}
			pages := summary(t, res, terminal.Options{})
			var b bytes.Buffer
			if _, err := terminal.Diff(&b, res, resulttest.Decode(), terminal.Options{}); err != nil {
				t.Fatal(err)
			}
			if _, err := terminal.Diff(&b, resulttest.Decode(), res, terminal.Options{}); err != nil {
				t.Fatal(err)
			}
			pages += b.String()
			if strings.ContainsAny(pages, "\x1b\r\t\u009b") {
				t.Errorf("control characters in %q", pages)
			}
		}
	}
}

func TestWriteErrors(t *testing.T) {
	if err := terminal.Summary(failing{}, resulttest.GEMM(), terminal.Options{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Summary: %v", err)
	}
	if _, err := terminal.Diff(failing{}, resulttest.GEMM(), resulttest.GEMM(), terminal.Options{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Diff: %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, os.ErrClosed }
