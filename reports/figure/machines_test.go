package figure_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"maru/reports/figure"
	"maru/sim/result"
	"maru/sim/result/resulttest"
)

// The figure of machines names every chip and, of those that cannot run the
// program, the reason; it is the same every time, and there is one of nothing.
func TestMachines(t *testing.T) {
	m := resulttest.Machines()
	refused := &result.Machines{Rows: m.Rows[3:]}
	for _, m := range []*result.Machines{m, refused, {}} {
		f := figure.Machines(m)
		for _, format := range figure.Formats() {
			if !bytes.Equal(written(t, f, format), written(t, figure.Machines(m), format)) {
				t.Errorf("%s differs between two runs", format)
			}
		}
		texts := svgTexts(t, "machines", written(t, f, "svg"))
		for _, r := range m.Rows {
			if !slices.Contains(texts, r.Chip+"  "+r.DType) {
				t.Errorf("no row of %s among %q", r.Chip, texts)
			}
			if r.Reason != "" && !slices.ContainsFunc(texts, func(s string) bool { return strings.HasPrefix(r.Reason, strings.TrimSuffix(s, "…")) && s != "" }) {
				t.Errorf("no reason why %s does not run it among %q", r.Chip, texts)
			}
		}
	}
}
