package terminal_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/jedib0t/go-pretty/v6/text"

	"maru/internal/goldentest"
	"maru/reports/terminal"
	"maru/sim/result"
	"maru/sim/result/resulttest"
)

// The table of machines keeps within the terminal and names every chip, however
// narrow it is.
func TestMachines(t *testing.T) {
	for _, width := range []int{0, 80, 60} {
		m := resulttest.Machines()
		var b bytes.Buffer
		if err := terminal.Machines(&b, m, terminal.Options{Width: width}); err != nil {
			t.Fatal(err)
		}
		goldentest.Check(t, fmt.Sprintf("machines_%d.txt", width), b.String())
		most := width
		if most == 0 {
			most = 100
		}
		for line := range strings.Lines(b.String()) {
			if w := text.StringWidthWithoutEscSequences(strings.TrimRight(line, "\n")); w > most {
				t.Errorf("%d columns: a line of %d: %s", most, w, line)
			}
		}
		for _, r := range m.Rows {
			if !strings.Contains(b.String(), r.Chip) {
				t.Errorf("%d columns: no %s", most, r.Chip)
			}
		}
	}
}

func TestMachinesJitter(t *testing.T) {
	m := resulttest.Machines()
	m.Rows[0].Jitter = result.Jitter{Seed: 1, Runs: 100, Declared: true, SpreadUS: 4.96}
	var b bytes.Buffer
	if err := terminal.Machines(&b, m, terminal.Options{}); err != nil {
		t.Fatal(err)
	}
	goldentest.Check(t, "machines_jitter.txt", b.String())
}

func TestMachinesNone(t *testing.T) {
	m := resulttest.Machines()
	m.Rows = m.Rows[3:]
	var b bytes.Buffer
	if err := terminal.Machines(&b, m, terminal.Options{}); err != nil {
		t.Fatal(err)
	}
	goldentest.Check(t, "machines_none.txt", b.String())
	b.Reset()
	if err := terminal.Machines(&b, &result.Machines{}, terminal.Options{}); err != nil {
		t.Fatal(err)
	}
}
