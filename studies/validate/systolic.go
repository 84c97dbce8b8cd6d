package validate

import (
	"fmt"

	"maru/arch"
	"maru/sim/machine"
	"maru/studies/run"
)

// systolic is a row of SCALE-Sim: the cycles of one product on one array whose
// folds fill and drain one by one. Convolutions are rows of their product.
func (v *validation) systolic(_ *Harness, _ *chip, r *record) (job, error) {
	op := r.word("op", "gemm", "conv")
	rows, cols := r.count("array_rows", 1), r.count("array_cols", 1)
	m, n, k := r.count("M", 1), r.count("N", 1), r.count("K", 1)
	word := r.word("dataflow", arch.WeightStationary.String(), arch.OutputStationary.String(), arch.InputStationary.String())
	r.row.Target = r.positive("compute_cycles")
	r.row.Variant, r.row.Source = op+" "+word, "SCALE-Sim"
	if len(r.errs) > 0 {
		return job{}, nil
	}
	s := &arch.Systolic{Fold: arch.Serial}
	if err := s.Dataflow.UnmarshalText([]byte(word)); err != nil {
		return job{}, err
	}
	s.Rows.Value, s.Cols.Value, s.Count.Value = rows, cols, 1
	// SCALE-Sim reports the index of the last cycle, counted from 0, which is
	// one less than their number (its issue 125).
	cycles := machine.SystolicCycles(s, m, n, k) - 1
	return job{
		key:  fmt.Sprintf("%s:%d", r.row.File, r.row.Line),
		read: func(*run.Brief) prediction { return prediction{us: float64(cycles)} },
	}, nil
}
