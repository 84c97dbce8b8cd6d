package table_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"os"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"maru/internal/goldentest"
	"maru/reports/table"
	"maru/sim/result"
	"maru/sim/result/resulttest"
)

func TestOpsGolden(t *testing.T) {
	var b bytes.Buffer
	if err := table.Ops(&b, resulttest.GEMM()); err != nil {
		t.Fatal(err)
	}
	goldentest.Check(t, "gemm.csv", b.String())
}

func TestOpsReadBack(t *testing.T) {
	res := resulttest.Prefill()
	res.Ops[0].Name = "odd, \"name\"\nof two lines"
	var b bytes.Buffer
	if err := table.Ops(&b, res); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(res.Ops)+1 {
		t.Fatalf("%d rows for %d operators", len(rows), len(res.Ops))
	}
	if d := cmp.Diff(table.Columns(), rows[0]); d != "" {
		t.Errorf("header (-want +got):\n%s", d)
	}
	for i, row := range rows[1:] {
		if row[0] != res.Ops[i].Name {
			t.Errorf("row %d is %q, want %q", i, row[0], res.Ops[i].Name)
		}
		if us, err := strconv.ParseFloat(row[4], 64); err != nil || us != res.Ops[i].LatencyUS {
			t.Errorf("row %d: latency %q, want %v", i, row[4], res.Ops[i].LatencyUS)
		}
	}
}

func TestOpsWriteError(t *testing.T) {
	if err := table.Ops(failing{}, &result.Result{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestMachinesGolden(t *testing.T) {
	var b bytes.Buffer
	if err := table.Machines(&b, resulttest.Machines()); err != nil {
		t.Fatal(err)
	}
	goldentest.Check(t, "machines.csv", b.String())
}
