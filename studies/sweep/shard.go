package sweep

import (
	"fmt"
	"strconv"
	"strings"
)

// Shard is a part of a study: every Count-th point, from the Index-th on,
// counted from 1. The zero value is the whole.
type Shard struct{ Index, Count int }

// maxShards bounds the parts of a study.
const maxShards = 1_000_000

// ParseShard reads "i/n".
func ParseShard(text string) (Shard, error) {
	a, b, ok := strings.Cut(text, "/")
	i, err := strconv.Atoi(strings.TrimSpace(a))
	n, err2 := strconv.Atoi(strings.TrimSpace(b))
	if !ok || err != nil || err2 != nil || n < 1 || i < 1 || i > n || n > maxShards {
		return Shard{}, fmt.Errorf("%q is no part of a whole; allowed: I/N with I from 1 to N, such as 1/4", text)
	}
	return Shard{i, n}, nil
}

// String is the form that ParseShard reads.
func (s Shard) String() string { return fmt.Sprintf("%d/%d", s.Index, s.Count) }

// points is how many of so many points fall into the part.
func (s Shard) points(all int64) int64 {
	if s.Count == 0 {
		return all
	}
	return (all - int64(s.Index) + int64(s.Count)) / int64(s.Count)
}

// point is the place of the r-th point of the part among all.
func (s Shard) point(r int64) int64 {
	if s.Count == 0 {
		return r
	}
	return int64(s.Index-1) + r*int64(s.Count)
}

// CountVariable names the environment variable that says into how many parts a
// study is cut where the scheduler does not say.
const CountVariable = "MARU_SHARDS"

// scheduler is how a batch system tells a task of an array which one it is.
type scheduler struct {
	name               string
	index, first, step string // environment variables; first and step may be empty
	base               int    // of the index, where there is no variable for it
	last, count        string // one of them is there
}

var schedulers = []scheduler{
	{name: "Slurm", index: "SLURM_ARRAY_TASK_ID", first: "SLURM_ARRAY_TASK_MIN", step: "SLURM_ARRAY_TASK_STEP", base: 0, count: "SLURM_ARRAY_TASK_COUNT"},
	{name: "LSF", index: "LSB_JOBINDEX", step: "LSB_JOBINDEX_STEP", base: 1, last: "LSB_JOBINDEX_END"},
	{name: "Kubernetes", index: "JOB_COMPLETION_INDEX", base: 0, count: CountVariable},
}

// FromEnvironment finds the part that a task of an array job of Slurm, LSF or
// Kubernetes is to run; getenv returns an environment variable, or nothing. The
// part is the zero value, and so the whole, outside of array jobs. The second
// result says where it is from, for a message.
func FromEnvironment(getenv func(string) string) (Shard, string, error) {
	for _, s := range schedulers {
		at := getenv(s.index)
		if at == "" || s.name == "LSF" && at == "0" { // LSF sets 0 in jobs that are no arrays
			continue
		}
		var err error
		number := func(name, text string) int {
			n, e := strconv.Atoi(strings.TrimSpace(text))
			if e != nil && err == nil {
				err = fmt.Errorf("%s: %q is not a whole number", name, text)
			}
			return n
		}
		index, first, step := number(s.index, at), s.base, 1
		if v := getenv(s.first); s.first != "" && v != "" {
			first = number(s.first, v)
		}
		if v := getenv(s.step); s.step != "" && v != "" {
			step = max(1, number(s.step, v))
		}
		var count int
		switch {
		case s.last != "":
			count = (number(s.last, getenv(s.last))-first)/step + 1
		case getenv(s.count) == "":
			return Shard{}, "", fmt.Errorf("%s is %s, but %s does not say how many tasks there are; allowed: to set it, or --shard I/N", s.index, at, s.count)
		default:
			count = number(s.count, getenv(s.count))
		}
		part := Shard{(index-first)/step + 1, count}
		if err == nil && (part.Index < 1 || part.Index > part.Count || part.Count > maxShards) {
			err = fmt.Errorf("%s is %s, which is no task of %d from %d on", s.index, at, count, first)
		}
		return part, s.name + ", " + s.index + "=" + at, err
	}
	return Shard{}, "", nil
}
