package dtype_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"maru/arch/dtype"
)

func TestFormats(t *testing.T) {
	tests := []struct {
		typ   dtype.Type
		name  string
		bits  int
		float bool
		acc   dtype.Type
	}{
		{dtype.FP64, "fp64", 64, true, dtype.FP64},
		{dtype.FP32, "fp32", 32, true, dtype.FP32},
		{dtype.TF32, "tf32", 32, true, dtype.FP32},
		{dtype.BF16, "bf16", 16, true, dtype.FP32},
		{dtype.FP16, "fp16", 16, true, dtype.FP32},
		{dtype.FP8, "fp8", 8, true, dtype.FP32},
		{dtype.FP6, "fp6", 6, true, dtype.FP32},
		{dtype.FP4, "fp4", 4, true, dtype.FP32},
		{dtype.Int32, "int32", 32, false, dtype.Int32},
		{dtype.Int16, "int16", 16, false, dtype.Int32},
		{dtype.Int8, "int8", 8, false, dtype.Int32},
		{dtype.Int4, "int4", 4, false, dtype.Int32},
		{dtype.Bool, "bool", 8, false, dtype.Int32},
		{0, "dtype(0)", 0, false, 0},
		{200, "dtype(200)", 0, false, 0},
	}
	var all []dtype.Type
	var names []string
	for _, test := range tests {
		if test.typ.String() != test.name || test.typ.Bits() != test.bits || test.typ.IsFloat() != test.float || test.typ.Accumulator() != test.acc {
			t.Errorf("%v: %d bits, float %v, accumulator %v; want %+v", test.typ, test.typ.Bits(), test.typ.IsFloat(), test.typ.Accumulator(), test)
		}
		got, err := dtype.Parse(test.name)
		if valid := test.bits > 0; valid != (err == nil) || valid != test.typ.Valid() || valid && got != test.typ {
			t.Errorf("%q parses to %v, %v", test.name, got, err)
		}
		if test.typ.Valid() {
			all = append(all, test.typ)
			names = append(names, test.name)
		}
	}
	if diff := cmp.Diff(all, dtype.All()); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if diff := cmp.Diff(names, dtype.Type(0).Enum()); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

func TestBytes(t *testing.T) {
	tests := []struct {
		typ     dtype.Type
		n, want int64
	}{
		{dtype.FP64, 3, 24}, {dtype.TF32, 3, 12}, {dtype.BF16, 3, 6}, {dtype.FP8, 3, 3},
		{dtype.FP6, 0, 0}, {dtype.FP6, 1, 1}, {dtype.FP6, 2, 2}, {dtype.FP6, 3, 3}, {dtype.FP6, 4, 3}, {dtype.FP6, 5, 4}, {dtype.FP6, 128, 96},
		{dtype.FP4, 1, 1}, {dtype.FP4, 2, 1}, {dtype.FP4, 3, 2}, {dtype.Int4, 1 << 61, 1 << 60}, {dtype.Bool, 9, 9}, {0, 9, 0},
	}
	for _, test := range tests {
		if got := test.typ.Bytes(test.n); got != test.want {
			t.Errorf("%d of %v are %d bytes, want %d", test.n, test.typ, got, test.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	const allowed = "; allowed: one of fp64, fp32, tf32, bf16, fp16, fp8, fp6, fp4, int32, int16, int8, int4, bool"
	tests := []struct{ text, want string }{
		{"float16", `unknown number format "float16"` + allowed + "; did you mean fp16"},
		{"BF16", `unknown number format "BF16"` + allowed + "; did you mean bf16"},
		{"b-float_16", `unknown number format "b-float_16"` + allowed + "; did you mean bf16"},
		{"fp8_e4m3", `unknown number format "fp8_e4m3"` + allowed + "; did you mean fp8"},
		{"nvfp4", `unknown number format "nvfp4"` + allowed + "; did you mean fp4"},
		{"pf16", `unknown number format "pf16"` + allowed + "; did you mean fp16"},
		{"fo16", `unknown number format "fo16"` + allowed + "; did you mean fp16"},
		{"fp9", `unknown number format "fp9"` + allowed},
		{"", `unknown number format ""` + allowed},
		{"a name that is much too long for a format", `unknown number format "a name that is much too long for..."` + allowed},
	}
	for _, test := range tests {
		got, err := dtype.Parse(test.text)
		var e *dtype.Error
		if !errors.As(err, &e) || got.Valid() {
			t.Errorf("%q parses to %v, %v", test.text, got, err)
			continue
		}
		if diff := cmp.Diff(test.want, err.Error()); diff != "" {
			t.Errorf("want -, got +:\n%s", diff)
		}
	}
}

func TestJSON(t *testing.T) {
	in := map[dtype.Type][]dtype.Type{dtype.FP8: {dtype.FP16, dtype.Int4}}
	data, err := json.Marshal(in)
	if err != nil || string(data) != `{"fp8":["fp16","int4"]}` {
		t.Fatalf("%s, %v", data, err)
	}
	var out map[dtype.Type][]dtype.Type
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if _, err := json.Marshal([]dtype.Type{0}); err == nil {
		t.Error("the zero value was written")
	}
	if err := json.Unmarshal([]byte(`["fp3"]`), &[]dtype.Type{}); err == nil {
		t.Error("fp3 was read")
	}
}

// TestBytesSum: two parts take at least as much as the whole, and at most one byte more.
func TestBytesSum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ := rapid.SampledFrom(dtype.All()).Draw(t, "type")
		n := rapid.Int64Range(0, 1<<50).Draw(t, "n")
		m := rapid.Int64Range(0, 1<<50).Draw(t, "m")
		parts, whole := typ.Bytes(n)+typ.Bytes(m), typ.Bytes(n+m)
		if parts < whole || parts > whole+1 {
			t.Fatalf("%d + %d of %v: %d bytes in parts, %d in one", n, m, typ, parts, whole)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, typ := range dtype.All() {
		f.Add(typ.String())
	}
	f.Add("float8_e4m3fn")
	f.Fuzz(func(t *testing.T, s string) {
		typ, err := dtype.Parse(s)
		if (err == nil) != (typ.Valid() && typ.String() == s) {
			t.Fatalf("%q parses to %v, %v", s, typ, err)
		}
		var e *dtype.Error
		if errors.As(err, &e) && e.Hint != "" {
			if _, err := dtype.Parse(e.Hint); err != nil {
				t.Fatalf("the hint %q does not parse", e.Hint)
			}
		}
	})
}
