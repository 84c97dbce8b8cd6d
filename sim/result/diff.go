package result

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Mismatch is a setting in which two results differ.
type Mismatch struct {
	Field string `json:"field"` // as in the result's JSON
	A     string `json:"base"`
	B     string `json:"head"`
	// Fatal says that the results are of different work, so that their times
	// do not compare.
	Fatal bool `json:"fatal"`
}

// String is the mismatch in words: "phase: prefill and decode".
func (m Mismatch) String() string {
	return fmt.Sprintf("%s: %s and %s", m.Field, orNone(m.A), orNone(m.B))
}

// orNone is a setting for a person: in one line, and "none" if there is none.
func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

// Mismatches are the settings in which two results differ, those that make
// them incomparable first.
func Mismatches(a, b *Result) []Mismatch {
	var list []Mismatch
	add := func(fatal bool, field string, x, y any) {
		if x != y {
			list = append(list, Mismatch{field, fmt.Sprint(x), fmt.Sprint(y), fatal})
		}
	}
	add(true, "version", a.Version, b.Version)
	add(true, "model", a.Model, b.Model)
	add(true, "phase", a.Phase, b.Phase)
	add(true, "batch", a.Batch, b.Batch)
	add(true, "seq", a.Seq, b.Seq)
	add(true, "layers", a.Layers, b.Layers)
	add(false, "chip", a.Chip, b.Chip)
	add(false, "dtype", a.DType, b.DType)
	add(false, "profile", a.Profile, b.Profile)
	add(false, "cache", a.Cache, b.Cache)
	add(false, "launch", a.Launch, b.Launch)
	add(false, "data", cmp.Or(a.Data, "random"), cmp.Or(b.Data, "random"))
	add(false, "partition", a.Partition.Name, b.Partition.Name)
	add(false, "seed", seed(a), seed(b))
	add(false, "program", a.Program, b.Program)
	return list
}

// seed is what chance was drawn from, if it was.
func seed(res *Result) string {
	if res.Jitter.Runs == 0 {
		return ""
	}
	return fmt.Sprint(res.Jitter.Seed)
}

// Pair is an operator in two results.
type Pair struct{ A, B *Op }

// Delta is how much longer the operator takes in B, in picoseconds.
func (p Pair) Delta() int64 { return p.B.LatencyPS - p.A.LatencyPS }

// Match pairs the operators of two results by name, the first of a name with
// the first, in the order of a, and lists those that only one of them has.
func Match(a, b *Result) (both []Pair, onlyA, onlyB []*Op) {
	waiting := map[string][]*Op{}
	for i := range b.Ops {
		op := &b.Ops[i]
		waiting[op.Name] = append(waiting[op.Name], op)
	}
	taken := map[*Op]bool{}
	for i := range a.Ops {
		op := &a.Ops[i]
		queue := waiting[op.Name]
		if len(queue) == 0 {
			onlyA = append(onlyA, op)
			continue
		}
		both = append(both, Pair{op, queue[0]})
		taken[queue[0]] = true
		waiting[op.Name] = queue[1:]
	}
	for i := range b.Ops {
		if op := &b.Ops[i]; !taken[op] {
			onlyB = append(onlyB, op)
		}
	}
	return both, onlyA, onlyB
}

// Move is how a resource's part of the critical path differs.
type Move struct {
	Resource string
	A, B     int64 // picoseconds
}

// Delta is how much longer the resource is on the critical path in B.
func (m Move) Delta() int64 { return m.B - m.A }

// Moves compares two splits of a critical path, the largest change first, ties
// in order of appearance. Resources whose time is the same are left out.
func Moves(a, b []Share) []Move {
	var list []Move
	find := func(resource string) *Move {
		i := slices.IndexFunc(list, func(m Move) bool { return m.Resource == resource })
		if i < 0 {
			i = len(list)
			list = append(list, Move{Resource: resource})
		}
		return &list[i]
	}
	for _, s := range b {
		find(s.Resource).B += s.PS
	}
	for _, s := range a {
		find(s.Resource).A += s.PS
	}
	list = slices.DeleteFunc(list, func(m Move) bool { return m.Delta() == 0 })
	slices.SortStableFunc(list, func(x, y Move) int {
		return cmp.Compare(math.Abs(float64(y.Delta())), math.Abs(float64(x.Delta())))
	})
	return list
}

// Cause is the resource whose time changed most in the direction of the
// operator's, and by how many picoseconds; "" if there is none.
func (p Pair) Cause() (resource string, ps int64) {
	for _, m := range Moves(p.A.Limits, p.B.Limits) {
		if (m.Delta() > 0) == (p.Delta() > 0) && p.Delta() != 0 {
			return m.Resource, m.Delta()
		}
	}
	return "", 0
}

// Quantity is what changed most among the operator's quantities in the
// direction of its time, and the ratio of B to A; "" if none changed by more
// than 1 %.
func (p Pair) Quantity() (name string, ratio float64) {
	most := 1.01
	for _, q := range []struct {
		name  string
		a, b  float64
		speed bool // more of it makes an operator faster
	}{
		{"flops", float64(p.A.Flops), float64(p.B.Flops), false},
		{"vector ops", float64(p.A.VectorOps), float64(p.B.VectorOps), false},
		{"DRAM bytes", float64(p.A.DRAMRead) + float64(p.A.DRAMWrite), float64(p.B.DRAMRead) + float64(p.B.DRAMWrite), false},
		{"L2 bytes", float64(p.A.L2Read) + float64(p.A.L2Write), float64(p.B.L2Read) + float64(p.B.L2Write), false},
		{"launches", float64(p.A.Count), float64(p.B.Count), false},
		{"clock", p.A.ClockMHz, p.B.ClockMHz, true},
	} {
		if !(q.a > 0 && q.b > 0) {
			continue
		}
		effect := q.b / q.a
		if q.speed != (p.Delta() < 0) {
			effect = q.a / q.b
		}
		if effect > most {
			most, name, ratio = effect, q.name, q.b/q.a
		}
	}
	return name, ratio
}
