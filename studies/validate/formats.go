package validate

import (
	"slices"
	"strings"

	"maru/arch/dtype"
)

// format is what a table means by the name of a number format.
type format struct {
	name   string
	math   dtype.Type // of products
	weight dtype.Type // as stored
	input  dtype.Type // of activations between operators, and of results
	narrow bool       // activations are converted to the format of the products
	groups bool       // and scaled by groups of neighbours, not by rows
}

// formats lists the names: floating-point formats as they are; fp8_block and
// nvfp4 with scales for blocks, whose bytes are not counted; and integer or
// floating-point weights that are widened to be multiplied (w8a16 and so on).
var formats = []format{
	{"fp32", dtype.FP32, dtype.FP32, dtype.FP32, false, false},
	{"tf32", dtype.TF32, dtype.TF32, dtype.TF32, false, false},
	{"fp16", dtype.FP16, dtype.FP16, dtype.FP16, false, false},
	{"bf16", dtype.BF16, dtype.BF16, dtype.BF16, false, false},
	{"fp8", dtype.FP8, dtype.FP8, dtype.BF16, true, false},
	{"fp8_block", dtype.FP8, dtype.FP8, dtype.BF16, true, true},
	{"nvfp4", dtype.FP4, dtype.FP4, dtype.BF16, true, true},
	{"int8_sq", dtype.Int8, dtype.Int8, dtype.FP16, true, false},
	{"int8_wo", dtype.FP16, dtype.Int8, dtype.FP16, false, false},
	{"int4_wo", dtype.FP16, dtype.Int4, dtype.FP16, false, false},
	{"w4a16_mxfp4", dtype.BF16, dtype.FP4, dtype.BF16, false, false},
	{"w4a8_mxfp4_mxfp8", dtype.FP8, dtype.FP4, dtype.BF16, true, true},
}

// format reads a column with the name of a number format.
func (r *record) format(column string) format {
	s := r.optional(column)
	i := slices.IndexFunc(formats, func(f format) bool { return f.name == s })
	if i < 0 {
		var names []string
		for _, f := range formats {
			names = append(names, f.name)
		}
		r.fail(column, "unknown number format "+s, "allowed: one of "+strings.Join(names, ", "))
		i = 0
	}
	return formats[i]
}

// quantize says where a harness converts activations of a format.
func (h *Harness) quantize(f format) string {
	if w := h.Quantize[f.name]; w != "" && f.narrow {
		return w
	}
	return "before"
}
