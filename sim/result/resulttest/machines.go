package resulttest

import "maru/sim/result"

// Machines is a table of three chips that run a decode step, one of them mostly
// estimated, and of two that cannot.
func Machines() *result.Machines {
	m := &result.Machines{Version: result.Version, Program: "maru test", Model: "llama-3.1-8b", Phase: "decode", Batch: 16, Seq: 2048, Unit: "token"}
	for _, c := range []struct {
		name, title, discipline, dtype, limit string
		us, bound, low, high, mfu, joule      float64
		estimated                             int
	}{
		{"gpu-80gb", "A GPU 80GB", "dispatch", "bf16", "dram", 7420, 5760, 7400, 8310, 0.035, 0.174, 48},
		{"queues-four", "A chip of queues", "queues", "bf16", "dependency", 20200, 16100, 18600, 23000, 0.046, 0.173, 58},
		{"vectors", "A chip without a matrix unit", "dispatch", "fp16", "vector", 252000, 86000, 252000, 252000, 0, 0, 50},
	} {
		m.Rows = append(m.Rows, result.Machine{
			Chip: c.name, ChipTitle: c.title, Discipline: c.discipline, DType: c.dtype, Hash: "00",
			LatencyUS: c.us, BoundUS: c.bound, BoundBy: "dram", MFU: c.mfu, TokensPerS: 16e6 / c.us, PerTokenJ: c.joule,
			MeanW: 16 * c.joule / c.us * 1e6, LimitedBy: c.limit, LimitedShare: 0.74,
			Estimate: result.Estimates{Figures: 100, Estimated: c.estimated, Share: float64(c.estimated) / 100, Mostly: c.estimated > 50, LowUS: c.low, HighUS: c.high},
		})
	}
	m.Rows = append(m.Rows,
		result.Machine{Chip: "small", ChipTitle: "A small chip", Discipline: "dispatch", DType: "fp16",
			Problem: "llama-3.1-8b needs 20.36 GB of main memory, small has 15 GiB", Reason: "needs 20.4 GB of memory, has 16.1 GB"},
		result.Machine{Chip: "whole-numbers", ChipTitle: "A chip that counts", Discipline: "queues", DType: "bf16",
			Problem: "whole-numbers does not compute in bf16; allowed: int8", Reason: "does not compute in bf16, only in int8 and several others of which nobody here has ever heard"},
	)
	return m
}
