package terminal_test

import (
	"bytes"
	"testing"

	"maru/internal/goldentest"
	"maru/reports/terminal"
)

func TestAccuracy(t *testing.T) {
	all := terminal.AccuracyStats{Rows: 560, Median: 0.0712, Mean: 0.1035, Bias: 0.962, Within10: 0.63, Within20: 0.88}
	long := terminal.AccuracyStats{Rows: 212, Mean: 0.0411, Bias: 1.004}
	r := &terminal.AccuracyReport{
		MinUS: 20,
		Sections: []terminal.AccuracySection{
			{Title: "gemm, a harness", Lines: []terminal.AccuracyLine{
				{Label: "h100_sxm bf16 linear", All: all, Long: long},
				{Label: "a100_sxm bf16 linear", All: all, Long: long, Failed: 3},
				{Label: "p100_pcie bf16 linear", Skipped: 12},
				{Label: "a_system_with_a_long_name and_a_number_format and_a_variant_that_goes_on_and_on", All: all, Long: long},
			}},
			{Title: "all rows, by file", Lines: []terminal.AccuracyLine{{Label: "gemm", All: all, Failed: 3, Skipped: 12}}},
		},
		Notes: []string{"skipped: gemm: a reason that takes more than one line of the page, because it goes on for much longer than any reason should (12 rows)"},
	}
	var b bytes.Buffer
	if err := terminal.Accuracy(&b, r, terminal.Options{}); err != nil {
		t.Fatal(err)
	}
	tidy(t, "accuracy", b.String())
	goldentest.Check(t, "accuracy.txt", b.String())
	if err := terminal.Accuracy(failing{}, r, terminal.Options{}); err == nil {
		t.Error("a write error is lost")
	}
}
