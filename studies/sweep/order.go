package sweep

import (
	"cmp"
	"slices"
	"strings"

	"maru/studies/study"
)

// timing lists the beginnings of paths that say how long things take and not
// what moves where: points that differ in nothing else share most of their work.
var timing = []string{"memory.dram.bandwidth", "memory.dram.sustained", "memory.dram.latency", "memory.dram.loaded_latency", "memory.dram.queue",
	"memory.l2.bandwidth", "memory.l2.port", "memory.l2.latency", "memory.l2.far_latency", "power.", "launch.", "clock.", "cores.start", "cores.dispatch"}

// batchShare is how many batches each job gets at least.
const batchShare = 8

// inOrder puts the rows of a part in the order in which they are run, in batches
// of which each is for one job: points that share much of their work follow each
// other. Rows keep their places in the tables.
func inOrder(s *study.Study, part Shard, rows, jobs int) [][]int32 {
	var same []int // dimensions that take work, then those that take little
	alike := 1     // points that differ in the latter only
	for _, little := range []bool{false, true} {
		for d := range s.Dims {
			if isTiming(&s.Dims[d]) != little {
				continue
			}
			same = append(same, d)
			if little {
				alike = min(alike*s.Dims[d].N, maxRows)
			}
		}
	}
	order := make([]int32, rows)
	keys := make([]int64, rows)
	for i := range order {
		order[i] = int32(i)
		choice := s.Choice(part.point(int64(i)))
		for _, d := range same {
			keys[i] = keys[i]*int64(s.Dims[d].N) + int64(choice[d])
		}
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Compare(keys[a], keys[b]) })
	size := max(1, min(alike, rows/(batchShare*jobs)))
	return slices.Collect(slices.Chunk(order, size))
}

// isTiming tells whether all axes of a dimension are about times.
func isTiming(d *study.Dim) bool {
	return !slices.ContainsFunc(d.Axes, func(a study.Axis) bool {
		return !slices.ContainsFunc(timing, func(p string) bool { return strings.HasPrefix(a.Path, p) })
	})
}
