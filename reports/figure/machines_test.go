package figure_test

import (
	"bytes"
	"encoding/xml"
	"io"
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
		svg := written(t, f, "svg")
		if bytes.Contains(svg, []byte("NaN")) || bytes.Contains(svg, []byte("Inf")) {
			t.Errorf("%d rows: a number that is none", len(m.Rows))
		}
		var texts []string
		dec := xml.NewDecoder(bytes.NewReader(svg))
		for {
			tok, err := dec.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if s, ok := tok.(xml.CharData); ok {
				texts = append(texts, strings.ReplaceAll(strings.TrimSpace(string(s)), "\u00a0", " "))
			}
		}
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
