package result

import (
	"strconv"
	"strings"
)

// Index finds the operator's row of a kernel in the timeline.
type Index struct{ rows map[string]int }

// Index makes an index of r.Ops.
func (r *Result) Index() Index {
	ix := Index{rows: make(map[string]int, len(r.Ops))}
	for i, op := range r.Ops {
		if _, ok := ix.rows[op.Name]; !ok {
			ix.rows[op.Name] = i
		}
	}
	return ix
}

// Row is the position in Result.Ops of the row that stands for the operator
// called op, or -1. A row's "*" stands for a number: "layer.3.mlp.up" is in the
// row "layer.*.mlp.up".
func (ix Index) Row(op string) int {
	if i, ok := ix.rows[op]; ok {
		return i
	}
	parts := strings.Split(op, ".")
	first := true
	for i, p := range parts {
		if _, err := strconv.Atoi(p); err != nil {
			continue
		}
		parts[i] = "*"
		if !first {
			continue
		}
		first = false
		if row, ok := ix.rows[strings.Join(parts, ".")]; ok {
			return row
		}
	}
	if row, ok := ix.rows[strings.Join(parts, ".")]; ok {
		return row
	}
	return -1
}
