package machine

import "maru/arch"

// SystolicCycles is the time of C[M,N] = A[M,K] B[K,N] on the arrays of one
// core, in clocks. Serial folds: folds x (2R + C + M - 2) for weights
// stationary, likewise with M or N exchanged for inputs stationary, and
// R + C + K - 2 for outputs stationary (Samajdar et al., SCALE-Sim,
// ISPASS 2020). Overlapped: the next fold's stationary operand loads behind
// the current one's stream, so that a fold takes as long as the longer of the two, and fill and drain
// are paid once.
func SystolicCycles(s *arch.Systolic, m, n, k int64) int64 { return systolicCycles(s, 1, m, n, k) }

// systolicCycles is the same of several equal products, whose folds the arrays
// share.
func systolicCycles(s *arch.Systolic, products, m, n, k int64) int64 {
	r, c, count := s.Rows.Value, s.Cols.Value, s.Count.Value
	var folds, stream, fill int64
	switch s.Dataflow {
	case arch.WeightStationary:
		folds, stream, fill = ceilDiv(k, r)*ceilDiv(n, c), m, 2*r+c-2
	case arch.InputStationary:
		folds, stream, fill = ceilDiv(k, r)*ceilDiv(m, c), n, 2*r+c-2
	case arch.OutputStationary:
		folds, stream, fill = ceilDiv(m, r)*ceilDiv(n, c), k, r+c-2
	}
	folds *= products
	if s.Fold == arch.Serial {
		return ceilDiv(folds, count) * (stream + fill)
	}
	return ceilDiv(folds, count) * max(stream, ceilDiv(r, max(1, s.Load.Value)))
}

// FillDrain is what a chain of overlapped folds pays once, in clocks.
func FillDrain(s *arch.Systolic) int64 {
	if s == nil || s.Fold == arch.Serial || s.Elements != nil {
		return 0
	}
	if s.Fill.IsSet() {
		return int64(s.Fill.Value)
	}
	if s.Dataflow == arch.OutputStationary {
		return s.Rows.Value + s.Cols.Value - 2
	}
	return 2*s.Rows.Value + s.Cols.Value - 2
}
